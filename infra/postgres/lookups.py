"""Rows that were right at commit, read through a small pool of async connections."""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from application.errors import StoreUnavailable
from application.ports import MOST_BEHIND, AnswerExists, CreditRow, Follower, HoldRow
from application.reading_ports import Credential
from application.rows import Row
from domain.accounts import Account
from domain.api_keys import ApiKey
from domain.purchases import Purchase
from domain.verification import Counter
from infra.postgres.connection import answering, conninfo
from infra.postgres.rows import statement

_ACCOUNT = msgspec.json.Decoder(Account)
_API_KEY = msgspec.json.Decoder(ApiKey)
_PURCHASE = msgspec.json.Decoder(Purchase)
PATIENCE_SECONDS = 2.0

# The lake has what is in its place, not what waits in the spool: that counts as behind.
_FOLLOWERS = """
SELECT f.name, f.log, reached.position,
       CASE f.log WHEN 'usage'
       THEN (SELECT count(*) FROM (SELECT FROM usage
              WHERE notification_id > reached.position LIMIT %s) _)
       ELSE (SELECT count(*) FROM (SELECT FROM decisions
              WHERE notification_id > reached.position LIMIT %s) _) END,
       extract(epoch FROM now() - f.seen_at)::float8,
       extract(epoch FROM now() - least(f.caught_up_at, waiting.since))::float8,
       f.stopped_at, f.problem
  FROM followers f
  LEFT JOIN (SELECT 'lake_' || kind AS name, min(first_position) AS first,
                    min(written_at) AS since
               FROM lake_files WHERE placed_at IS NULL AND level = 0 GROUP BY kind) waiting
    ON waiting.name = f.name
 CROSS JOIN LATERAL (SELECT least(f.position, waiting.first - 1) AS position) reached
 ORDER BY f.log, f.name
"""


