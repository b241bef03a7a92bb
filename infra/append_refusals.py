"""What Postgres refuses of an append, in the words of the rules.

Triggers and functions of the migrations raise SQLSTATEs of ours; the rest is told by the name of
the constraint.
"""

from collections.abc import Callable, Sequence

import psycopg
from eventsourcing.persistence import PersistenceError

from application.errors import TooManyKeys, VersionConflict, WrongCredentials
from application.ports import AnswerExists
from application.rows import ClaimRow, EntitlementRow, KeyIssuedRow, Row
from domain.errors import EntitlementExceeded, LastAdmin, Taken


def refusal(
    cause: psycopg.Error, rows: Sequence[Row], is_held: Callable[[ClaimRow], bool]
) -> Exception:
    """What this error of an append of these rows means; the error itself where it means nothing
    to us. `is_held` asks the database whether somebody has this claim."""
    match cause.sqlstate:
        case "TH002":
            return AnswerExists()
        case "TH003":
            guard = next(row for row in rows if isinstance(row, EntitlementRow))
            return EntitlementExceeded(guard.entitlement, guard.limit, guard.plan)
        case "TH004":
            return _too_many(next(row for row in rows if isinstance(row, KeyIssuedRow)))
        case "TH013":
            return VersionConflict("the account's epoch has risen")
        case "TH020":
            return LastAdmin()
        case "THCHL":
            return WrongCredentials()
    match cause.diag.constraint_name:
        case "answers_pkey":
            return AnswerExists()
        case "key_digests_pkey":
            return Taken("key")
        case "claims_pkey":
            return Taken(_taken_kind(rows, is_held))
    if isinstance(cause, psycopg.errors.UniqueViolation):
        return VersionConflict(str(cause).strip())
    return cause


def _taken_kind(rows: Sequence[Row], is_held: Callable[[ClaimRow], bool]) -> str:
    claims = [row for row in rows if isinstance(row, ClaimRow)]
    # Where it was released in the meantime, the first is as good as any.
    return next((claim for claim in claims if is_held(claim)), claims[0]).kind


def _too_many(guard: KeyIssuedRow) -> TooManyKeys:
    window, left = guard.window_end - guard.window_start, guard.window_end - guard.at
    # Rounded up: who comes back at that second must not be too early.
    return TooManyKeys(
        guard.limit, window // 1_000_000, -(-left // 1_000_000), -(-guard.window_end // 1_000_000)
    )


def is_outage(error: PersistenceError) -> bool:
    """Whether the line broke, rather than that Postgres refused."""
    cause = error.__cause__
    return isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError)
