"""What durable throttles need from the outside: counters that all processes share, and that
outlive them. `infra/postgres/throttles.py` implements the port.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

import msgspec

HOUR_SECONDS = 3600

ThrottleName = Literal[
    "otp",
    "otp_address",
    "otp_guess",
    "wrong_code",
    "failed_login",
    "failed_login_global",
    "second_factor",
]
"""Codes asked for, by an address from one network, and by an address from anywhere; guesses of one
code by who knows its address only, and wrong codes of a network; failed sign-ins of a network, and
of everybody; second factors tried while the password opens nothing."""


class ThrottlePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of the throttles. A limit of 0 is none at all, as where nothing is set."""

    otp_per_hour: int = 0
    otp_per_hour_address: int = 0
    failed_logins_per_hour: int = 0
    global_failed_logins_per_hour: int = 0
    second_factors_per_hour: int = 0
    lockout_after: int = 0
    lockout_seconds: int = 60
    lockout_max_seconds: int = 3600
    lockout_forget_seconds: int = 86_400
    known_network_days: int = 30


class Throttled(NamedTuple):
    """Something to be counted: for whom, and how many of it there may be within an hour."""

    name: ThrottleName
    subject: bytes
    limit: int


class ThrottleStanding(NamedTuple):
    """Where somebody stands with a throttle. `resets_in`: seconds until one more is allowed, or,
    while there are some left, until all are."""

    name: ThrottleName
    allowed: bool
    limit: int
    remaining: int
    resets_in: int


class SignInTry(NamedTuple):
    """A sign-in by password that is about to be judged, and what it is counted by.

    `name` stands for the address or username that was given, `network` for where it comes from,
    `alone` for both of them together; `known` for the account and the network together, under
    every pepper in use. None says in the clear what it stands for. `account_id` is None where
    nobody is called so; all else is the same then.
    """

    account_id: str | None
    name: bytes
    network: bytes
    alone: bytes
    known: tuple[bytes, ...]
    second_factor: bool


SignInVerdict = Literal["open", "guarded", "network", "locked", "stuffing"]
"""The password alone may open; only together with a second factor; and what refuses it: too many
failures of the network, or of this name, or of everybody."""


class SignInBegun(NamedTuple):
    """What the counters say of a try. `wait_seconds`: until they may say something else.
    `subject`: which counter of failures it is in."""

    verdict: SignInVerdict
    limit: int
    wait_seconds: int
    subject: bytes


class LockToTell(NamedTuple):
    """A lock of an account's sign-ins that its history does not have yet."""

    subject: bytes
    account_id: str
    failures: int
    locked_until: datetime


class Throttles(Protocol):
    """Counters of a sliding hour, shared by all processes. Raises StoreUnavailable."""

    async def hit(self, wanted: Sequence[Throttled], now: datetime) -> list[ThrottleStanding]:
        """Count one more of each, if every one of them allows it; else of none."""
        ...

    async def peek(self, wanted: Sequence[Throttled], now: datetime) -> list[ThrottleStanding]:
        """The same, without counting."""
        ...

    async def clear(self, name: ThrottleName, subject: bytes) -> None:
        """Count from 0 again."""
        ...

    async def knows(self, digests: Sequence[bytes], now: datetime) -> bool:
        """Whether one of these, an account and a network together, is known now."""
        ...

    async def begin_sign_in(
        self, policy: ThrottlePolicy, attempt: SignInTry, now: datetime
    ) -> SignInBegun:
        """Judge by the counters whether it may be tried; if so, it counts as failed until it is
        known how it ended. One step, whoever tries at the same time."""
        ...

    async def fail_sign_in(self, policy: ThrottlePolicy, attempt: SignInTry, now: datetime) -> None:
        """It failed: count it for its network and for all."""
        ...

    async def undo_sign_in(self, policy: ThrottlePolicy, subject: bytes) -> None:
        """It was not judged, or is not over: as if it had not been."""
        ...

    async def locks_to_tell(self, now: datetime, limit: int) -> list[LockToTell]:
        """Locks of accounts that nobody has told of. Whoever got them has 30 seconds to; then
        they are given to somebody else."""
        ...

    async def prune(self, policy: ThrottlePolicy, now: datetime) -> int:
        """Drop what can't matter any more; how many rows it was."""
        ...
