"""What the machine says of processes: where they run, what they used, what they hold."""

import contextlib
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")


class Cores(NamedTuple):
    """Which cores belong to whom, so that the server that is measured has one to itself."""

    server: set[int]
    postgres: set[int]
    load: set[int]

    def sentence(self) -> str:
        """For the head of a report."""
        named = {name: sorted(cores) for name, cores in self._asdict().items()}
        if self.postgres == self.load:
            rest = f"Postgres and the load generator share {named['load']}"
        else:
            rest = f"Postgres on {named['postgres']}, the load generator on {named['load']}"
        return f"server on core {named['server']}, {rest}"


def spread_cores() -> Cores:
    """One core for the server; the rest for what must not disturb it."""
    have = sorted(os.sched_getaffinity(0))
    first, second, rest = have[0], have[min(1, len(have) - 1)], have[2:]
    return Cores({first}, {second}, set(rest[:4]) or {second})


@contextlib.contextmanager
def on_cores(cores: set[int]) -> Iterator[None]:
    """What is started inside inherits these cores; this process has its own back afterwards."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_seconds(pid: int) -> float:
    """What this process used so far, in user and system mode, with all of its threads."""
    # The name in the second field may hold spaces: everything counts from its bracket.
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def tree_cpu_seconds(pid: int) -> float:
    """The same with every descendant that lives now."""
    total = 0.0
    for each in tree(pid):
        with contextlib.suppress(OSError):
            total += cpu_seconds(each)
    return total


def tree_pss_mib(pid: int) -> float:
    """Its proportional set size with every descendant's."""
    total = 0.0
    for each in tree(pid):
        with contextlib.suppress(OSError):
            total += pss_mib(each)
    return total


def pss_mib(pid: int) -> float:
    """Its proportional set size: its own memory, and its share of what it shares."""
    for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def tree(pid: int) -> list[int]:
    """This process and everything that descends from it."""
    parents: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for each in found:
        found += parents.get(each, [])
    return found


def words(pid: int) -> list[str]:
    """How it was started."""
    return (PROC / str(pid) / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")


def busy_share(seconds: float) -> float:
    """How busy all cores are with whatever else runs here, from 0 to 1."""
    before = _cpu_times()
    time.sleep(seconds)
    after = _cpu_times()
    spent = [now - then for now, then in zip(after, before, strict=True)]
    return 1 - (spent[3] + spent[4]) / max(sum(spent), 1)


def wait_for_quiet(most_busy: float, seconds: float) -> float:
    """Until the rest of the machine is that quiet, or the time is over; how busy it was then."""
    deadline = time.monotonic() + seconds
    while True:
        busy = busy_share(0.5)
        if busy <= most_busy or time.monotonic() > deadline:
            return busy
        time.sleep(0.5)


def described() -> str:
    """The machine in a line."""
    names = [
        line.partition(":")[2].strip()
        for line in (PROC / "cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    model = names[0] if names else platform.machine()
    return f"{os.cpu_count()} x {model}, Python {platform.python_version()}"


def _cpu_times() -> list[int]:
    return [int(each) for each in (PROC / "stat").read_text().splitlines()[0].split()[1:9]]
