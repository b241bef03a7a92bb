"""Pages of the list of accounts: each goes on from where the last one ended, by an index.

Measured on a million accounts by `python -m bench accounts`.
"""

import asyncio
import time
from collections.abc import Sequence

import msgspec

from application.errors import PositionNotReached
from application.staff_ports import AccountsWanted
from domain.accounts import Account
from infra.postgres.lookups import PostgresLookups

PATIENCE_SECONDS = 2.0
POLL_SECONDS = 0.05

_DECODER = msgspec.json.Decoder(Account)
# Rows and the checkpoint that they stand at are one snapshot, as for histories.
_SELECT = """
SELECT f.position, a.state FROM followers f LEFT JOIN LATERAL (
    SELECT state, {order} AS place FROM account_list WHERE {where} ORDER BY {order} LIMIT %s
) a ON true WHERE f.name = 'accounts' ORDER BY a.place COLLATE "C"
"""
_USERNAME = 'username COLLATE "C"'


class PostgresAccountPages:
    """Implements application.staff_ports.AccountPages on the pool of the lookups."""

    def __init__(self, lookups: PostgresLookups) -> None:
        self._lookups = lookups

    async def page(
        self, wanted: AccountsWanted, after: str | None, limit: int, at_least: int | None
    ) -> Sequence[Account]:
        """So many of them, after this place."""
        sql, parameters = _query(wanted, after, limit)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            rows = await self._lookups.rows(sql, parameters)
            reached = rows[0][0] if rows else 0
            if at_least is None or reached >= at_least:
                return [_DECODER.decode(row[1]) for row in rows if row[1] is not None]
            if time.monotonic() > deadline:
                raise PositionNotReached(at_least, reached)
            await asyncio.sleep(POLL_SECONDS)


def _query(wanted: AccountsWanted, after: str | None, limit: int) -> tuple[str, list[object]]:
    by_name = wanted.username_prefix is not None
    order = _USERNAME if by_name else "account_id"
    where: list[str] = []
    parameters: list[object] = []

    def also(condition: str, *values: object) -> None:
        where.append(condition)
        parameters.extend(values)

    if wanted.username_prefix is not None:
        # What a username is made of ends below "~", so this is where the prefix ends.
        also(
            f"{order} >= %s AND {order} < %s", wanted.username_prefix, wanted.username_prefix + "~"
        )
    if after is not None:
        also(f"{order} > %s", after)
    if wanted.ids is not None:
        also("account_id = ANY (%s)", list(wanted.ids))
    if wanted.external_id is not None:
        also("external_id = %s", wanted.external_id)
    if wanted.plan is not None:
        also("plan = %s", wanted.plan)
    if wanted.status is not None:
        also("status = %s", wanted.status)
    if wanted.roles:
        also("roles && %s::text[] AND roles <> '{}'", list(wanted.roles))
    condition = " AND ".join(where) or "true"
    return _SELECT.format(order=order, where=condition), [*parameters, limit]
