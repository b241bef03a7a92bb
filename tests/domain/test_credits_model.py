"""Credits against a naive ledger that draws everything at once, through whatever may happen."""

from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from domain import credits
from domain.calendars import ETERNITY, instant, microseconds
from domain.credit_accounts import CreditAccount
from domain.credit_events import CreditDrawn, CreditEvent, postings
from domain.credit_lots import later, month_of, month_start_us
from domain.credits import Entries, GrantCredits, Standing
from domain.errors import CreditsExhausted, HoldEnded, InvalidAmount
from tests.exploring import examples

START = microseconds(datetime(2026, 1, 30, 22, tzinfo=UTC))
HOUR = 3_600_000_000
AMOUNTS = st.integers(1, 30_00)
WAITS = st.integers(0, 60 * 24).map(lambda hours: hours * HOUR)


class Naive:
    """Lots as numbers, spent from at once; time is looked at only when somebody asks."""

    def __init__(self) -> None:
        self.lots: dict[int, dict[str, Any]] = {}
        self.holds: dict[str, tuple[dict[int, int], int]] = {}
        self.month = 0
        self.given = 0

    def look(self, now: int, monthly: int) -> None:
        """Let time pass up to now."""
        for hold_id, (parts, until) in list(self.holds.items()):
            if until <= now:
                self.end(hold_id, parts)
        for lot in self.lots.values():
            if lot["until"] <= now:
                lot["left"] = 0
        month = month_of(now)
        given = self.given if month == self.month else 0
        if month >= self.month and monthly > given:
            self.add(monthly - given, 0, now, month_start_us(month + 1), "plan")
            self.month, self.given = month, monthly

    def add(self, amount: int, priority: int, since: int, until: int, source: str) -> None:
        number = len(self.lots) + 1
        self.lots[number] = {
            "left": amount,
            "priority": priority,
            "since": since,
            "until": until,
            "source": source,
        }

    def live(self, now: int) -> list[int]:
        order = sorted(
            self.lots, key=lambda n: (self.lots[n]["priority"], self.lots[n]["until"], n)
        )
        return [n for n in order if self.lots[n]["since"] <= now < self.lots[n]["until"]]

    def available(self, now: int) -> int:
        return sum(self.lots[number]["left"] for number in self.live(now))

    def take(self, amount: int, now: int) -> dict[int, int]:
        parts = {}
        for number in self.live(now):
            part = min(amount, self.lots[number]["left"])
            if part:
                self.lots[number]["left"] -= part
                parts[number] = part
                amount -= part
        assert not amount
        return parts

    def end(self, hold_id: str, back: dict[int, int]) -> None:
        del self.holds[hold_id]
        for number, amount in back.items():
            self.lots[number]["left"] += amount

    @property
    def held(self) -> int:
        return sum(sum(parts.values()) for parts, _ in self.holds.values())


