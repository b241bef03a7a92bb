"""Limits of what comes from one network address: a port that `infra/rate_limits.py` implements.

They protect the server, and only HTTP knows addresses, so no use case sees them. The exact limits
of keys are counters (`domain/allowances.py`).
"""

from typing import Literal, NamedTuple, Protocol

LimitName = Literal["public", "failed"]
"""Requests to public routes; credentials that were presented and prove nothing."""


class RateStanding(NamedTuple):
    """Where somebody stands with a limit: so many in each window, `remaining` now, and more of
    them in `more_in_seconds`. `exceeded`: this one was over it, and did not count."""

    limit: int
    window_seconds: int
    remaining: int
    more_in_seconds: int
    exceeded: bool


class RateLimits(Protocol):
    """Counts what comes from each network address, per limit. Never raises, and never waits for
    long: it is in the way of everybody."""

    async def hit(self, name: LimitName, who: str) -> RateStanding:
        """Count one more of `who`, if the limit permits it."""
        ...

    async def shared(self) -> bool:
        """Whether the count is where the settings want it; False while it is this process's
        own because the store for all is away."""
        ...
