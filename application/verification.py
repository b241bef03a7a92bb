"""Verification: judged from memory, counted by group commit, answered when it is durable.

A verification that takes counters waits in the open batch. One flush at a time commits a
batch: its counters and its usage event in one transaction; only then are its requests
answered, while the next batch forms. Nothing is answered that isn't counted, nothing is
counted twice, and the more wait the more each commit carries. Verifications without a
counter are answered at once, and their rows ride along with the next flush.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Protocol

import msgspec
import structlog

from application.errors import DirectoryStale, StoreUnavailable
from application.ports import Counted, Digests, Directory, Flush, UsageLog
from domain import allowances, key_format
from domain.allowances import Allowance, Window
from domain.api_keys import ApiKey, Environment, Scalar
from domain.event import Metadata
from domain.verification import STALE, Code, VerificationsCounted, judge

log = structlog.get_logger()

FLUSH_BEHIND_SECONDS = 0.5
RETRY_SECONDS = 0.25
STALE_PAUSE_SECONDS = 0.02
STALE_TRIES = 25
MAX_ROWS_BEHIND = 200_000


class QuotaState(msgspec.Struct, frozen=True):
    """One quota as it stood after (or, refused, at) a verification."""

    name: str
    scope: allowances.Scope
    limit: int | None
    used: int
    remaining: int | None
    period: allowances.Period
    resets_at: str | None


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a verification. `quotas` is empty where no counter was asked."""

    valid: bool
    code: Code
    verification_id: str
    request_id: str
    key_id: str | None = None
    name: str | None = None
    account_id: str | None = None
    username: str | None = None
    external_id: str | None = None
    audience: str | None = None
    environment: Environment | None = None
    plan: str | None = None
    permissions: Sequence[str] = ()
    roles: Sequence[str] = ()
    metadata: dict[str, Scalar] | None = None
    expires_at: str | None = None
    quotas: list[QuotaState] = []
    credits: None = None
    rate_limits: list[None] = []
    position: str


