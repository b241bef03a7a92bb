"""Throttles in Postgres: exact over all processes, and there after a restart.

Each question is one statement, a function of 0016_throttles.sql. What is written is two numbers a
counter; what they mean is worked out here, in the same whole numbers as there.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from application.throttle_ports import (
    HOUR_SECONDS,
    LockToTell,
    SignInBegun,
    SignInTry,
    Throttled,
    ThrottleName,
    ThrottlePolicy,
    ThrottleStanding,
)
from infra.postgres.lookups import PostgresLookups

_SECOND = 1_000_000
_HOUR = HOUR_SECONDS * _SECOND
_LEASE = 30 * _SECOND


class PostgresThrottles:
    """Implements application.throttle_ports.Throttles."""

    def __init__(self, lookups: PostgresLookups) -> None:
        self._lookups = lookups

    async def hit(self, wanted: Sequence[Throttled], now: datetime) -> list[ThrottleStanding]:
        """Count one more of each, if every one of them allows it; else of none."""
        return await self._hit(wanted, _us(now), "all")

    async def peek(self, wanted: Sequence[Throttled], now: datetime) -> list[ThrottleStanding]:
        """The same, without counting."""
        if not wanted:
            return []
        at = _us(now)
        found = await self._lookups.rows(
            "SELECT s.before, s.current FROM unnest(%s::text[], %s::bytea[]) WITH ORDINALITY "
            "w (name, subject, no), throttle_stands(w.name, w.subject, %s) s ORDER BY w.no",
            ([each.name for each in wanted], [each.subject for each in wanted], at),
        )
        return [
            standing(each, before, current, at, _weighs(before, current, at) < each.limit)
            for each, (before, current) in zip(wanted, found, strict=True)
        ]

    async def clear(self, name: ThrottleName, subject: bytes) -> None:
        """Count from 0 again."""
        await self._lookups.rows(
            "DELETE FROM throttles WHERE name = %s AND subject = %s RETURNING 1", (name, subject)
        )

    async def knows(self, digests: Sequence[bytes], now: datetime) -> bool:
        """Whether one of these, an account and a network together, is known now."""
        rows = await self._lookups.rows(
            "SELECT EXISTS (SELECT FROM known_networks WHERE digest = ANY (%s::bytea[]) "
            "AND known_until > %s)",
            (list(digests), now),
        )
        return bool(rows[0][0])

    async def begin_sign_in(
        self, policy: ThrottlePolicy, attempt: SignInTry, now: datetime
    ) -> SignInBegun:
        """Judge by the counters whether it may be tried; if so, it counts as failed already."""
        per_network, everywhere = (
            policy.failed_logins_per_hour,
            policy.global_failed_logins_per_hour,
        )
        if not (per_network or everywhere or policy.lockout_after):
            return SignInBegun("open", 0, 0, attempt.name)
        at = _us(now)
        rows = await self._lookups.rows(
            "SELECT verdict, subject, before, current, until FROM begin_sign_in("
            "%s, %s, %s, %s, %s::bytea[], %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                attempt.account_id,
                attempt.name,
                attempt.network,
                attempt.alone,
                list(attempt.known),
                attempt.second_factor,
                at,
                per_network,
                everywhere,
                policy.second_factors_per_hour,
                policy.lockout_after,
                policy.lockout_seconds * _SECOND,
                policy.lockout_max_seconds * _SECOND,
                policy.lockout_forget_seconds * _SECOND,
            ),
        )
        verdict, subject, before, current, until = rows[0]
        locked = max(0, -(-(until - at) // _SECOND))
        if verdict == "open":
            return SignInBegun("open", 0, 0, subject)
        if verdict == "network":
            return SignInBegun(
                verdict, per_network, _wait(before, current, per_network, at), subject
            )
        wait = locked or _wait(before, current, everywhere, at)
        return SignInBegun(verdict, policy.lockout_after if locked else everywhere, wait, subject)

    async def fail_sign_in(self, policy: ThrottlePolicy, attempt: SignInTry, now: datetime) -> None:
        """It failed: count it for its network and for all."""
        wanted = [
            Throttled("failed_login", attempt.network, policy.failed_logins_per_hour),
            Throttled("failed_login_global", b"", policy.global_failed_logins_per_hour),
        ]
        if limited := [each for each in wanted if each.limit]:
            await self._hit(limited, _us(now), "always")

    async def undo_sign_in(self, policy: ThrottlePolicy, subject: bytes) -> None:
        """It was not judged, or is not over: as if it had not been."""
        if policy.lockout_after:
            await self._lookups.rows("SELECT sign_in_undone(%s)", (subject,))

    async def locks_to_tell(self, now: datetime, limit: int) -> list[LockToTell]:
        """Locks that nobody has told of; they are whoever's got them, for 30 seconds."""
        at = _us(now)
        rows = await self._lookups.rows(
            "UPDATE sign_in_failures SET tell_at = %s WHERE subject IN "
            "(SELECT subject FROM sign_in_failures WHERE tell_at <= %s ORDER BY tell_at "
            "LIMIT %s FOR UPDATE SKIP LOCKED) "
            "RETURNING subject, account_id, failures, locked_until",
            (at + _LEASE, at, limit),
        )
        return [
            LockToTell(bytes(subject), account_id, failures, _instant(until))
            for subject, account_id, failures, until in rows
        ]

    async def prune(self, policy: ThrottlePolicy, now: datetime) -> int:
        """Drop what can't matter any more; how many rows it was."""
        at = _us(now)
        rows = await self._lookups.rows(
            "WITH a AS (DELETE FROM throttles WHERE window_no < %s RETURNING 1), "
            "b AS (DELETE FROM known_networks WHERE known_until < %s RETURNING 1), "
            "c AS (DELETE FROM sign_in_failures WHERE failed_at < %s AND locked_until < %s "
            "AND tell_at IS NULL RETURNING 1) "
            "SELECT (SELECT count(*) FROM a) + (SELECT count(*) FROM b) + (SELECT count(*) FROM c)",
            (at // _HOUR - 1, now, at - policy.lockout_forget_seconds * _SECOND, at),
        )
        return int(rows[0][0])

    async def _hit(self, wanted: Sequence[Throttled], at: int, how: str) -> list[ThrottleStanding]:
        # In one order, or two requests could wait for each other.
        ordered = sorted(wanted, key=lambda each: (each.name, each.subject))
        rows = await self._lookups.rows(
            "SELECT before, current, allowed "
            "FROM throttle_hit(%s::text[], %s::bytea[], %s::bigint[], %s, %s)",
            (
                [each.name for each in ordered],
                [each.subject for each in ordered],
                [each.limit for each in ordered],
                at,
                how,
            ),
        )
        stand = {
            (each.name, each.subject): standing(each, before, current, at, allowed)
            for each, (before, current, allowed) in zip(ordered, rows, strict=True)
        }
        return [stand[each.name, each.subject] for each in wanted]


def standing(
    wanted: Throttled, before: int, current: int, at: int, allowed: bool
) -> ThrottleStanding:
    """What two numbers of a counter mean at this microsecond."""
    remaining = max(0, wanted.limit - _weighs(before, current, at))
    if allowed:
        resets_in = -(-(_HOUR - at % _HOUR) // _SECOND)
    else:
        resets_in, remaining = _wait(before, current, wanted.limit, at), 0
    return ThrottleStanding(wanted.name, allowed, wanted.limit, remaining, resets_in)


def _weighs(before: int, current: int, at: int) -> int:
    return -(-before * (_HOUR - at % _HOUR) // _HOUR) + current


def _wait(before: int, current: int, limit: int, at: int) -> int:
    """In how many whole seconds there is room for one more."""
    end = _HOUR - at % _HOUR
    if current < limit:
        # before * left / hour <= limit - current - 1.
        wait = end - (limit - current - 1) * _HOUR // before if before else 0
    else:
        wait = end + _HOUR - (limit - 1) * _HOUR // current
    return max(1, -(-wait // _SECOND))


def _us(moment: datetime) -> int:
    return int(moment.timestamp() * _SECOND)


def _instant(us: int) -> datetime:
    return datetime.fromtimestamp(us / _SECOND, UTC)
