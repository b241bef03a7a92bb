"""Keys that a partial directory does not hold, read from Postgres: one query for all who wait."""

import asyncio
from collections.abc import Sequence

import msgspec

from application.errors import StoreUnavailable
from domain.allowances import Allowance
from domain.api_keys import ApiKey
from infra.postgres.lookups import PostgresLookups
from projections.recent_keys import Fetched

MOST_AT_ONCE = 500
MOST_WAITING = 4_000
"""Whoever presents made-up keys makes others wait, but no longer than for so many look-ups."""

_API_KEY = msgspec.json.Decoder(ApiKey)
_ALLOWANCE = msgspec.json.Decoder(Allowance)

# One statement is one snapshot: the states are those of this position, neither older nor newer.
_FETCH = """
SELECT wanted.n, last.position, keys.state, rules.state
  FROM (SELECT coalesce(max(notification_id), 0) AS position FROM decisions) AS last,
       {wanted}
  JOIN states AS keys ON keys.stream_id = key_id AND keys.noun = 'api_key'
  LEFT JOIN states AS rules ON rules.stream_id = 'alw_' || split_part(key_id, '_', 2)
"""
_BY_DIGEST = _FETCH.format(
    wanted="unnest(%s::bytea[]) WITH ORDINALITY AS wanted (digest, n) "
    "JOIN key_digests USING (digest)"
)
_BY_ID = _FETCH.format(wanted="unnest(%s::text[]) WITH ORDINALITY AS wanted (key_id, n)")


class _Wanted:
    """Digests of which one is looked for, and who waits for the answer."""

    __slots__ = ("answer", "digests")

    def __init__(self, digests: Sequence[bytes]) -> None:
        self.digests = digests
        self.answer: asyncio.Future[Fetched | None] = asyncio.get_running_loop().create_future()


class PostgresMissingKeys:
    """Implements projections.recent_keys.MissingKeys.

    While a query runs, those who come wait for the next one: it begins after they came, so
    whatever had been committed by then is in it. Nobody joins a query that runs already.
    """

    def __init__(self, lookups: PostgresLookups) -> None:
        self._lookups = lookups
        self._waiting: list[_Wanted] = []
        self._reading: asyncio.Task[None] | None = None

    async def fetch(self, digests: Sequence[bytes]) -> Fetched | None:
        """The key with one of these digests. Raises StoreUnavailable, also if too many wait."""
        if len(self._waiting) >= MOST_WAITING:
            raise StoreUnavailable("too many unknown keys are being looked up")
        wanted = _Wanted(digests)
        self._waiting.append(wanted)
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())
        return await wanted.answer

    async def keys(self, key_ids: Sequence[str]) -> list[Fetched]:
        """Those of these keys that there are. Raises StoreUnavailable."""
        rows = await self._lookups.rows(_BY_ID, (list(key_ids),))
        return [_fetched(*columns) for _, *columns in rows]

    async def _read(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
            try:
                found = await self._found(batch)
            except BaseException as error:
                failure = error if isinstance(error, Exception) else StoreUnavailable("stopped")
                for each in (*batch, *(self._waiting if failure is not error else ())):
                    if not each.answer.done():
                        each.answer.set_exception(failure)
                if failure is not error:
                    raise
                continue
            for number, each in enumerate(batch):
                if not each.answer.done():
                    each.answer.set_result(found.get(number))

    async def _found(self, batch: Sequence[_Wanted]) -> dict[int, Fetched]:
        """What was found, by the place in the batch of who wanted it."""
        digests = [digest for each in batch for digest in each.digests]
        places = [number for number, each in enumerate(batch) for _ in each.digests]
        rows = await self._lookups.rows(_BY_DIGEST, (digests,))
        return {places[n - 1]: _fetched(*columns) for n, *columns in rows}


def _fetched(position: int, key: bytes, rule: bytes | None) -> Fetched:
    return Fetched(
        position, _API_KEY.decode(key), None if rule is None else _ALLOWANCE.decode(rule)
    )
