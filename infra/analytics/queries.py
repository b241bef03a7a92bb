"""Queries of the lake for the server, each in a process of its own.

A query is somebody else's program: it may loop, eat all memory, or find a fault in DuckDB. So
it runs where none of that matters (docs/adr/0020): a fresh process without environment, which
is killed when it is late, large, or not wanted any more. Neither DuckDB nor Arrow is ever
imported here.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from application.errors import AnalyticsUnavailable, Overloaded, QueryNotAnswered
from application.ports import KeyTrail, LakeFormat, Trace, UsageWanted
from infra.analytics.jobs import Job, Outcome
from infra.analytics.jobs import S3Access as S3Access
from infra.analytics.key_trail import key_trail_sql
from infra.analytics.usage import usage_sql

_ROOT = Path(__file__).resolve().parents[2]
_PROGRAM = Path(__file__).with_name("query_process.py")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_WATCH_SECONDS = 0.05
_HEAD_BYTES = 64 * 1024


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one query may use, and how many run and wait in this process."""

    seconds: float = 10.0
    memory_bytes: int = 1_000_000_000
    rows: int = 100_000
    answer_bytes: int = 64_000_000
    at_once: int = 2
    waiting: int = 4
    patience_seconds: float = 5.0
    threads: int = 2


class SandboxedQueries:
    """Implements application.ports.Analytics.

    `snapshot` is the published `analytics.duckdb`, `lake_root` the folder (or `s3://…`) that its
    views read. `python` is the interpreter that runs the query processes. `s3` is asked
    before each query if it can be: credentials may expire.
    """

    def __init__(
        self,
        snapshot: Path,
        lake_root: str,
        *,
        python: str = sys.executable,
        s3: S3Access | Callable[[], S3Access] | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._snapshot = snapshot.absolute()
        self._lake_root = lake_root if s3 else str(Path(lake_root).absolute())
        self._argv = [python, "-I", "-B", str(_PROGRAM), str(os.getpid()), str(_ROOT)]
        self._s3 = s3
        self._limits = limits or Limits()
        self._gate = asyncio.Semaphore(self._limits.at_once)
        self._waiting = 0
        self._threads = ThreadPoolExecutor(self._limits.at_once, "query")

    async def query(self, sql: str, format: LakeFormat) -> bytes:
        """See application.ports.Analytics."""
        return await self._run(self._job(sql, format))

    async def usage(self, wanted: UsageWanted, format: LakeFormat) -> bytes:
        """See application.ports.Analytics."""
        sql, values = usage_sql(wanted)
        envelope = {
            "since": wanted.since,
            "until": wanted.until,
            "group_by": wanted.group_by,
        }
        job = self._job(sql, format, values, msgspec.to_builtins(envelope))
        try:
            return await self._run(job)
        except QueryNotAnswered as error:
            if error.fault in ("too_long", "too_large"):
                raise QueryNotAnswered(error.fault, error.detail, _FEWER, None) from None
            # The SQL is ours, so the lake is not as it should be.
            raise AnalyticsUnavailable("The lake can't be read.") from error

    async def key_trail(self, key_id: str, since: datetime) -> KeyTrail:
        """See application.ports.Analytics."""
        sql, values = key_trail_sql(key_id, since)
        job = self._job(sql, "json", values, {})
        try:
            found = _TRAIL.decode(await self._run(job))
        except QueryNotAnswered as error:
            raise AnalyticsUnavailable("The lake can't be read.") from error
        return KeyTrail(found.items, found.snapshot.complete_until, found.snapshot.usage_position)

    def close(self) -> None:
        """Nothing can be asked any more. What runs ends with its request."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _job(
        self,
        sql: str,
        format: LakeFormat,
        parameters: dict[str, str | None] | None = None,
        envelope: dict[str, Any] | None = None,
    ) -> bytes:
        limits = self._limits
        return msgspec.json.encode(
            Job(
                snapshot=str(self._snapshot),
                lake_root=self._lake_root,
                s3=self._s3() if callable(self._s3) else self._s3,
                sql=sql,
                parameters=parameters,
                format=format,
                envelope=envelope,
                rows=limits.rows,
                answer_bytes=limits.answer_bytes,
                # DuckDB keeps to its own limit for most of what it does; the watch here is for
                # the rest, and the address space for what grows faster than the watch looks.
                engine_bytes=limits.memory_bytes * 4 // 5,
                address_bytes=limits.memory_bytes * 4,
                cpu_seconds=int(limits.seconds * limits.threads) + 5,
                threads=limits.threads,
            )
        )

    async def _run(self, job: bytes) -> bytes:
        if not self._snapshot.exists():
            raise AnalyticsUnavailable("The lake has not been written yet.")
        async with self._turn():
            # Here, not in a thread: the kernel ends a child with the *thread* that started it.
            process = subprocess.Popen(  # noqa: ASYNC220 - it takes a millisecond
                self._argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={},
                start_new_session=True,
            )
            most = self._limits.answer_bytes + _HEAD_BYTES
            loop = asyncio.get_running_loop()
            answered = loop.run_in_executor(self._threads, _converse, process, job, most)
            try:
                await self._watch(process.pid, answered)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    if not answered.done():
                        os.killpg(process.pid, signal.SIGKILL)
                # Even if this task is cancelled again: the process is reaped by the thread.
                said, status = await asyncio.shield(answered)
        return _understood(said, status)

    async def _watch(self, pid: int, answered: "asyncio.Future[tuple[bytes, int]]") -> None:
        """Until it has answered. QueryNotAnswered as soon as it is late or too large."""
        limits = self._limits
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limits.seconds
        while not answered.done():
            left = deadline - loop.time()
            if left <= 0:
                detail = f"The query was not done within {limits.seconds:g} seconds."
                raise QueryNotAnswered("too_long", detail, _LESS)
            if _resident_bytes(pid) > limits.memory_bytes:
                detail = "The query needs more memory than it may use."
                raise QueryNotAnswered("too_large", detail, _LESS)
            await asyncio.wait([answered], timeout=min(left, _WATCH_SECONDS))

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        if self._gate.locked() and self._waiting >= self._limits.waiting:
            raise Overloaded("queries", retry_after_seconds=2)
        self._waiting += 1
        try:
            async with asyncio.timeout(self._limits.patience_seconds):
                await self._gate.acquire()
        except TimeoutError:
            raise Overloaded("queries", retry_after_seconds=5) from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._gate.release()


class _Published(msgspec.Struct):
    complete_until: datetime | None
    usage_position: int | None


class _TrailAnswer(msgspec.Struct):
    items: list[Trace]
    snapshot: _Published


# Sums that no double holds come as strings.
_TRAIL = msgspec.json.Decoder(_TrailAnswer, strict=False)

_LESS = "Ask about fewer days, aggregate before joining, or use `tollhouse sql` beside the lake."
_FEWER = "Ask about fewer days, or group by less."


def _converse(process: "subprocess.Popen[bytes]", job: bytes, most: int) -> tuple[bytes, int]:
    """Give the job, take at most so much of an answer, and the exit status. Leaves no process."""
    assert process.stdin is not None
    assert process.stdout is not None
    with process, contextlib.suppress(BrokenPipeError):
        process.stdin.write(job)
        process.stdin.close()
        said = process.stdout.read(most)
        process.kill()  # it has no more to say, or too much
        return said, process.wait()
    return b"", process.wait()


def _understood(said: bytes, status: int) -> bytes:
    head, _, body = said.partition(b"\n")
    try:
        outcome = msgspec.json.decode(head, type=Outcome)
    except msgspec.DecodeError:
        if status == -signal.SIGXCPU:
            raise QueryNotAnswered("too_long", "The query used too much CPU time.", _LESS) from None
        detail = "DuckDB failed on this query."
        raise QueryNotAnswered("failed", detail, "Write it another way.") from None
    if outcome.reason is None:
        return body
    if outcome.reason == "unavailable":
        raise AnalyticsUnavailable(outcome.detail)
    raise QueryNotAnswered(outcome.reason, outcome.detail, outcome.hint)


def _resident_bytes(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", "rb") as statm:
            return int(statm.read().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0  # it has ended, or this is no Linux
