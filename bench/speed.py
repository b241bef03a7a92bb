"""How fast a verification is, beside a bare ASGI app and a typed Litestar route."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec

from bench.counts import counts
from bench.ground import SERVICE_KEY, Ground, Server, serving, tollhouse
from bench.load import Measured, load
from bench.machine import Cores, cpu_seconds, pss_mib, wait_for_quiet
from bench.peers import READY_PATH
from bench.seeding import Seeded, seed
from domain.quotas import Quota
from house import opened

CONNECTIONS = (32, 128)
QUIET = 0.15  # of all cores: what else may run when a round begins
WAIT_SECONDS = 20  # for that; then it begins all the same, and says so
WARM_UP_SECONDS = 2
CHECK_SECONDS = 1
OWNERS = 200
KEYS_EACH = 50
# Not by the day: a run over midnight would find its counters begun anew.
QUOTA = Quota(limit=1_000_000_000, period="lifetime")

BARE, TYPED, SPREAD, HOT = "bare ASGI", "typed Litestar", "verify, spread", "verify, hot key"


class Case(NamedTuple):
    """A server under a load."""

    name: str
    server: Server
    keys: Path


class Round(msgspec.Struct, frozen=True):
    """One measuring of one case, with what it cost the server."""

    case: str
    connections: int
    number: int
    busy_before: float
    load: Measured
    cpu_us_per_request: float
    pss_mib: float


class Row(msgspec.Struct, frozen=True):
    """All rounds of a case in a line: medians, and the range of the rate.

    `quiet_ratio` is the ratio of those rounds alone that began on a quiet machine.
    """

    case: str
    connections: int
    per_second: float
    per_second_min: float
    per_second_max: float
    p50_ms: float
    p99_ms: float
    ratio_to_typed: float
    cpu_us_per_request: float
    pss_mib: float
    failed: int
    quiet_rounds: int
    quiet_ratio: float | None


class Speed(msgspec.Struct, frozen=True):
    """The whole measuring, with what Postgres says that it counted."""

    rows: list[Row]
    rounds: list[Round]
    checked: dict[str, str]
    counted: int
    logged: int
    counters_disagreeing: int


async def seeded(on: Ground) -> Seeded:
    """10,000 keys with a quota each, and their accounts' shared ones."""
    async with opened(on.settings, on.database_url, verifying=False) as house:
        return await seed(house.ports, OWNERS, KEYS_EACH, QUOTA)


def measure(
    on: Ground, keys: Seeded, cores: Cores, rounds: int, seconds: float, say: Callable[[str], None]
) -> Speed:
    """Every case at every number of connections in each round, one server loaded at a time."""
    found: list[Round] = []
    checked: dict[str, str] = {}
    with _cases(on, keys, cores) as cases:
        for case in cases:
            load(case.server.url + PATH, case.keys, SERVICE_KEY, 32, WARM_UP_SECONDS, cores.load)
            answer = load(
                case.server.url + PATH,
                case.keys,
                SERVICE_KEY,
                32,
                CHECK_SECONDS,
                cores.load,
                check=True,
            )
            checked[case.name] = f"{answer.valid} of {answer.answered} answers valid"
            if answer.valid < answer.answered or answer.refused or answer.broken:
                raise RuntimeError(f"{case.name}: {checked[case.name]}, {answer}")
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            for connections in CONNECTIONS:
                busy = wait_for_quiet(QUIET, WAIT_SECONDS)
                # Each round begins with another one: none is always the first after a pause.
                for case in (*cases[number % 4 :], *cases[: number % 4]):
                    found.append(_round(case, connections, number, seconds, cores, busy))
    after = counts(on.database_url)
    own = {key.counter_id for key in keys.keys}
    return Speed(
        rows=_rows(found),
        rounds=found,
        checked=checked,
        counted=sum(after.entries[counter] for counter in own),
        logged=after.valid_by_key.total(),
        counters_disagreeing=after.disagreeing,
    )


PATH = "/v1/keys/verify"


@contextlib.contextmanager
def _cases(on: Ground, keys: Seeded, cores: Cores) -> Iterator[list[Case]]:
    spread, hot = on.folder / "spread.keys", on.folder / "hot.keys"
    # Neighbours in the file are of different accounts.
    ordered = sorted(keys.keys, key=lambda key: key.secret)
    spread.write_text("".join(f"{key.secret}\n" for key in ordered))
    hot.write_text(f"{ordered[0].secret}\n")
    peer = ["-m", "bench.peers"]
    with (
        serving("bare", [*peer, "bare"], on, cores.server, READY_PATH) as bare,
        serving("typed", [*peer, "typed"], on, cores.server, READY_PATH) as typed,
        tollhouse(on, cores.server) as real,
    ):
        yield [
            Case(BARE, bare, spread),
            Case(TYPED, typed, spread),
            Case(SPREAD, real, spread),
            Case(HOT, real, hot),
        ]


def _round(
    case: Case, connections: int, number: int, seconds: float, cores: Cores, busy: float
) -> Round:
    pid = case.server.process.pid
    before = cpu_seconds(pid)
    url = case.server.url + PATH
    measured = load(url, case.keys, SERVICE_KEY, connections, seconds, cores.load)
    used = cpu_seconds(pid) - before
    cpu_us = used * 1_000_000 / max(measured.requests, 1)
    return Round(case.name, connections, number, busy, measured, cpu_us, pss_mib(pid))


def _rows(rounds: list[Round]) -> list[Row]:
    typed = {
        (each.connections, each.number): each.load.per_second
        for each in rounds
        if each.case == TYPED
    }
    rows = []
    for connections in CONNECTIONS:
        for case in (BARE, TYPED, SPREAD, HOT):
            mine = [r for r in rounds if (r.case, r.connections) == (case, connections)]
            rates = [each.load.per_second for each in mine]
            ratios = [each.load.per_second / typed[connections, each.number] for each in mine]
            quiet = [r for r, each in zip(ratios, mine, strict=True) if each.busy_before <= QUIET]
            rows.append(
                Row(
                    case=case,
                    connections=connections,
                    per_second=median(rates),
                    per_second_min=min(rates),
                    per_second_max=max(rates),
                    p50_ms=median(each.load.p50_us for each in mine) / 1000,
                    p99_ms=median(each.load.p99_us for each in mine) / 1000,
                    ratio_to_typed=median(ratios),
                    cpu_us_per_request=median(each.cpu_us_per_request for each in mine),
                    pss_mib=max(each.pss_mib for each in mine),
                    failed=sum(each.load.refused + each.load.broken for each in mine),
                    quiet_rounds=len(quiet),
                    quiet_ratio=median(quiet) if quiet else None,
                )
            )
    return rows
