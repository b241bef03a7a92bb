"""The read models `credit_decisions` and `credit_uses`: every entry of every account's credits.

Commands and time make entries in the decisions log, verifications in the usage log; their
numbers interlock, so a query that merges both has each number once. Reasons are personal: they
stay in the log.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from domain.credit_events import CreditEvent
from domain.event import Recorded, stored_name
from domain.verification import KINDS, VerificationsCounted, verification_id
from projections.rows import upsert, write

if TYPE_CHECKING:  # slow to import, and the command line only wants names
    import psycopg

_DECISIONS = upsert(
    "credit_decisions",
    {
        "account_id": "text",
        "entry_no": "bigint",
        "at_us": "bigint",
        "kind": "text",
        "amount": "bigint",
        "before": "bigint",
        "after": "bigint",
        "operation": "text",
        "hold_id": "text",
        "lot": "bigint",
        "source": "text",
        "expires_at_us": "bigint",
        "position": "bigint",
    },
    keys=2,
)
_USES = upsert(
    "credit_uses",
    {
        "account_id": "text",
        "last_entry": "bigint",
        "first_entry": "bigint",
        "at_us": "bigint",
        "before": "bigint",
        "used": "bigint",
        "amounts": "bigint[]",
        "verification": "text",
        "rows": "integer[]",
        "keys": "text[]",
        "operations": "text[]",
        "position": "bigint",
    },
    keys=2,
)
_OPTIONAL = ("operation", "hold_id", "lot", "source", "expires_at_us")
_CREDITS = KINDS.index("credits")


class CreditDecisions:
    """Implements projections.read_model.ReadModel on the table credit_decisions."""

    name = "credit_decisions"
    log: Literal["decisions"] = "decisions"
    nouns = ("credit",)
    tables = ("credit_decisions",)
    gather_seconds = 0.0

    async def apply(
        self, connection: "psycopg.AsyncConnection", events: Sequence[Recorded]
    ) -> None:
        """A row an entry."""
        await write(connection, _DECISIONS, [_decision(event) for event in events])


class CreditUses:
    """Implements projections.read_model.ReadModel on the table credit_uses: a row for what one
    flush took of one account."""

    name = "credit_uses"
    log: Literal["usage"] = "usage"
    nouns = ("usage",)
    tables = ("credit_uses",)
    gather_seconds = 1.0

    async def apply(
        self, connection: "psycopg.AsyncConnection", events: Sequence[Recorded]
    ) -> None:
        """Nothing for flushes that took no credits."""
        await write(connection, _USES, [row for event in events for row in _uses(event)])


def _decision(recorded: Recorded) -> dict[str, Any]:
    event = recorded.event
    if not isinstance(event, CreditEvent):
        raise TypeError(f"{type(event).__name__} is no entry")
    return {
        "account_id": recorded.account_id,
        "entry_no": event.entry_no,
        "at_us": event.at_us,
        "kind": stored_name(type(event)).split(".")[1],
        "amount": event.amount,
        "before": event.before,
        "after": event.after,
        **{name: getattr(event, name, None) for name in _OPTIONAL},
        "position": recorded.position,
    }


def _uses(recorded: Recorded) -> list[dict[str, Any]]:
    event = recorded.event
    if not isinstance(event, VerificationsCounted):
        raise TypeError(f"{type(event).__name__} is no usage")
    wanted = {number for number, kind in enumerate(event.kinds, 1) if kind == _CREDITS}
    if not wanted:
        return []
    refused = set(event.refused)
    taken: dict[int, list[tuple[int, int]]] = {}
    takes = zip(event.takes[::3], event.takes[1::3], event.takes[2::3], strict=True)
    for row, counter, amount in takes:
        if counter in wanted and row not in refused:
            taken.setdefault(counter, []).append((row, amount))
    return [_use(recorded, event, counter, each) for counter, each in taken.items()]


def _use(
    recorded: Recorded, event: VerificationsCounted, counter: int, taken: list[tuple[int, int]]
) -> dict[str, Any]:
    opening, limit = event.opening[counter - 1], event.limits[counter - 1]
    first = event.entry_no[counter - 1]
    rows = [row for row, _ in taken]
    amounts = [amount for _, amount in taken]
    return {
        "account_id": event.accounts[event.account[rows[0]]],
        "last_entry": first + len(taken),
        "first_entry": first,
        "at_us": event.counted_at_us,
        "before": (limit or 0) - opening,
        "used": opening + sum(amounts),
        "amounts": amounts,
        "verification": verification_id(recorded.stream, recorded.version, ""),
        "rows": rows,
        "keys": [event.keys[event.key[row]] for row in rows],
        "operations": [event.operations.get(str(row)) for row in rows],
        "position": recorded.position,
    }
