"""Tollhouse and its rivals in turns, each in one process tree on one core, on one Postgres."""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec

from bench.ground import SERVICE_KEY, Ground, Server
from bench.load import Measured, load
from bench.machine import Cores, tree_cpu_seconds, tree_pss_mib, wait_for_quiet
from bench.speed import PATH, QUIET

CONNECTIONS = (32, 128)
WAIT_SECONDS = 10  # for a quiet machine before a round; then it begins all the same
WARM_UP_SECONDS = 2
CHECK_SECONDS = 2


class Case(NamedTuple):
    """A server under a load; `operation` is what its verifications spend credits for."""

    name: str
    server: Server
    keys: Path
    operation: str = ""


class Round(msgspec.Struct, frozen=True):
    """One measuring of one case, with what it cost its processes and Postgres's."""

    case: str
    connections: int
    number: int
    busy_before: float
    load: Measured
    cpu_us_per_request: float
    postgres_us_per_request: float
    pss_mib: float


class Row(msgspec.Struct, frozen=True):
    """All rounds of a case in a line: medians, and the range of the rate."""

    case: str
    connections: int
    per_second: float
    per_second_min: float
    per_second_max: float
    p50_ms: float
    p99_ms: float
    cpu_us_per_request: float
    postgres_us_per_request: float
    pss_mib: float
    failed: int
    quiet_rounds: int


def checked(case: Case, cores: Cores) -> str:
    """Warm it up, then read every answer for a second: RuntimeError unless all were valid."""
    url = case.server.url + PATH
    for check, seconds in ((False, WARM_UP_SECONDS), (True, CHECK_SECONDS)):
        found = load(
            url,
            case.keys,
            SERVICE_KEY,
            32,
            seconds,
            cores.load,
            check=check,
            operation=case.operation,
        )
    said = f"{found.valid} of {found.answered} answers valid"
    if not found.answered or found.valid < found.answered or found.refused:
        words = case.server.process.last_words()[-1000:]
        raise RuntimeError(f"{case.name}: {said}, {found}\n{words}")
    return said


def interleaved(
    on: Ground,
    cases: Sequence[Case],
    cores: Cores,
    rounds: int,
    seconds: float,
    say: Callable[[str], None],
) -> list[Round]:
    """Every case at every number of connections in each round, one server loaded at a time."""
    found: list[Round] = []
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        for connections in CONNECTIONS:
            busy = wait_for_quiet(QUIET, WAIT_SECONDS)
            # Each round begins with another one: none is always the first after a pause.
            first = number % len(cases)
            for case in (*cases[first:], *cases[:first]):
                found.append(_round(on, case, connections, number, seconds, cores, busy))
    return found


def rows(rounds: Sequence[Round], cases: Sequence[Case]) -> list[Row]:
    """Each case at each number of connections."""
    return [
        _row([each for each in rounds if (each.case, each.connections) == (case.name, connections)])
        for connections in CONNECTIONS
        for case in cases
    ]


def _round(
    on: Ground,
    case: Case,
    connections: int,
    number: int,
    seconds: float,
    cores: Cores,
    busy: float,
) -> Round:
    pid, postgres = case.server.process.pid, on.postgres_pid
    before, postgres_before = tree_cpu_seconds(pid), tree_cpu_seconds(postgres)
    measured = load(
        case.server.url + PATH,
        case.keys,
        SERVICE_KEY,
        connections,
        seconds,
        cores.load,
        operation=case.operation,
    )
    used = tree_cpu_seconds(pid) - before
    postgres_used = tree_cpu_seconds(postgres) - postgres_before
    each = 1_000_000 / max(measured.requests, 1)
    return Round(
        case=case.name,
        connections=connections,
        number=number,
        busy_before=busy,
        load=measured,
        cpu_us_per_request=used * each,
        postgres_us_per_request=postgres_used * each,
        pss_mib=tree_pss_mib(pid),
    )


def _row(mine: Sequence[Round]) -> Row:
    rates = [each.load.per_second for each in mine]
    return Row(
        case=mine[0].case,
        connections=mine[0].connections,
        per_second=median(rates),
        per_second_min=min(rates),
        per_second_max=max(rates),
        p50_ms=median(each.load.p50_us for each in mine) / 1000,
        p99_ms=median(each.load.p99_us for each in mine) / 1000,
        cpu_us_per_request=median(each.cpu_us_per_request for each in mine),
        postgres_us_per_request=median(each.postgres_us_per_request for each in mine),
        pss_mib=max(each.pss_mib for each in mine),
        failed=sum(each.load.refused + each.load.broken for each in mine),
        quiet_rounds=sum(each.busy_before <= QUIET for each in mine),
    )
