"""The key directory: every account, key, plan and allowance, in memory, following the log.

It folds the log with the domain's own `evolve`, from the states that commands wrote in
their transactions. It decides nothing and asks nobody: `domain.verification.judge` does,
with what it finds here. An event that can't be read closes the stream that it names.

A million keys fit, packed (projections.packing). Of more, it can hold those used lately, and
`fetch` the others (projections.recent_keys): then `find` and `key` know only those that are
here, and `fetch` is asked when `find` has none. Accounts and their rules are always all here.
"""

import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import structlog

from domain.accounts import Account, AccountErased
from domain.allowances import EVERYBODY, Allowance, GlobalReset
from domain.api_keys import ApiKey
from domain.event import Event, Recorded, Unreadable, stored_name
from domain.plans import Plan
from domain.sessions import SessionEnded
from projections.access_gate import AccessGate
from projections.held_states import HeldKeys, HeldRules, held_accounts
from projections.packed_states import Page
from projections.packing import algorithms_of, pack
from projections.recent_keys import MissingKeys, RecentKeys
from projections.waiting import Waiting

log = structlog.get_logger()

MAX_WAITERS = 1_000
"""Who comes on top is told at once that the position is not reached: anybody may ask."""

_CONSUMED = ("account.", "api_key.", "plan.", "allowance.", "session.")


