"""The read model `key_uses`: how often each key was verified, and when it last was valid.

It sums what flushes counted, so an event that is applied twice would count twice: that it
isn't is the checkpoint's doing, which moves in the same transaction.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from domain.event import Recorded
from domain.verification import VerificationsCounted, outcomes
from projections.rows import write

if TYPE_CHECKING:  # slow to import, and the command line only wants names
    import psycopg

NO_VERDICTS = frozenset({"RETRIED", "UNAVAILABLE"})
"""Rows that nobody was given a verdict for: asked again later, or answered with 503."""

_ADD = b"""
INSERT INTO key_uses AS t (key_id, verifications, denied, cost, last_used_at)
SELECT key_id, verifications, denied, cost,
       'epoch'::timestamptz + last_us * interval '1 microsecond'
  FROM json_to_recordset(%s::json)
       AS r (key_id text, verifications bigint, denied bigint, cost numeric, last_us bigint)
ON CONFLICT (key_id) DO UPDATE SET
       verifications = t.verifications + excluded.verifications,
       denied = t.denied + excluded.denied,
       cost = t.cost + excluded.cost,
       last_used_at = greatest(t.last_used_at, excluded.last_used_at)
"""


class KeyUses:
    """Implements projections.read_model.ReadModel on the table key_uses.

    `verifications` and `cost` are of valid ones, `denied` is how many had another verdict.
    `last_used_at` is the last valid use: knocking with a revoked key is no use of it.
    """

    name = "key_uses"
    log: Literal["usage"] = "usage"
    nouns = ("usage",)
    tables = ("key_uses",)
    gather_seconds = 1.0

    async def apply(
        self, connection: "psycopg.AsyncConnection", events: Sequence[Recorded]
    ) -> None:
        """Sum in memory, add in one statement."""
        uses: dict[str, _Uses] = {}
        for event in events:
            if not isinstance(event.event, VerificationsCounted):
                raise TypeError(f"{type(event.event).__name__} is no usage")
            _add(uses, event.event)
        # In order of their ids: keys of one page of the index come together.
        await write(connection, _ADD, [uses[key].row(key) for key in sorted(uses)])


class _Uses:
    """Of one key in one batch."""

    __slots__ = ("cost", "denied", "last_us", "valid")

    def __init__(self) -> None:
        self.valid = 0
        self.denied = 0
        self.cost = 0
        self.last_us: int | None = None

    def row(self, key_id: str) -> dict[str, object]:
        return {
            "key_id": key_id,
            "verifications": self.valid,
            "denied": self.denied,
            "cost": str(self.cost),  # sums of large costs go beyond 64 bits
            "last_us": self.last_us,
        }


def _add(uses: dict[str, _Uses], counted: VerificationsCounted) -> None:
    # Not every key of the batch has a verdict; whoever has none gets no row.
    found: dict[int, _Uses] = {}
    rows = zip(counted.key, outcomes(counted), counted.cost, counted.at_us, strict=True)
    for index, outcome, cost, at_us in rows:
        if index < 0 or outcome in NO_VERDICTS:
            continue
        key = found.get(index)
        if key is None:
            key = found[index] = uses.setdefault(counted.keys[index], _Uses())
        if outcome == "VALID":
            key.valid += 1
            key.cost += cost
            if key.last_us is None or at_us > key.last_us:
                key.last_us = at_us
        else:
            key.denied += 1
