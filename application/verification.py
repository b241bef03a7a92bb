"""Verification: judged from memory, counted by group commit, answered when it is durable.

A verification that takes counters waits in the open batch. One flush at a time commits a
batch: its counters and its usage event in one transaction; only then are its requests
answered, while the next batch forms. Nothing is answered that isn't counted, nothing is
counted twice, and the more wait the more each commit carries. Verifications without a
counter are answered at once, and their rows ride along with the next flush.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec
import structlog

from application.asks import (
    NOT_FOUND,
    Ask,
    Decided,
    KeyDirectory,
    Rehash,
    Resolved,
    Resolver,
    Settle,
)
from application.batches import MAX_ROWS, Batch, Waiting
from application.begun import Begun, Reply
from application.errors import DirectoryStale, StoreUnavailable
from application.ports import Counted, Digests, Flush, UsageLog
from application.rules import KeyRules, RuleBook
from application.settling import Rehashing, Settling
from application.verdicts import State, Verdict, denial_of_the_unknown, state_of, verdict_on
from domain import calendars
from domain.allowances import Rule
from domain.api_keys import ApiKey
from domain.calendars import Calendar, Window
from domain.errors import UnknownOperation
from domain.event import Metadata
from domain.verification import (
    GRANTED,
    KINDS,
    REFUSALS,
    UNSETTLED,
    Code,
    Presented,
    VerificationsCounted,
    judge,
)

log = structlog.get_logger()

FLUSH_BEHIND_SECONDS = 0.5
RETRY_SECONDS = 0.25
STALE_PAUSE_SECONDS = 0.02
STALE_TRIES = 25
MOST_FULL = 16
MAX_WINDOWS = 10_000

_KIND = {kind: number for number, kind in enumerate(KINDS)}


class Verifier:
    """Judges, counts and answers. One for each process; `run` must be running.

    `stream` is this process's own usage stream: its versions number the flushes.
    """

    def __init__(
        self,
        directory: KeyDirectory,
        usage: UsageLog,
        digests: Digests,
        stream: str,
        log_id: str,
        max_staleness_seconds: float,
        clock: Callable[[], datetime],
        settle: Settle,
        rehash: Rehash,
    ) -> None:
        self._directory = directory
        self._rules = RuleBook(directory)
        self._usage = usage
        self._resolver = Resolver(directory, digests)
        self._stream = stream
        self._log_id = log_id
        self._max_staleness = max_staleness_seconds
        self._clock = clock
        self._settling = Settling(settle)
        self._rehashing = Rehashing(rehash)
        self._windows: dict[Calendar, Window] = {}
        self._open = Batch(stream, 1)
        self._full: deque[Batch] = deque()
        self._wanted = asyncio.Event()
        self._down = False
        self._clock_offset_us: int | None = None
        self._stopping = False
        self.rows_dropped = 0

    async def resolve(self, secret: str) -> Resolved:
        """The key of this secret, if there is one. Forged ones are refused before look-up."""
        return await self._resolver.resolve(secret)

    def remembered(self, secret: str) -> Resolved | None:
        """The same at once, or None: then `resolve` has to look."""
        return self._resolver.remembered(secret)

    def judge(self, resolved: Resolved, ip: str | None) -> Code:
        """Whether a key that acts for itself works now, as far as memory knows."""
        key = resolved.key
        account = None if key is None else self._directory.account(key.account_id)
        audience = None if key is None else key.audience
        presented = Presented(audience, None, ip, resolved.superseded)
        return judge(key, account, presented, time.time())

    def require_fresh(self) -> None:
        """Raises DirectoryStale when this process may have missed a change."""
        if not self._directory.fresh(self._max_staleness):
            raise DirectoryStale("the end of the decisions log was not seen in time")

    async def verify(self, ask: Ask, request_id: str) -> Verdict:
        """The verdict on this key. Raises UnknownOperation, DirectoryStale, StoreUnavailable.

        When the database knows a newer rule than this process, it looks again shortly.
        """
        self.require_fresh()
        return await self._count_in(ask, self._decide(ask), request_id)

    def begin(self, ask: Ask, request_id: str, reply: Reply) -> bool:
        """`verify` without a task: `reply` gets the verdict, or the exception.

        False where it takes the longer way; then nothing has happened, and `verify` is to be
        asked. Raises UnknownOperation, DirectoryStale.
        """
        self.require_fresh()
        decided = self._decide(ask)
        batch = self._room()
        if batch is None or self._down or self._stopping:
            return False
        row = self._add(batch, ask, decided)
        begun = Begun(self, ask, decided, batch, row, request_id, reply)
        if decided.rules:
            batch.waiting.append(Waiting(row, decided.rules, decided.amounts, begun))
            self._wanted.set()
        else:
            reply(self.told(begun, GRANTED, []))
        return True

    def told(self, begun: Begun, reason: int, left: list[State]) -> Verdict:
        """The verdict on a verification that was counted, or refused by a counter."""
        decided = begun.decided
        code = decided.code if reason == GRANTED else REFUSALS[decided.rules[reason - 1].kind]
        self._welcome(begun.ask, decided.key, code)
        return self._verdict(begun.batch, begun.row, decided.key, code, left, begun.request_id)

    async def count_again(self, begun: Begun, reason: int) -> Verdict:
        """The verdict on a verification that a counter told to look again."""
        await self._look_again(begun.decided, reason)
        return await self._count_in(begun.ask, self._decide(begun.ask), begun.request_id)

    async def verify_many(self, asks: Sequence[Ask], request_id: str) -> list[Verdict]:
        """The verdicts in order. None takes anything if one raises UnknownOperation."""
        self.require_fresh()
        decided = [self._decide(ask) for ask in asks]
        return await asyncio.gather(
            *(
                self._count_in(ask, each, request_id)
                for ask, each in zip(asks, decided, strict=True)
            )
        )

    def _decide(self, ask: Ask) -> Decided:
        key = ask.resolved.key
        known = None if key is None else self._rules.known(key.id)
        if known is None:
            return NOT_FOUND
        key = known.key
        presented = Presented(ask.audience, ask.query, ask.ip, ask.resolved.superseded)
        code = judge(key, known.account, presented, time.time())
        if code != "VALID":
            return Decided(key, code)
        return self._priced(ask, key, known.rules)

    def _priced(self, ask: Ask, key: ApiKey, known: KeyRules) -> Decided:
        rules, cost = known.counted, ask.cost
        amounts = (cost,) * len(rules)
        if known.rated:
            amounts = tuple(
                [cost if rule.cost is None else rule.cost if cost else 0 for rule in rules]
            )
        if ask.operation is not None:
            price = known.costs.get(ask.operation)
            if price is None:
                raise UnknownOperation(ask.operation, sorted(known.costs))
            if known.credits is not None:
                rules, amounts = (*rules, known.credits), (*amounts, price if cost else 0)
        return Decided(key, "VALID", rules, amounts)

    async def _count_in(self, ask: Ask, decided: Decided, request_id: str) -> Verdict:
        for _ in range(STALE_TRIES):
            key, code, rules = decided.key, decided.code, decided.rules
            batch = self._room()
            if not rules:
                if batch is None:  # only while flushing has been impossible for a while
                    self.rows_dropped += 1
                    return self._verdict(self._open, MAX_ROWS, key, code, [], request_id)
                row = self._add(batch, ask, decided)
                self._welcome(ask, key, code)
                return self._verdict(batch, row, key, code, [], request_id)
            if batch is None or self._down or self._stopping:
                raise StoreUnavailable("counters can't be taken")
            answer: asyncio.Future[tuple[int, list[State]]] = (
                asyncio.get_running_loop().create_future()
            )
            row = self._add(batch, ask, decided)
            batch.waiting.append(Waiting(row, rules, decided.amounts, answer))
            self._wanted.set()
            refused, left = await answer
            if refused >= GRANTED:
                if refused:
                    code = REFUSALS[rules[refused - 1].kind]
                self._welcome(ask, key, code)
                return self._verdict(batch, row, key, code, left, request_id)
            await self._look_again(decided, refused)
            decided = self._decide(ask)
        raise DirectoryStale("the counters know a rule that this process has not seen")

    def _add(self, batch: Batch, ask: Ask, decided: Decided) -> int:
        position = self._directory.position
        return batch.add(decided.key, decided.code, ask.cost, ask.labels, position, ask.operation)

    async def _look_again(self, decided: Decided, reason: int) -> None:
        if reason == UNSETTLED:
            await self._settling.settled(decided.rules[-1].account_id)
        else:
            await asyncio.sleep(STALE_PAUSE_SECONDS)
        self.require_fresh()

    def _welcome(self, ask: Ask, key: ApiKey | None, code: Code) -> None:
        if ask.resolved.superseded or ask.foreign_secret is None:
            return
        if key is not None and code == "VALID":
            self._rehashing.begin(key.id, ask.foreign_secret)

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

    def _room(self) -> Batch | None:
        """The batch that takes the next row; a full one waits for its turn. None: there are
        as many full ones as may wait."""
        if self._open.full:
            if len(self._full) >= MOST_FULL:
                return None
            self._full.append(self._open)
            self._open = Batch(self._stream, self._open.version + 1)
            self._wanted.set()
        return self._open

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
            self._settle(batch, await self._count(batch))
        except StoreUnavailable as error:
            await self._recover(batch, error)
        except asyncio.CancelledError:
            batch.fail(StoreUnavailable("counting was stopped"))
            raise
        except Exception as error:
            # Whatever it was, nobody may be left waiting, and the process goes on.
            log.exception("a flush failed", version=batch.version)
            batch.fail(StoreUnavailable(str(error)))

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

    def _verdict(
        self,
        batch: Batch,
        row: int,
        key: ApiKey | None,
        code: Code,
        left: list[State],
        request_id: str,
    ) -> Verdict:
        position = f"{self._log_id}:{self._directory.position}"
        verification_id = f"{batch.prefix}{row}"
        account = None if key is None else self._directory.account(key.account_id)
        if key is None or account is None:
            return denial_of_the_unknown(code, verification_id, request_id, position)
        return verdict_on(key, account, code, left, verification_id, request_id, position)