class Credits(RuleBasedStateMachine):
    """Both are told the same; only the naive one draws at once."""

    def __init__(self) -> None:
        super().__init__()
        self.naive = Naive()
        self.clock = START
        self.monthly = 5_00
        self.state: CreditAccount | None = None
        self.stored: list[CreditEvent] = []
        self.entries_of_uses: dict[int, tuple[int, int]] = {}
        self.used = self.entry_no = self.limit = self.changes_at = 0
        self.made = 0

    @property
    def now(self) -> int:
        """What has been decided holds, whatever the clock says."""
        return max(self.clock, 0 if self.state is None else self.state.at_us)

    def open(self) -> Entries:
        standing = Standing(self.used, self.entry_no, self.clock)
        return credits.settled("acct_1", self.state, standing, self.monthly)

    def keep(self, entries: Entries) -> None:
        self.stored += entries.events
        self.state = entries.state if entries.events else self.state
        self.entry_no = entries.entry_no
        self.limit = self.used + entries.available
        self.changes_at = entries.changes_at(self.monthly)
        assert self.changes_at > entries.now_us

    def begin(self) -> Entries:
        self.before = deepcopy(self.naive)
        self.naive.look(self.now, self.monthly)
        entries = self.open()
        assert entries.available == self.naive.available(self.now)
        return entries

    def refused(self) -> None:
        """A command that is refused changes nothing, and so nobody has looked."""
        self.naive = self.before

    @rule(
        amount=AMOUNTS, priority=st.integers(1, 3), wait=WAITS, length=WAITS, forever=st.booleans()
    )
    def grant(self, amount: int, priority: int, wait: int, length: int, forever: bool) -> None:
        entries = self.begin()
        since = entries.now_us + wait
        until = None if forever else since + length + HOUR
        command = GrantCredits(
            amount=amount,
            priority=priority,
            starts_at=instant(since),
            expires_at=None if until is None else instant(until),
            source=f"grant {priority}",
        )
        credits.grant(entries, command)
        self.naive.add(amount, priority, since, until or ETERNITY, f"grant {priority}")
        self.keep(entries)

    @rule(amount=AMOUNTS, times=st.integers(1, 4), every=st.sampled_from(["day", "week", "month"]))
    def schedule(self, amount: int, times: int, every: Any) -> None:
        entries = self.begin()
        first = instant(entries.now_us)
        command = GrantCredits(
            amount=amount, every=every, times=times, expires_at=later(first, every, 1)
        )
        credits.grant(entries, command)
        for number in range(times):
            since = microseconds(later(first, every, number))
            until = microseconds(later(later(first, every, 1), every, number))
            self.naive.add(amount, 50, since, until, "grant")
        self.keep(entries)

    @rule(amount=st.integers(0, 12_00), times=st.integers(1, 3))
    def verify(self, amount: int, times: int) -> None:
        """As count_usage does it, with settling in between where it asks for that."""
        for _ in range(times):
            if self.clock >= self.changes_at:
                self.keep(self.begin())
            fits = self.used + amount <= self.limit
            assert fits == (amount <= self.naive.available(self.now))
            if fits:
                self.naive.take(amount, self.now)
                left = self.limit - self.used
                self.used += amount
                self.entry_no += 1
                self.entries_of_uses[self.entry_no] = (left, left - amount)

    @rule(amount=AMOUNTS)
    def spend(self, amount: int) -> None:
        entries = self.begin()
        try:
            credits.spend(entries, amount)
        except CreditsExhausted:
            assert amount > self.naive.available(self.now)
            self.refused()
            return
        self.naive.take(amount, self.now)
        self.keep(entries)

    @rule(amount=AMOUNTS, seconds=st.integers(1, credits.MAX_HOLD_SECONDS))
    def hold(self, amount: int, seconds: int) -> None:
        entries = self.begin()
        self.made += 1
        try:
            credits.hold(entries, f"hold_{self.made}", amount, seconds)
        except CreditsExhausted:
            assert amount > self.naive.available(self.now)
            self.refused()
            return
        parts = self.naive.take(amount, entries.now_us)
        self.naive.holds[f"hold_{self.made}"] = (parts, entries.now_us + seconds * 1_000_000)
        self.keep(entries)

    @precondition(lambda self: self.made)
    @rule(data=st.data(), amount=AMOUNTS | st.none())
    def capture(self, data: st.DataObject, amount: int | None) -> None:
        hold_id = f"hold_{data.draw(st.integers(1, self.made))}"
        entries = self.begin()
        held = self.naive.holds.get(hold_id)
        try:
            credits.capture(entries, hold_id, amount)
        except HoldEnded:
            assert held is None
            self.refused()
            return
        except InvalidAmount:
            assert held is not None
            assert amount is not None
            assert amount > sum(held[0].values())
            self.refused()
            return
        assert held is not None
        back, wanted = {}, sum(held[0].values()) if amount is None else amount
        for number, part in held[0].items():
            taken = min(part, wanted)
            wanted -= taken
            back[number] = part - taken
        self.naive.end(hold_id, back)
        self.keep(entries)

    @precondition(lambda self: self.made)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        hold_id = f"hold_{data.draw(st.integers(1, self.made))}"
        entries = self.begin()
        held = self.naive.holds.get(hold_id)
        try:
            credits.release(entries, hold_id)
        except HoldEnded:
            assert held is None
            self.refused()
            return
        assert held is not None
        self.naive.end(hold_id, held[0])
        self.keep(entries)

    @rule(priority=st.integers(1, 3), most=AMOUNTS)
    def withdraw(self, priority: int, most: int) -> None:
        entries = self.begin()
        taken = credits.withdraw(entries, f"grant {priority}", most)
        lots = [
            lot
            for _, lot in sorted(self.naive.lots.items(), reverse=True)
            if lot["source"] == f"grant {priority}" and lot["until"] > self.now
        ]
        missing = most
        for lot in lots:
            part = min(lot["left"], missing)
            lot["left"] -= part
            missing -= part
        assert taken == most - missing
        self.keep(entries)

    @rule(wait=WAITS)
    def wait(self, wait: int) -> None:
        self.clock += wait

    @rule(hours=st.integers(1, 30))
    def step_back(self, hours: int) -> None:
        self.clock -= hours * HOUR

    @rule(monthly=st.sampled_from([0, 5_00, 20_00]))
    def change_plan(self, monthly: int) -> None:
        """The row sees a higher rule number, so the next to come settles."""
        self.monthly = monthly
        self.changes_at = 0

    @invariant()
    def looking_changes_nothing_and_both_agree(self) -> None:
        naive, entries = deepcopy(self.naive), self.open()
        naive.look(self.now, self.monthly)
        assert entries.available == naive.available(self.now)
        assert entries.state.held == naive.held
        left = {lot.no: lot.left for lot in entries.state.lots if lot.left}
        assert left == {
            number: lot["left"]
            for number, lot in naive.lots.items()
            if lot["left"] and lot["until"] > self.now
        }

    @invariant()
    def entries_sum_to_balances(self) -> None:
        state, places, drawn = None, dict.fromkeys(("available", "held", "upcoming"), 0), 0
        ends = dict(self.entries_of_uses)
        for event in self.stored:
            state = credits.evolve(state, event, instant(event.at_us))
            moved = postings(event)
            assert sum(each.amount for each in moved) == 0
            for each in moved:
                if each.place in places:
                    places[each.place] += each.amount
                    assert places[each.place] >= 0
            drawn += event.amount if isinstance(event, CreditDrawn) else 0
            ends[event.entry_no] = (event.before, event.after)
        assert state == self.state
        if state is not None:
            assert places == {
                "available": state.begun,
                "held": state.held,
                "upcoming": state.upcoming,
            }
            assert drawn == state.settled_used <= self.used
        at = 0
        for number in range(1, self.entry_no + 1):
            before, after = ends[number]
            assert before == at
            assert after >= 0
            at = after
        assert len(ends) == self.entry_no


TestCredits = Credits.TestCase
TestCredits.settings = settings(max_examples=examples(40), stateful_step_count=25, deadline=None)
