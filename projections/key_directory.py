"""The key directory: every account, key, plan and allowance, in memory, following the log.

It folds the log with the domain's own `evolve`, from the states that commands wrote in
their transactions. It decides nothing and asks nobody: `domain.verification.judge` does,
with what it finds here. An event that can't be read closes the stream that it names.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any

import msgspec
import structlog

from domain.accounts import Account
from domain.allowances import Allowance
from domain.api_keys import ApiKey
from domain.event import Event, Recorded, Unreadable, stored_name
from domain.plans import Plan

log = structlog.get_logger()

MAX_WAITERS = 1_000
"""Who comes on top is told at once that the position is not reached: anybody may ask."""

_CONSUMED = ("account.", "api_key.", "plan.", "allowance.")


class KeyDirectory:
    """Implements application.ports.Directory, and answers verification's look-ups.

    `nouns` maps an event class to its `evolve`. Everything here runs on the event loop's
    thread; a step of the log is applied whole before anything else is looked up.
    """

    def __init__(self, nouns: Mapping[type[Event], Callable[..., msgspec.Struct]]) -> None:
        self._nouns = nouns
        self._by_digest: dict[bytes, ApiKey] = {}
        self._keys: dict[str, ApiKey] = {}
        self._accounts: dict[str, Account] = {}
        self._plans: dict[str, Plan] = {}
        self._allowances: dict[str, Allowance] = {}
        self._by_owner: dict[str, tuple[Allowance, ...]] = {}
        self._closed: set[str] = set()
        self._waiters: list[tuple[int, int, asyncio.Future[None]]] = []
        self._tickets = count()
        self._position = 0
        self.confirmed_at = 0.0

    @property
    def position(self) -> int:
        """Everything up to here is applied."""
        return self._position

    def start_at(self, position: int) -> None:
        """The states that were kept so far are those of this position of the log.

        Loading takes time: that nothing came since is known only when the log was followed.
        """
        self._position = position

    async def run(self, steps: AsyncIterator[Any]) -> None:
        """Apply the log step by step until cancelled."""
        async for step in steps:
            for recorded in step.events:
                self.apply(recorded)
            if step.at_end:
                self.confirmed_at = step.asked_at

    def apply(self, recorded: Recorded | Unreadable) -> None:
        """Apply one event of the log, or close the stream of one that can't be read."""
        if isinstance(recorded, Recorded):
            self._fold(recorded)
        else:
            self.distrust(recorded)
        self._position = recorded.position
        while self._waiters and self._waiters[0][0] <= self._position:
            _, _, reached = heappop(self._waiters)
            if not reached.done():
                reached.set_result(None)

    def distrust(self, unreadable: Unreadable) -> None:
        """Close the stream of an event that can't be read; other nouns' events pass.

        What it changed isn't known, so nothing of the stream is taken for true any more. A
        rule that can't be read might be one that limits: its account is refused rather than
        let through unmetered.
        """
        if not unreadable.name.startswith(_CONSUMED):
            return
        log.error(
            "event can't be read",
            position=unreadable.position,
            stream=unreadable.stream,
            problem=unreadable.problem,
        )
        self._closed.add(unreadable.stream)
        if unreadable.name.startswith("allowance.") and unreadable.account_id is not None:
            self._closed.add(unreadable.account_id)

    def fresh(self, max_staleness_seconds: float) -> bool:
        """Whether the end of the log was reached that recently."""
        return time.monotonic() - self.confirmed_at <= max_staleness_seconds

    async def catch_up(self, position: int, patience_seconds: float) -> bool:
        """Wait until this position is applied; False if it takes longer."""
        if self._position >= position:
            return True
        if len(self._waiters) >= MAX_WAITERS:
            self._waiters = [each for each in self._waiters if not each[2].done()]
            if len(self._waiters) >= MAX_WAITERS:
                return False
            heapify(self._waiters)
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heappush(self._waiters, (position, next(self._tickets), reached))
        try:
            async with asyncio.timeout(patience_seconds):
                await reached
        except TimeoutError:
            return False  # what is cancelled leaves the heap when its turn comes, or room is short
        return True

    def find(self, digests: Sequence[bytes]) -> ApiKey | None:
        """The key with one of these digests."""
        for digest in digests:
            key = self._by_digest.get(digest)
            if key is not None:
                return None if key.id in self._closed else key
        return None

    def key(self, key_id: str) -> ApiKey | None:
        """The key of this id."""
        return None if key_id in self._closed else self._keys.get(key_id)

    def account(self, account_id: str) -> Account | None:
        """The account of this id."""
        return None if account_id in self._closed else self._accounts.get(account_id)

    def plan(self, name: str) -> Plan | None:
        """The plan of this name."""
        return self._plans.get(name)

    def plans(self) -> list[Plan]:
        """All plans, in the order in which they were published."""
        return list(self._plans.values())

    def allowances(self, owner_id: str) -> tuple[Allowance, ...]:
        """The rules that this key or account has to itself."""
        return self._by_owner.get(owner_id, ())

    def closed(self) -> frozenset[str]:
        """Streams that had an event which can't be read."""
        return frozenset(self._closed)

    def size(self) -> dict[str, int]:
        """How much is in here."""
        return {"keys": len(self._keys), "accounts": len(self._accounts)}

    def _fold(self, recorded: Recorded) -> None:
        evolve = self._nouns.get(type(recorded.event))
        if evolve is None or recorded.stream in self._closed:
            return
        state = self._state(recorded.stream)
        try:
            self.keep(evolve(state, recorded.event, recorded.metadata.at))
        except Exception as error:
            self.distrust(
                Unreadable(
                    recorded.position,
                    recorded.stream,
                    recorded.version,
                    stored_name(type(recorded.event)),
                    str(error),
                    recorded.account_id,
                )
            )

    def _state(self, stream: str) -> msgspec.Struct | None:
        return (
            self._keys.get(stream)
            or self._accounts.get(stream)
            or self._allowances.get(stream)
            or self._plans.get(stream.removeprefix("plan_"))
        )

    def keep(self, state: msgspec.Struct) -> None:
        """Hold this state, in the place of the one it follows."""
        match state:
            case ApiKey():
                self._by_digest[state.digest] = state
                self._keys[state.id] = state
            case Account():
                self._accounts[state.id] = state
            case Plan():
                self._plans[state.name] = state
            case Allowance():
                self._allowances[state.id] = state
                others = [
                    each for each in self._by_owner.get(state.owner_id, ()) if each.id != state.id
                ]
                if not state.lifted:
                    others.append(state)
                self._by_owner[state.owner_id] = tuple(others)
            case _:
                raise TypeError(f"the directory holds no {type(state).__name__}")
