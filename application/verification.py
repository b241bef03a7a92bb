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
from typing import Protocol

import msgspec
import structlog

from application.batches import MAX_ROWS, Batch, Labels, Waiting
from application.errors import DirectoryStale, StoreUnavailable
from application.ports import Counted, Digests, Directory, Flush, UsageLog
from application.verdicts import (
    QuotaState,
    Verdict,
    denial_of_the_unknown,
    resets_at,
    verdict_on,
)
from domain import allowances, key_format
from domain.allowances import Allowance, Window
from domain.api_keys import ApiKey
from domain.event import Metadata
from domain.verification import STALE, Code, VerificationsCounted, judge

log = structlog.get_logger()

FLUSH_BEHIND_SECONDS = 0.5
RETRY_SECONDS = 0.25
STALE_PAUSE_SECONDS = 0.02
STALE_TRIES = 25
MOST_FULL = 16


class KeyDirectory(Directory, Protocol):
    """The directory, with the look-ups that only verification needs."""

    def find(self, digests: Sequence[bytes]) -> ApiKey | None: ...

    def fresh(self, max_staleness_seconds: float) -> bool: ...


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
    ) -> None:
        self._directory = directory
        self._usage = usage
        self._digests = digests
        self._stream = stream
        self._log_id = log_id
        self._max_staleness = max_staleness_seconds
        self._clock = clock
        self._open = Batch(stream, 1)
        self._full: deque[Batch] = deque()
        self._wanted = asyncio.Event()
        self._down = False
        self._clock_offset_us: int | None = None
        self._stopping = False
        self.rows_dropped = 0

    def resolve(self, secret: str) -> ApiKey | None:
        """The key of this secret, if there is one. Forged ones are refused before look-up."""
        if len(secret) > key_format.MAX_PRESENTED_CHARACTERS or key_format.looks_forged(secret):
            return None
        return self._directory.find(self._digests.candidates(secret))

    def judge(self, key: ApiKey | None) -> Code:
        """Whether a key that acts for itself works now, as far as memory knows."""
        account = None if key is None else self._directory.account(key.account_id)
        return judge(key, account, None if key is None else key.audience, time.time())

    def require_fresh(self) -> None:
        """Raises DirectoryStale when this process may have missed a change."""
        if not self._directory.fresh(self._max_staleness):
            raise DirectoryStale("the end of the decisions log was not seen in time")

    async def verify(
        self,
        key: ApiKey | None,
        audience: str | None,
        cost: int,
        labels: Labels,
        request_id: str,
    ) -> Verdict:
        """The verdict on this key. Raises DirectoryStale and StoreUnavailable.

        When the database knows a newer rule than this process, it looks again shortly.
        """
        for _ in range(STALE_TRIES):
            self.require_fresh()
            directory = self._directory
            if key is not None:
                key = directory.key(key.id)
            account = None if key is None else directory.account(key.account_id)
            code = judge(key, account, audience, time.time())
            batch = self._room()
            rules: tuple[Allowance, ...] = ()
            if code == "VALID" and key is not None:
                rules = (*directory.allowances(key.id), *directory.allowances(key.account_id))
            if not rules:
                if batch is None:  # only while flushing has been impossible for a while
                    self.rows_dropped += 1
                    return self._verdict(self._open, MAX_ROWS, key, code, [], request_id)
                row = batch.add(key, code, cost, labels, directory.position)
                return self._verdict(batch, row, key, code, [], request_id)
            if batch is None or self._down or self._stopping:
                raise StoreUnavailable("counters can't be taken")
            answer: asyncio.Future[tuple[int, list[QuotaState]]] = (
                asyncio.get_running_loop().create_future()
            )
            row = batch.add(key, code, cost, labels, directory.position)
            batch.waiting.append(Waiting(row, rules, cost, answer))
            self._wanted.set()
            refused, quotas = await answer
            if refused != STALE:
                code = "USAGE_EXCEEDED" if refused else code
                return self._verdict(batch, row, key, code, quotas, request_id)
            await asyncio.sleep(STALE_PAUSE_SECONDS)
        raise DirectoryStale("the counters know a rule that this process has not seen")

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
        rules: dict[int, Allowance] = {}
        for waiting in batch.waiting:
            for each in waiting.allowances:
                rules[each.counter_id] = each
        counters = sorted(rules)
        index = {counter: number for number, counter in enumerate(counters, 1)}
        takes: list[int] = []
        for waiting in batch.waiting:
            for each in waiting.allowances:
                takes += (waiting.row, index[each.counter_id], waiting.cost)
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
            counters=counters,
            labels=batch.labels,
        )
        metadata = Metadata(
            at=self._clock(), actor="verification", command_id=f"{self._stream}_{batch.version}"
        )
        windows = {each.period: None for each in rules.values()}
        bounds: dict[str, Window] = {
            period: allowances.window(period, now_us) for period in windows
        }
        return Flush(
            stream=self._stream,
            version=batch.version,
            metadata=msgspec.json.encode(metadata),
            batch=msgspec.json.encode(event)[1:-1],
            counters=counters,
            rules=[rules[counter].rule_no for counter in counters],
            windows=[bounds[rules[counter].period] for counter in counters],
            takes=takes,
        )

    def _settle(self, batch: Batch, counted: Counted) -> None:
        """Answer everybody, replaying the batch in its order for what each had left."""
        counters = sorted(
            {each.counter_id for waiting in batch.waiting for each in waiting.allowances}
        )
        index = {counter: number for number, counter in enumerate(counters)}
        used = list(counted.opening)
        refused = counted.refused
        for waiting in batch.waiting:
            reason = refused.get(waiting.row, 0)
            quotas = []
            for rule in waiting.allowances:
                number = index[rule.counter_id]
                if reason == 0:
                    used[number] += waiting.cost
                limit = counted.limits[number]
                quotas.append(
                    QuotaState(
                        name=rule.period,
                        scope=rule.scope,
                        limit=limit,
                        used=used[number],
                        remaining=None if limit is None else max(limit - used[number], 0),
                        period=rule.period,
                        resets_at=resets_at(rule.period, counted.windows[number]),
                    )
                )
            if not waiting.answer.done():
                waiting.answer.set_result((reason, quotas))

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
        quotas: list[QuotaState],
        request_id: str,
    ) -> Verdict:
        position = f"{self._log_id}:{self._directory.position}"
        verification_id = f"{batch.prefix}{row}"
        account = None if key is None else self._directory.account(key.account_id)
        if key is None or account is None:
            return denial_of_the_unknown(code, verification_id, request_id, position)
        return verdict_on(key, account, code, quotas, verification_id, request_id, position)
