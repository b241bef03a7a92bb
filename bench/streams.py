"""How fast what follows the logs is: from a backlog, and while verification runs at full speed."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from statistics import median

import msgspec
import psycopg

from bench.backlog import fill_decisions, fill_usage
from bench.ground import ROOT, SERVICE_KEY, Ground, tollhouse
from bench.load import load
from bench.machine import Cores, cpu_seconds, pss_mib, tree
from bench.seeding import Seeded
from bench.streams_latency import Latency, Snapshots, latencies
from infra.embedded import ChildProcess, StartError
from infra.postgres.connection import conninfo

CONNECTIONS = 128
DRAIN_SECONDS = 300.0
DECISIONS = ("accounts", "keys", "history", "publish_events", "lake_events")
USAGE = ("key_uses", "publish_usage", "lake_usage")


class Drained(msgspec.Struct, frozen=True):
    """One follower alone, from a backlog to the end of its log."""

    follower: str
    events: int
    rows: int
    seconds: float
    cpu_seconds: float
    pss_mib: float


class Live(msgspec.Struct, frozen=True):
    """Verification at full speed without and with `work`; what `work` did meanwhile."""

    per_second_without: list[float]
    per_second_with: list[float]
    lowered: float
    work_cpu: float
    work_pss_mib: float
    jetstream: Latency
    snapshot: Latency


class Streams(msgspec.Struct, frozen=True):
    """Everything that `streams` found."""

    backlog: list[Drained]
    live: Live | None


def drained(
    on: Ground, flushes: int, rows: int, decisions: int, say: Callable[[str], None]
) -> list[Drained]:
    """Each follower alone on a backlog, in a `work` process of its own."""
    fill_usage(on.database_url, flushes, rows)
    fill_decisions(on.database_url, decisions)
    say(f"backlog: {flushes:,} flushes of {rows} verifications, {decisions:,} decisions")
    found = []
    for name in (*DECISIONS, *USAGE):
        log = "usage" if name in USAGE else "decisions"
        events, end = _size(on.database_url, log)
        with _work(on, None, name) as process:
            began = _begun(on.database_url, name, process)
            size = 0.0
            while _position(on.database_url, name) < end:
                size = max(size, pss_mib(process.pid))
                _alive(process, began)
                time.sleep(0.02)
            seconds = time.monotonic() - began
            cpu = cpu_seconds(process.pid)
        each = Drained(
            name, events, events * rows if log == "usage" else events, seconds, cpu, size
        )
        found.append(each)
        say(f"{name}: {each.events / seconds:,.0f} events/s, {each.rows / seconds:,.0f} rows/s")
    return found


def live(
    on: Ground, keys: Seeded, cores: Cores, rounds: int, seconds: int, say: Callable[[str], None]
) -> Live:
    """Interleaved: the same load without `work` and with it; at last, with it, for a minute."""
    file = on.folder / "spread.keys"
    file.write_text("".join(f"{key.secret}\n" for key in sorted(keys.keys, key=lambda k: k.secret)))
    without, having = [], []
    with tollhouse(on, cores.server) as server:

        def rate(for_seconds: int) -> float:
            url = f"{server.url}/v1/keys/verify"
            measured = load(url, file, SERVICE_KEY, CONNECTIONS, for_seconds, cores.load)
            if measured.refused or measured.broken:
                raise RuntimeError(f"not all were answered: {measured}")
            return measured.per_second

        rate(3)
        for number in range(rounds):
            without.append(rate(seconds))
            with _work(on, None) as process:
                _caught_up(on.database_url, process)
                having.append(rate(seconds))
            say(f"round {number + 1}: {without[-1]:,.0f}/s without, {having[-1]:,.0f}/s with work")
        with _work(on, None) as process:
            _caught_up(on.database_url, process)
            first = _end(on.database_url, "usage")
            with (
                Snapshots(on.folder / "data" / "lake" / "analytics.duckdb") as snapshots,
                _weighed(process.pid) as sizes,
            ):
                before, began = cpu_seconds(process.pid), time.monotonic()
                rate(60)
                cpu = (cpu_seconds(process.pid) - before) / (time.monotonic() - began)
                _caught_up(on.database_url, process)
                time.sleep(5)
            stored, published = latencies(on, first, snapshots.seen)
    lowered = 1 - median(having) / median(without)
    return Live(without, having, lowered, cpu, max(sizes), stored, published)


@contextlib.contextmanager
def _work(on: Ground, cores: set[int] | None, *only: str) -> Iterator[ChildProcess]:
    words = [word for name in only for word in ("--only", name)]
    process = ChildProcess(
        "work",
        [sys.executable, ROOT / "main.py", "work", *words],
        env=on.environment,
        cwd=ROOT,
        log=on.folder / "work.log",
    )
    process.start()
    try:
        yield process
    finally:
        process.stop()


def _begun(database_url: str, name: str, process: ChildProcess) -> float:
    """The instant at which the follower took its hold."""
    began = time.monotonic()
    while True:
        with psycopg.connect(conninfo(database_url)) as connection:
            row = connection.execute(
                "SELECT seen_at > now() - interval '5 s' FROM followers WHERE name = %s", (name,)
            ).fetchone()
        if row is not None and row[0]:
            return time.monotonic()
        _alive(process, began)
        time.sleep(0.005)


def _caught_up(database_url: str, process: ChildProcess) -> None:
    began = time.monotonic()
    for name in (*DECISIONS, *USAGE):
        end = _end(database_url, "usage" if name in USAGE else "decisions")
        while _position(database_url, name) < end:
            _alive(process, began)
            time.sleep(0.05)


def _alive(process: ChildProcess, began: float) -> None:
    if not process.running():
        raise StartError(f"work ended:\n{process.last_words()[-2000:]}")
    if time.monotonic() - began > DRAIN_SECONDS:
        raise StartError(f"work did not get there:\n{process.last_words()[-2000:]}")


def _position(database_url: str, name: str) -> int:
    return _number(database_url, "SELECT position FROM followers WHERE name = %s", name)


def _end(database_url: str, log: str) -> int:
    return _number(database_url, f"SELECT coalesce(max(notification_id), 0) FROM {log}")


def _size(database_url: str, log: str) -> tuple[int, int]:
    return _number(database_url, f"SELECT count(*) FROM {log}"), _end(database_url, log)


def _number(database_url: str, sql: str, *parameters: str) -> int:
    with psycopg.connect(conninfo(database_url)) as connection:
        row = connection.execute(sql.encode(), parameters or None).fetchone()
    return int(row[0]) if row is not None else 0


@contextlib.contextmanager
def _weighed(pid: int) -> Iterator[list[float]]:
    """The memory of this process and its children, again and again while the block runs."""
    sizes, over = [0.0], threading.Event()

    def weigh() -> None:
        while not over.wait(0.5):
            with contextlib.suppress(OSError):
                sizes.append(sum(pss_mib(each) for each in tree(pid)))

    thread = threading.Thread(target=weigh)
    thread.start()
    try:
        yield sizes
    finally:
        over.set()
        thread.join()