class KeyDirectory:
    """Implements application.ports.Directory, and answers verification's look-ups.

    `nouns` maps an event class to its `evolve`. Everything here runs on the event loop's
    thread; a step of the log is applied whole before anything else is looked up. `changes` rises
    with everything that may change an answer. `missing` and `max_keys`: hold so many keys, those
    used lately, and read the others from there. `erased` is called with each account that the log
    says was erased, as soon as it says so.
    """

    def __init__(
        self,
        nouns: Mapping[type[Event], Callable[..., msgspec.Struct]],
        missing: MissingKeys | None = None,
        max_keys: int = 0,
    ) -> None:
        self._nouns = nouns
        self._recent = RecentKeys(missing, max_keys) if missing is not None else None
        self._held = HeldKeys()
        self._keys = self._held if self._recent is None else self._recent
        self._accounts = held_accounts()
        self._rules = HeldRules()
        self._plans: dict[str, Plan] = {}
        self._reset = GlobalReset(0)
        self._algorithms: frozenset[str] = frozenset()
        self._closed: set[str] = set()
        self._waiting = Waiting()
        self._position = 0
        self.confirmed_at = 0.0
        self.changes = 0
        self.gate = AccessGate()
        self.erased: Callable[[str], None] = lambda account_id: None

    @property
    def partial(self) -> bool:
        """Whether there may be keys that `find` doesn't know of: then `fetch` does."""
        return self._recent is not None

    @property
    def foreign_algorithms(self) -> frozenset[str]:
        """How secrets were digested elsewhere that were imported and never used since."""
        return self._algorithms

    @property
    def reset_at_us(self) -> int:
        """When everybody's quotas were reset the last time."""
        return self._reset.at_us

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
        self._position = recorded.position
        if isinstance(recorded, Recorded):
            self._fold(recorded)
        else:
            self.distrust(recorded)
        self._waiting.reached(self._position)

    def distrust(self, unreadable: Unreadable) -> None:
        """Close the stream of an event that can't be read; other nouns' events pass.

        What it changed isn't known, so nothing of the stream is taken for true any more. A
        rule that can't be read might be one that limits: its account is refused rather than
        let through unmetered.
        """
        if not unreadable.name.startswith(_CONSUMED):
            return
        self.changes += 1
        log.error(
            "event can't be read",
            position=unreadable.position,
            stream=unreadable.stream,
            problem=unreadable.problem,
        )
        self._closed.add(unreadable.stream)
        self.gate.distrust(unreadable.stream)
        if unreadable.name.startswith("allowance.") and unreadable.account_id is not None:
            self._closed.add(unreadable.account_id)

    def fresh(self, max_staleness_seconds: float) -> bool:
        """Whether the end of the log was reached that recently."""
        return time.monotonic() - self.confirmed_at <= max_staleness_seconds

    async def catch_up(self, position: int, patience_seconds: float) -> bool:
        """Wait until this position is applied; False if it takes longer."""
        if self._position >= position:
            return True
        return await self._waiting.until(position, patience_seconds, MAX_WAITERS)

    def find(self, digests: Sequence[bytes]) -> ApiKey | None:
        """The key with one of these digests."""
        for digest in digests:
            key = self._keys.by_digest(digest)
            if key is not None:
                return None if key.id in self._closed else key
        return None

    async def fetch(self, digests: Sequence[bytes]) -> ApiKey | None:
        """The key with one of these digests, wherever it is; only where the directory is
        partial. What it raises is `missing`'s."""
        key = self.find(digests)
        if key is None and self._recent is not None:
            key = await self._recent.fetch(digests)
        return None if key is None or key.id in self._closed else key

    async def hold(self, key_ids: Sequence[str]) -> None:
        """See to it that `key` and `allowances` know these keys for the next 10 seconds, those
        that there are. Nothing to do unless the directory is partial; raises as `fetch` does."""
        if self._recent is not None:
            await self._recent.hold(key_ids)

    def key(self, key_id: str) -> ApiKey | None:
        """The key of this id."""
        return None if key_id in self._closed else self._keys.get(key_id)

    def account(self, account_id: str) -> Account | None:
        """The account of this id."""
        return None if account_id in self._closed else self._accounts.get(account_id)

    def plan(self, name: str) -> Plan | None:
        """The plan of this name."""
        return None if f"plan_{name}" in self._closed else self._plans.get(name)

    def plans(self) -> list[Plan]:
        """All plans, in the order in which they were published."""
        return list(self._plans.values())

    def allowances(self, owner_id: str) -> tuple[Allowance, ...]:
        """The rules that this key or account has to itself; a lifted one only if it was reset.

        The same tuple as long as nothing changed and the owner is in use. Of a key that a
        partial directory doesn't hold at the moment it knows none.
        """
        if self._recent is not None and not owner_id.startswith("acct_"):
            return self._recent.rules(owner_id)
        return self._rules.of(owner_id)

    def closed(self) -> frozenset[str]:
        """Streams that had an event which can't be read."""
        return frozenset(self._closed)

    def size(self) -> dict[str, int]:
        """How much is in here."""
        return {"keys": len(self._keys), "accounts": len(self._accounts)}

    def states(self) -> dict[str, msgspec.Struct]:
        """Everything that is held, by id: to compare two directories, not to serve."""
        held: list[Any] = [*self._accounts.all(), *self._rules.all(), *self._held.all()]
        return {**{each.id: each for each in held}, **self._plans}

    def keep(self, state: msgspec.Struct) -> None:
        """Hold this state, in the place of the one it follows."""
        self.changes += 1
        match state:
            case ApiKey():
                self.know_algorithms(algorithms_of(state))
                if self._recent is not None:
                    self._recent.keep(state, self._position)
                else:
                    self._held.keep(state, pack(state))
            case Account():
                self._accounts.keep(state, pack(state))
                self.gate.keep(state.id, state.epoch, state.status)
            case Plan():
                self._plans[state.name] = state
            case Allowance() if self._recent is not None and not _is_shared(state):
                self._recent.keep(state, self._position)
            case Allowance():
                self._rules.keep(state, pack(state))
            case GlobalReset():
                self._reset = state
            case _:
                raise TypeError(f"the directory holds no {type(state).__name__}")

    def load(self, noun: str, page: Page) -> None:
        """Hold a page of packed states, none of which is held so far."""
        match noun:
            case "account":
                self._accounts.load(page)
            case "allowance":
                self._rules.load(page)
            case "api_key":
                self._held.load(page)
            case _:
                raise ValueError(f"the directory holds no packed {noun}")

    def expect(self, noun: str, total: int) -> None:
        """Make room for about so many of this noun."""
        match noun:
            case "account":
                self._accounts.expect(total)
            case "allowance":
                self._rules.expect(total)
            case _:
                self._held.expect(total)

    def also_known_by(self, packed_id: bytes, previous: bytes) -> None:
        """Find the key of this packed id by its previous digest, too."""
        self._held.also_known_by(packed_id, previous)

    def know_algorithms(self, algorithms: Iterable[str]) -> None:
        """There are secrets that were digested so."""
        if not self._algorithms.issuperset(algorithms):
            self._algorithms |= frozenset(algorithms)

    def _fold(self, recorded: Recorded) -> None:
        if isinstance(recorded.event, AccountErased):
            self.erased(recorded.stream)  # first of all: whatever is wrong with the stream
        if isinstance(recorded.event, SessionEnded):
            self.gate.end(recorded.stream, recorded.metadata.at)
        evolve = self._nouns.get(type(recorded.event))
        if evolve is None or recorded.stream in self._closed:
            return
        self.changes += 1  # of what isn't held as well: somebody may still have it
        state = self._state(recorded.stream)
        if self._recent is not None and self._is_of_key(recorded):
            self._recent.saw(recorded.stream, recorded.position)
            self.know_algorithms(_algorithms_in(recorded.event))
            held = self._recent.state(recorded.stream)
            if held is None or held[1] >= recorded.position:
                return
            state = held[0]
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
            self._held.get(stream)
            or self._accounts.get(stream)
            or self._rules.get(stream)
            or self._plans.get(stream.removeprefix("plan_"))
        )

    def _is_of_key(self, recorded: Recorded) -> bool:
        """Whether the event is about a key, or about the rule that one has to itself."""
        name = stored_name(type(recorded.event))
        if not name.startswith("allowance."):
            return name.startswith("api_key.")
        owner = getattr(recorded.event, "owner_id", None)
        if owner is None:
            of_account = self._accounts.get(f"acct_{recorded.stream.removeprefix('alw_')}")
            return recorded.stream != EVERYBODY and of_account is None
        return not owner.startswith("acct_")


def _is_shared(rule: Allowance) -> bool:
    return rule.owner_id.startswith("acct_")


def _algorithms_in(event: Event) -> tuple[str, ...]:
    """What a key that isn't here is digested by, if the event says so."""
    algorithm = getattr(event, "algorithm", None)
    return () if algorithm is None else (algorithm,)
