"""Forecasts: when a quota runs out if it is used on as it was used up to now.

Instants are integer microseconds since 1970 UTC.
"""

from typing import NamedTuple

_SECOND = 1_000_000
_HOUR = 3600 * _SECOND
_FARTHEST = 100 * 366 * 24 * _HOUR


class Forecast(NamedTuple):
    """The mean pace of the window up to now, and when it ends what is left; None where that is
    not before the reset, or more than a century away."""

    pace_per_hour: float
    exhausts_at_us: int | None


def forecast(
    used: int, remaining: int, since_us: int, now_us: int, resets_at_us: int | None
) -> Forecast:
    """What follows from `used` since then. Nothing is told from less than a second: that counts
    as one. What has run out already runs out now."""
    elapsed = max(now_us - since_us, _SECOND)
    pace = used * _HOUR / elapsed
    if remaining <= 0:
        return Forecast(pace, now_us)
    if used <= 0:
        return Forecast(0.0, None)
    ahead = remaining * elapsed // used
    beyond = _FARTHEST if resets_at_us is None else resets_at_us - now_us
    return Forecast(pace, None if ahead >= beyond else now_us + ahead)
