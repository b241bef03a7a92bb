"""Verification over NATS beside HTTP: the same serve process, the same keys, round by round."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median

import msgspec
from rich.console import Console
from rich.table import Table

from bench.counts import counts
from bench.ground import ROOT, SERVICE_KEY, Ground, Server, ground, tollhouse
from bench.load import Measured, load
from bench.machine import Cores, cpu_seconds, on_cores, wait_for_quiet
from bench.speed import PATH, QUIET, WAIT_SECONDS, WARM_UP_SECONDS, seeded

HTTP, NATS = "HTTP", "NATS"
IN_FLIGHT = (32, 128)


class Round(msgspec.Struct, frozen=True):
    """One measuring of one road, with what it cost the server."""

    road: str
    in_flight: int
    number: int
    load: Measured
    cpu_us_per_request: float


class Row(msgspec.Struct, frozen=True):
    """All rounds of a road: medians, and the range of the rate."""

    road: str
    in_flight: int
    per_second: float
    per_second_min: float
    per_second_max: float
    ratio_to_http: float
    p50_ms: float
    p99_ms: float
    cpu_us_per_request: float
    failed: int


class Roads(msgspec.Struct, frozen=True):
    """The whole measuring, with what Postgres says that it counted."""

    rows: list[Row]
    rounds: list[Round]
    counted: int
    logged: int
    counters_disagreeing: int

    @property
    def holds(self) -> bool:
        """Whether everything was answered, and counted once."""
        return (
            self.counted == self.logged
            and not self.counters_disagreeing
            and not any(row.failed for row in self.rows)
        )


def measure(cores: Cores, rounds: int, seconds: float, say: Callable[[str], None]) -> Roads:
    """Both roads at every number in flight in each round, one loaded at a time."""
    found: list[Round] = []
    with ground(cores.postgres) as on:
        keys = asyncio.run(seeded(on))
        file = on.folder / "spread.keys"
        file.write_text("".join(f"{secret}\n" for secret in sorted(k.secret for k in keys.keys)))
        with tollhouse(on, cores.server) as server:
            for road in (HTTP, NATS):
                _measured(road, on, server, file, 32, WARM_UP_SECONDS, cores)
            for number in range(rounds):
                say(f"round {number + 1} of {rounds}")
                for in_flight in IN_FLIGHT:
                    wait_for_quiet(QUIET, WAIT_SECONDS)
                    roads = (HTTP, NATS) if number % 2 == 0 else (NATS, HTTP)
                    for road in roads:
                        pid = server.process.pid
                        before = cpu_seconds(pid)
                        measured = _measured(road, on, server, file, in_flight, seconds, cores)
                        cpu_us = (cpu_seconds(pid) - before) * 1e6 / max(measured.answered, 1)
                        found.append(Round(road, in_flight, number, measured, cpu_us))
        after = counts(on.database_url)
        own = {key.counter_id for key in keys.keys}
    return Roads(
        rows=[_row(found, road, in_flight) for in_flight in IN_FLIGHT for road in (HTTP, NATS)],
        rounds=found,
        counted=sum(after.entries[counter] for counter in own),
        logged=after.valid_by_key.total(),
        counters_disagreeing=after.disagreeing,
    )


def show(console: Console, roads: Roads) -> None:
    """Every road in a line, and what Postgres counted."""
    table = Table("road", "in flight", "requests/s (min..max)", "x HTTP", "p50 ms", "p99 ms")
    table.add_column("CPU µs/req")
    table.add_column("failed")
    for number, row in enumerate(roads.rows):
        table.add_row(
            row.road,
            str(row.in_flight),
            f"{row.per_second:,.0f} ({row.per_second_min:,.0f}..{row.per_second_max:,.0f})",
            f"{row.ratio_to_http:.2f}",
            f"{row.p50_ms:.1f}",
            f"{row.p99_ms:.1f}",
            f"{row.cpu_us_per_request:.0f}",
            str(row.failed),
            end_section=number % 2 == 1,
        )
    console.print(table)
    console.print(
        f"counted {roads.counted:,}, in the usage log as VALID {roads.logged:,},"
        f" counters that disagree with the log: {roads.counters_disagreeing}",
        style="green" if roads.holds else "red",
    )


def _measured(
    road: str, on: Ground, server: Server, keys: Path, in_flight: int, seconds: float, cores: Cores
) -> Measured:
    if road == HTTP:
        found = load(server.url + PATH, keys, SERVICE_KEY, in_flight, seconds, cores.load)
        # wrk reads the answers only where it is told to; here every request counts.
        return msgspec.structs.replace(found, answered=found.requests)
    argv = [sys.executable, "-m", "bench.nats_load", on.environment["TOLLHOUSE_NATS_URL"]]
    argv += [str(keys), SERVICE_KEY, str(in_flight), str(seconds)]
    with on_cores(cores.load):
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=seconds + 30, env=on.environment, cwd=ROOT
        )
    if done.returncode != 0:
        raise RuntimeError(f"the load over NATS failed: {done.stderr.strip()}")
    return msgspec.json.decode(done.stdout, type=Measured)


def _row(rounds: list[Round], road: str, in_flight: int) -> Row:
    mine = [each for each in rounds if (each.road, each.in_flight) == (road, in_flight)]
    http = {
        each.number: each.load.per_second
        for each in rounds
        if (each.road, each.in_flight) == (HTTP, in_flight)
    }
    rates = [each.load.per_second for each in mine]
    return Row(
        road=road,
        in_flight=in_flight,
        per_second=median(rates),
        per_second_min=min(rates),
        per_second_max=max(rates),
        ratio_to_http=median(each.load.per_second / http[each.number] for each in mine),
        p50_ms=median(each.load.p50_us for each in mine) / 1000,
        p99_ms=median(each.load.p99_us for each in mine) / 1000,
        cpu_us_per_request=median(each.cpu_us_per_request for each in mine),
        failed=sum(each.load.refused + each.load.broken for each in mine),
    )
