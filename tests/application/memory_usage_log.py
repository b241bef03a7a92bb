"""A usage log in memory, on the oracle of counting: for faults that are hard to bring about."""

import asyncio
import time
from itertools import groupby

import msgspec

from application.errors import StoreUnavailable
from application.ports import Counted, Flush
from domain.calendars import length
from domain.verification import GRANTED, Counter, Expected, Take, VerificationsCounted, take


class MemoryUsageLog:
    """Counts as the database does; can be down, slow, broken, or lose its replies."""

    def __init__(self) -> None:
        self.counters: dict[int, Counter] = {}
        self.log: dict[tuple[str, int], Counted] = {}
        self.events: list[VerificationsCounted] = []
        self.down = False
        self.lose_reply = False
        self.broken: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.asked = 0

    async def now_us(self) -> int:
        if self.down:
            raise StoreUnavailable("down")
        return time.time_ns() // 1000

    async def count(self, flush: Flush) -> Counted:
        self.asked += 1
        await self.open.wait()
        if self.down:
            raise StoreUnavailable("down")
        if self.broken is not None:
            raise self.broken
        place = (flush.stream, flush.version)
        if place not in self.log:
            self.log[place] = self._taken(flush)
            self.events.append(
                msgspec.json.decode(b"{" + flush.batch + b"}", type=VerificationsCounted)
            )
        if self.lose_reply:
            self.lose_reply = False
            self.down = True
            raise StoreUnavailable("the reply was lost")
        return self.log[place]

    def _taken(self, flush: Flush) -> Counted:
        counters = [
            self.counters.setdefault(rule.counter_id, Counter(limit=rule.limit, rule_no=0))
            for rule in flush.rules
        ]
        expected = expectations(flush)
        triples = [flush.takes[at : at + 3] for at in range(0, len(flush.takes), 3)]
        grouped = [(row, list(each)) for row, each in groupby(triples, lambda triple: triple[0])]
        now = time.time_ns() // 1000
        take(counters, expected, [], now)
        opened = [msgspec.structs.replace(each) for each in counters]
        requests = [[Take(index - 1, amount) for _, index, amount in each] for _, each in grouped]
        verdicts = take(counters, expected, requests, now)
        return Counted(
            position=len(self.log) + 1,
            now_us=now,
            windows=[each.window_start for each in opened],
            limits=[each.allowed for each in opened],
            opening=[each.used for each in opened],
            entry_no=[each.entry_no for each in opened],
            refused={
                row: verdict
                for (row, _), verdict in zip(grouped, verdicts, strict=True)
                if verdict != GRANTED
            },
        )


def expectations(flush: Flush) -> list[Expected]:
    """What a flush knows of its counters, as the oracle takes it."""
    return [
        Expected(
            rule.rule_no,
            flush.windows[rule.calendar],
            rule.limit,
            rule.carry_over_max,
            rule.kind,
            length(rule.calendar.period),
        )
        for rule in flush.rules
    ]