class Labels(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a caller says of a verification, for analytics."""

    tags: tuple[str, ...] = ()
    resource: str | None = None
    model: str | None = None


NO_LABELS = Labels()


class KeyDirectory(Directory, Protocol):
    """The directory, with the look-ups that only verification needs."""

    def find(self, digests: Sequence[bytes]) -> ApiKey | None: ...

    def fresh(self, max_staleness_seconds: float) -> bool: ...


class _Waiting:
    """A row of a batch that waits for its counters."""

    __slots__ = ("allowances", "answer", "cost", "row")

    def __init__(
        self, row: int, rules: tuple[Allowance, ...], cost: int, answer: "asyncio.Future[Any]"
    ) -> None:
        self.row = row
        self.allowances = rules
        self.cost = cost
        self.answer = answer


class _Batch:
    """Verifications in columns, as the usage event has them; and who waits for which row."""

    def __init__(self, stream: str, version: int) -> None:
        self.version = version
        self.prefix = f"ver_{stream.removeprefix('usage_')}_{version}_"
        self.keys: dict[str, int] = {}
        self.accounts: dict[str, int] = {}
        self.at_us: list[int] = []
        self.key: list[int] = []
        self.account: list[int] = []
        self.code: list[str] = []
        self.cost: list[int] = []
        self.judged_at: list[tuple[int, int]] = []
        self.labels: dict[str, dict[str, Any]] = {}
        self.waiting: list[_Waiting] = []

    def add(self, key: ApiKey | None, code: Code, cost: int, labels: Labels, position: int) -> int:
        """Append a row; answers its number."""
        row = len(self.code)
        if not self.judged_at or self.judged_at[-1][1] != position:
            self.judged_at.append((row, position))
        self.at_us.append(time.time_ns() // 1000)
        if key is None:
            self.key.append(-1)
            self.account.append(-1)
        else:
            self.key.append(self.keys.setdefault(key.id, len(self.keys)))
            self.account.append(self.accounts.setdefault(key.account_id, len(self.accounts)))
        self.code.append(code)
        self.cost.append(cost)
        if labels is not NO_LABELS and labels != NO_LABELS:
            self.labels[str(row)] = msgspec.to_builtins(labels)
        return row

    def disown(self) -> None:
        """Give up on everybody who waits: their rows stay, and take nothing."""
        for waiting in self.waiting:
            self.code[waiting.row] = "UNAVAILABLE"
        self.waiting = []


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
        self._open = _Batch(stream, 1)
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
            batch = self._open
            rules: tuple[Allowance, ...] = ()
            if code == "VALID" and key is not None:
                rules = (*directory.allowances(key.id), *directory.allowances(key.account_id))
            if not rules:
                row = self._add_behind(key, code, cost, labels)
                return self._verdict(batch, row, key, code, [], request_id)
            if self._down or self._stopping:
                raise StoreUnavailable("counters can't be taken")
            answer: asyncio.Future[tuple[int, list[QuotaState]]] = (
                asyncio.get_running_loop().create_future()
            )
            row = batch.add(key, code, cost, labels, directory.position)
            batch.waiting.append(_Waiting(row, rules, cost, answer))
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
        await self._flush()

    def _add_behind(self, key: ApiKey | None, code: Code, cost: int, labels: Labels) -> int:
        if len(self._open.code) >= MAX_ROWS_BEHIND:
            self.rows_dropped += 1
            return MAX_ROWS_BEHIND
        return self._open.add(key, code, cost, labels, self._directory.position)

    async def _flush(self) -> None:
        self._wanted.clear()
        batch = self._open
        if not batch.code:
            return
        self._open = _Batch(self._stream, batch.version + 1)
        try:
            counted = await self._count(batch)
        except StoreUnavailable as error:
            await self._recover(batch, error)
        except asyncio.CancelledError:
            _fail(batch, StoreUnavailable("counting was stopped"))
            raise
        except Exception as error:
            # Whatever it was, nobody may be left waiting, and the process goes on.
            log.exception("a flush failed", version=batch.version)
            _fail(batch, StoreUnavailable(str(error)))
        else:
            self._settle(batch, counted)

    async def _count(self, batch: _Batch) -> Counted:
        if self._clock_offset_us is None:
            self._clock_offset_us = await self._usage.now_us() - time.monotonic_ns() // 1000
        flush = self._prepare(batch, time.monotonic_ns() // 1000 + self._clock_offset_us)
        counted = await self._usage.count(flush)
        # Measured on receipt, so the estimate is late rather than early: a window may be
        # entered late (the database knows the next one, too), never early.
        self._clock_offset_us = counted.now_us - time.monotonic_ns() // 1000
        return counted

    def _prepare(self, batch: _Batch, now_us: int) -> Flush:
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

    def _settle(self, batch: _Batch, counted: Counted) -> None:
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

    async def _recover(self, batch: _Batch, error: StoreUnavailable) -> None:
        """Refuse who waits, then settle this version of the stream before any other.

        Whether it was committed isn't known. The event store lets one event in for each
        version, so sending it again, taking nothing now, tells.
        """
        self._down = True
        self._clock_offset_us = None
        log.warning("counting is down", error=str(error))
        _fail(batch, error)
        batch.disown()
        while not self._stopping:
            _fail(self._open, error)
            self._open.disown()
            try:
                await self._count(batch)
                break
            except StoreUnavailable:
                await asyncio.sleep(RETRY_SECONDS)
            except Exception:
                log.exception("a flush can't be settled", version=batch.version)
                break
        self._down = False
        log.info("counting goes on")

    def _verdict(
        self,
        batch: _Batch,
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
            return Verdict(
                valid=False,
                code=code,
                verification_id=verification_id,
                request_id=request_id,
                position=position,
            )
        return Verdict(
            valid=code == "VALID",
            code=code,
            verification_id=verification_id,
            request_id=request_id,
            key_id=key.id,
            name=key.name,
            account_id=key.account_id,
            username=account.username,
            external_id=key.external_id,
            audience=key.audience,
            environment=key.environment,
            plan=account.plan,
            permissions=key.permissions,
            roles=account.roles,
            metadata=key.metadata,
            expires_at=None if key.expires_at is None else _rfc3339(int(key.expires_at)),
            quotas=quotas,
            position=position,
        )


@lru_cache(maxsize=4096)
def resets_at(period: allowances.Period, window_start: int) -> str | None:
    """When the window that begins there ends; None for a lifetime."""
    if period == "lifetime":
        return None
    return _rfc3339(allowances.window(period, window_start).end // 1_000_000)


@lru_cache(maxsize=4096)
def _rfc3339(unix_seconds: int) -> str:
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _fail(batch: _Batch, error: Exception) -> None:
    for waiting in batch.waiting:
        if not waiting.answer.done():
            waiting.answer.set_exception(error)