class PostgresLookups:
    """Implements application.ports.Lookups."""

    def __init__(self, url: str) -> None:
        self._pool = AsyncConnectionPool(
            conninfo(url),
            min_size=1,
            max_size=4,
            timeout=PATIENCE_SECONDS,
            reconnect_timeout=1.0,
            kwargs={"autocommit": True},
            open=False,
        )

    async def open(self) -> None:
        """Begin to connect; doesn't wait for it."""
        await self._pool.open()

    async def close(self) -> None:
        """Return the connections."""
        await self._pool.close(timeout=1.0)

    async def ping(self) -> None:
        """Raises StoreUnavailable when Postgres does not answer."""
        await self.rows("SELECT 1", ())

    async def claim_holder(self, kind: str, digests: Sequence[bytes]) -> str | None:
        """The account that holds a claim under one of these digests."""
        rows = await self.rows(
            "SELECT account_id FROM claims WHERE kind = %s AND digest = ANY (%s)",
            (kind, list(digests)),
        )
        return rows[0][0] if rows else None

    async def password_hash(self, account_id: str) -> str | None:
        """The account's password hash."""
        rows = await self.rows("SELECT hash FROM passwords WHERE account_id = %s", (account_id,))
        return rows[0][0] if rows else None

    async def credential(self, kind: str, digests: Sequence[bytes]) -> Credential | None:
        """What the password of a claim's holder is checked against, all of one instant."""
        rows = await self.rows(
            "SELECT c.account_id, p.hash, s.version FROM claims c "
            "JOIN states s ON s.stream_id = c.account_id "
            "LEFT JOIN passwords p ON p.account_id = c.account_id "
            "WHERE c.kind = %s AND c.digest = ANY (%s)",
            (kind, list(digests)),
        )
        return Credential(*rows[0]) if rows else None

    async def counters(self, counter_ids: Sequence[int]) -> dict[int, Counter]:
        """The counters as they are now; windows that have passed are not moved."""
        rows = await self.rows(
            "SELECT counter_id, limit_amount, used, window_start, rule_no, entry_no, carried, "
            "carry_max, changes_at FROM counters WHERE counter_id = ANY (%s)",
            (list(counter_ids),),
        )
        return {row[0]: Counter(*row[1:]) for row in rows}

    async def key_holders(self, digests: Sequence[bytes]) -> dict[bytes, str]:
        """The keys that hold these digests, by digest."""
        rows = await self.rows(
            "SELECT digest, key_id FROM key_digests WHERE digest = ANY (%s)", (list(digests),)
        )
        return {bytes(row[0]): row[1] for row in rows}

    async def keys_of(self, account_id: str, after: str | None, limit: int) -> list[ApiKey]:
        """The account's keys, oldest first, after this id."""
        rows = await self.rows(
            "SELECT state FROM states WHERE noun = 'api_key' AND account_id = %s "
            "AND stream_id > %s ORDER BY stream_id LIMIT %s",
            (account_id, after or "", limit),
        )
        return [_API_KEY.decode(row[0]) for row in rows]

    async def accounts(self, after: str | None, limit: int) -> list[Account]:
        """Accounts, oldest first, after this id."""
        rows = await self.rows(
            "SELECT state FROM states WHERE noun = 'account' AND stream_id > %s "
            "ORDER BY stream_id LIMIT %s",
            (after or "", limit),
        )
        return [_ACCOUNT.decode(row[0]) for row in rows]

    async def purchases_of(self, account_id: str, after: str | None, limit: int) -> list[Purchase]:
        """The account's purchases, oldest first, after this id."""
        rows = await self.rows(
            "SELECT state FROM states WHERE noun = 'purchase' AND account_id = %s "
            "AND stream_id > %s ORDER BY stream_id LIMIT %s",
            (account_id, after or "", limit),
        )
        return [_PURCHASE.decode(row[0]) for row in rows]

    async def credit_row(self, stream: str, counter_id: int) -> CreditRow:
        """The account's credits, all of one instant: one statement sees one snapshot."""
        rows = await self.rows(
            "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, s.state, "
            "c.counter_id, c.limit_amount, c.used, c.window_start, c.rule_no, c.entry_no, "
            "c.carried, c.carry_max, c.changes_at FROM (SELECT %s AS stream, %s::bigint AS id) a "
            "LEFT JOIN states s ON s.stream_id = a.stream "
            "LEFT JOIN counters c ON c.counter_id = a.id",
            (stream, counter_id),
        )
        now_us, state, found, *columns = rows[0]
        return CreditRow(now_us, None if found is None else Counter(*columns), state)

    async def credit_hold(self, hold_id: str) -> HoldRow | None:
        """What became of a hold."""
        rows = await self.rows(
            "SELECT hold_id, account_id, status, amount, captured, expires_at "
            "FROM credit_holds WHERE hold_id = %s",
            (hold_id,),
        )
        return HoldRow(*rows[0]) if rows else None

    async def living_keys(self, account_id: str) -> int:
        """How many keys the account has that have not ended."""
        rows = await self.rows(
            "SELECT count(*) FROM states WHERE noun = 'api_key' AND account_id = %s "
            "AND convert_from(state, 'UTF8')::jsonb ->> 'revoked_at' IS NULL",
            (account_id,),
        )
        return int(rows[0][0])

    async def due_plan_changes(self, now: datetime, after: str | None, limit: int) -> list[str]:
        """The accounts whose plan change is due by now, in the order of their ids."""
        rows = await self.rows(
            "SELECT account_id FROM plan_changes WHERE due_at <= %s AND account_id > %s "
            "ORDER BY account_id LIMIT %s",
            (now, after or "", limit),
        )
        return [row[0] for row in rows]

    async def followers(self) -> list[Follower]:
        """Everybody who follows a log, and how far they are."""
        rows = await self.rows(_FOLLOWERS, (MOST_BEHIND, MOST_BEHIND))
        return [Follower(**dict(zip(Follower.__struct_fields__, row, strict=True))) for row in rows]

    async def answer(self, digest: bytes) -> tuple[bytes, bytes, int] | None:
        """Body digest, sealed answer and position for an Idempotency-Key's digest."""
        rows = await self.rows(
            # Of version 0 is what came from no event: a challenge that was begun.
            "SELECT body_digest, answer, coalesce(notification_id, 0) FROM answers "
            "LEFT JOIN decisions ON originator_id = stream_id AND originator_version = version "
            "WHERE digest = %s AND answered_at > now() - interval '7 days' "
            "AND (version = 0 OR notification_id IS NOT NULL)",
            (digest,),
        )
        return (rows[0][0], rows[0][1], rows[0][2]) if rows else None

    async def write(self, rows: Sequence[Row]) -> None:
        """Rows that follow from no event, in one transaction; StoreUnavailable.

        After a lost reply they are written again: their statements must bear that.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                async with (
                    self._pool.connection() as connection,
                    answering(connection, PATIENCE_SECONDS),
                    connection.transaction(),
                ):
                    for each in rows:
                        sql, parameters = statement(each)
                        await connection.execute(sql.encode(), parameters)
                    return
            except PoolTimeout as error:
                raise StoreUnavailable("Postgres does not answer") from error
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                if time.monotonic() > deadline:
                    raise StoreUnavailable(str(error).strip()) from error
            except psycopg.Error as error:
                if error.sqlstate == "TH002" or error.diag.constraint_name == "answers_pkey":
                    raise AnswerExists from error
                raise

    async def rows(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any]) -> list[Any]:
        """The rows that a query answers, over restarts of Postgres; StoreUnavailable."""
        # A connection that a restart of Postgres broke is found out by using it: try as
        # often as there can be broken ones.
        deadline = time.monotonic() + PATIENCE_SECONDS
        for _ in range(5):
            try:
                async with (
                    self._pool.connection() as connection,
                    answering(connection, PATIENCE_SECONDS),
                ):
                    cursor = await connection.execute(sql.encode(), parameters, binary=True)
                    return await cursor.fetchall()
            except PoolTimeout as error:
                raise StoreUnavailable("Postgres does not answer") from error
            except psycopg.errors.InsufficientPrivilege as error:
                hint = "the grants that a serving role needs are in docs/operations.md"
                raise StoreUnavailable(f"{str(error).strip()}: {hint}") from error
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                broken = error
                if time.monotonic() > deadline:
                    break
        raise StoreUnavailable(str(broken).strip()) from broken
