"""Group commit: who takes counters waits in the open batch, and one flush at a time commits one.

While a batch is being committed the next one forms, so the more wait the more each commit
carries. Nobody is answered before the commit; rows that take nothing ride along.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime

import msgspec
import structlog

from application.asks import Decided
from application.batches import Answer, Batch, Waiting
from application.errors import StoreUnavailable
from application.ports import Counted, Flush, UsageLog
from application.verdicts import state_of
from domain import calendars
from domain.calendars import Calendar, Window
from domain.counters import Rule
from domain.event import Metadata
from domain.verification import GRANTED, KINDS, VerificationsCounted

log = structlog.get_logger()

FLUSH_BEHIND_SECONDS = 0.5
RETRY_SECONDS = 0.25
MOST_FULL = 16
MAX_WINDOWS = 10_000

_KIND = {kind: number for number, kind in enumerate(KINDS)}


class GroupCommit:
    """The batches of one process, and their flushes. `run` must be running.

    `stream` is this process's own usage stream: its versions number the flushes.
    """

    def __init__(self, usage: UsageLog, stream: str, clock: Callable[[], datetime]) -> None:
        self._usage = usage
        self._stream = stream
        self._clock = clock
        self._windows: dict[Calendar, Window] = {}
        self._open = Batch(stream, 1)
        self._full: deque[Batch] = deque()
        self._wanted = asyncio.Event()
        self._down = False
        self._clock_offset_us: int | None = None
        self._stopping = False
        self.rows_dropped = 0

    @property
    def counting(self) -> bool:
        """Whether counters can be taken at present."""
        return not (self._down or self._stopping)

    @property
    def open(self) -> Batch:
        """The batch that forms at present, full or not."""
        return self._open

    def room(self) -> Batch | None:
        """The batch that takes the next row; a full one waits for its turn. None: there are
        as many full ones as may wait."""
        if self._open.full:
            if len(self._full) >= MOST_FULL:
                return None
            self._full.append(self._open)
            self._open = Batch(self._stream, self._open.version + 1)
            self._wanted.set()
        return self._open

    def take(self, batch: Batch, row: int, decided: Decided, answer: Answer) -> None:
        """Have this row take its counters; `answer` gets the reason of a refusal, and what each
        counter had left."""
        batch.waiting.append(Waiting(row, decided.rules, decided.amounts, answer))
        self._wanted.set()

    async def run(self) -> None:
        """Flush batch after batch until `close`."""
        while not self._stopping:
            try:
                async with asyncio.timeout(FLUSH_BEHIND_SECONDS):
                    await self._wanted.wait()
            except TimeoutError:
                pass
            await self._flush()

    async def close(self) -> None:
        """Flush what is there, once; then nothing more is taken."""
        self._stopping = True
        self._wanted.set()
        while self._full or self._open.code:
            await self._flush()
        await asyncio.sleep(0)  # the last one's answers

    def _next(self) -> Batch:
        """The batch that is flushed next; nobody adds to it from now on."""
        self._wanted.clear()
        if self._full:
            self._wanted.set()  # there is more
            return self._full.popleft()
        batch = self._open
        if batch.code:
            self._open = Batch(self._stream, batch.version + 1)
        return batch

    async def _flush(self) -> None:
        batch = self._next()
        if not batch.code:
            return
        try:
            counted = await self._count(batch)
        except StoreUnavailable as error:
            await self._recover(batch, error)
        except asyncio.CancelledError:
            batch.fail(StoreUnavailable("counting was stopped"))
            raise
        except Exception as error:
            # Whatever it was, nobody may be left waiting, and the process goes on.
            log.exception("a flush failed", version=batch.version)
            batch.fail(StoreUnavailable(str(error)))
        else:
            # Behind the sending of the next batch: the database counts that one while this one's
            # answers are made.
            asyncio.get_running_loop().call_soon(self._settle, batch, counted)

    async def _count(self, batch: Batch) -> Counted:
        if self._clock_offset_us is None:
            self._clock_offset_us = await self._usage.now_us() - time.monotonic_ns() // 1000
        flush = self._prepare(batch, time.monotonic_ns() // 1000 + self._clock_offset_us)
        counted = await self._usage.count(flush)
        # Measured on receipt, so the estimate is late rather than early: a window may be
        # entered late (the database knows the next one, too), never early.
        self._clock_offset_us = counted.now_us - time.monotonic_ns() // 1000
        return counted

    def _prepare(self, batch: Batch, now_us: int) -> Flush:
        found: dict[int, Rule] = {}
        for waiting in batch.waiting:
            for rule in waiting.rules:
                other = found.get(rule.counter_id)
                # Two asks around a change: the newer rule is the one that holds.
                if other is None or other.rule_no < rule.rule_no:
                    found[rule.counter_id] = rule
        rules = [found[counter] for counter in sorted(found)]
        batch.index = {rule.counter_id: number for number, rule in enumerate(rules)}
        takes: list[int] = []
        for waiting in batch.waiting:
            row = waiting.row
            for rule, amount in zip(waiting.rules, waiting.amounts, strict=True):
                takes += (row, batch.index[rule.counter_id] + 1, amount)
        event = VerificationsCounted(
            instance=self._stream,
            at_us=batch.at_us,
            judged_at=batch.judged_at,
            keys=list(batch.keys),
            accounts=list(batch.accounts),
            key=batch.key,
            account=batch.account,
            code=batch.code,
            cost=batch.cost,
            takes=takes,
            counters=[rule.counter_id for rule in rules],
            kinds=[_KIND[rule.kind] for rule in rules],
            labels=batch.labels,
            operations=batch.operations,
        )
        metadata = Metadata(
            at=self._clock(), actor="verification", command_id=f"{self._stream}_{batch.version}"
        )
        return Flush(
            stream=self._stream,
            version=batch.version,
            metadata=msgspec.json.encode(metadata),
            batch=msgspec.json.encode(event)[1:-1],
            rules=rules,
            windows={each: self._window(each, now_us) for each in {r.calendar: 0 for r in rules}},
            takes=takes,
        )

    def _window(self, calendar: Calendar, now_us: int) -> Window:
        window = self._windows.get(calendar)
        reset = window is not None and window.start < calendar.reset_at_us <= now_us
        if window is None or reset or not window.start <= now_us < window.end:
            window = calendars.window(calendar, now_us)
            if len(self._windows) >= MAX_WINDOWS:
                self._windows.clear()
            self._windows[calendar] = window
        return window

    def _settle(self, batch: Batch, counted: Counted) -> None:
        try:
            self._answer(batch, counted)
        except Exception as error:
            log.exception("a batch was counted, and can't be answered", version=batch.version)
            batch.fail(StoreUnavailable(str(error)))

    def _answer(self, batch: Batch, counted: Counted) -> None:
        """Answer everybody, replaying the batch in its order for what each had left."""
        index = batch.index
        used = list(counted.opening)
        limits, windows, refused = counted.limits, counted.windows, counted.refused
        for waiting in batch.waiting:
            reason = refused.get(waiting.row, GRANTED)
            left = []
            by = 0
            for place, (rule, amount) in enumerate(
                zip(waiting.rules, waiting.amounts, strict=True), 1
            ):
                number = index[rule.counter_id]
                if reason == GRANTED:
                    used[number] += amount
                elif reason == number + 1:
                    by = place
                left.append(
                    state_of(rule, limits[number], used[number], windows[number], by == place)
                )
            if not waiting.answer.done():
                waiting.answer.set_result((by if reason > GRANTED else reason, left))
        # Those who waited know their batch: a ring for the collector, and a pause of ten
        # milliseconds and more whenever it came by.
        batch.waiting.clear()

    async def _recover(self, batch: Batch, error: StoreUnavailable) -> None:
        """Refuse who waits, then settle this version of the stream before any other.

        Whether it was committed isn't known. The event store lets one event in for each
        version, so sending it again, taking nothing now, tells.
        """
        self._down = True
        self._clock_offset_us = None
        log.warning("counting is down", error=str(error))
        batch.fail(error)
        batch.disown()
        while not self._stopping:
            for each in (*self._full, self._open):
                each.fail(error)
                each.disown()
            try:
                await self._count(batch)
                break
            except StoreUnavailable:
                await asyncio.sleep(RETRY_SECONDS)
            except Exception:
                log.exception("a flush can't be settled", version=batch.version)
                break
        if self._stopping:
            self._give_up(batch, error)
            return
        self._down = False
        log.info("counting goes on")

    def _give_up(self, batch: Batch, error: StoreUnavailable) -> None:
        """The process has to end, and nobody takes what waits: say how much that is."""
        left = [batch, *self._full, self._open]
        for each in left:
            each.fail(error)
        self._full.clear()
        self._open = Batch(self._stream, self._open.version + 1)
        rows = sum(len(each.code) for each in left)
        self.rows_dropped += rows
        log.error("usage lost: the process ends and counting is down", rows=rows)
