"""`python -m bench`: what to measure."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer
from rich.console import Console

from bench import accounts as listing
from bench import (
    logins,
    logins_report,
    nats_verify,
    peers_measure,
    peers_report,
    report,
    revocation,
    scale,
    security_timing,
    small,
    speed,
    streams,
)
from bench.exact import Exact, simultaneous
from bench.ground import ROOT, end_by_signal, ground
from bench.load import WrkMissing, require_wrk
from bench.machine import busy_share, described, spread_cores
from infra.embedded import StartError

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)
console = Console(width=None if sys.stdout.isatty() else 120)
Json = Annotated[Path | None, typer.Option("--json", help="Write all figures to this file.")]


class Verified(msgspec.Struct, frozen=True):
    """Everything that `verify` found."""

    machine: str
    cores: str
    busy_before: float
    speed: speed.Speed | None
    exact: list[Exact]


@app.command()
def verify(
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    seconds: Annotated[int, typer.Option(min=1, help="For each case of each round.")] = 3,
    only: Annotated[Literal["speed", "exact"] | None, typer.Option()] = None,
    json: Json = None,
) -> None:
    """Verification beside plain servers, and 64 at once on a key with 50 left."""
    try:
        if only != "exact":
            require_wrk()
        cores = spread_cores()
        found: speed.Speed | None = None
        exact: list[Exact] = []
        busy = busy_share(2)
        console.print(f"{described()}; {cores.sentence()}; {busy:.0%} busy with other things")
        with ground(cores.postgres) as on:
            if only != "exact":
                keys = asyncio.run(speed.seeded(on))
                console.print(
                    f"{len(keys.keys)} keys over {speed.OWNERS} accounts"
                    f" ({speed.KEYS_EACH} keys share one quota)"
                )
                found = speed.measure(on, keys, cores, rounds, seconds, console.print)
                report.show_speed(console, found)
            if only != "speed":
                exact = [asyncio.run(simultaneous(on, cores, count)) for count in (1, 2, 4)]
                report.show_exact(console, exact)
    except (WrkMissing, StartError) as error:
        console.print(str(error), style="red")
        raise typer.Exit(1) from None
    write(json, Verified(described(), cores.sentence(), busy, found, exact))
    failed = found is not None and (found.counted != found.logged or found.counters_disagreeing)
    if failed or not all(each.holds for each in exact):
        raise typer.Exit(1)


@app.command("peers")
def peers_command(
    rounds: Annotated[int, typer.Option(min=1)] = 4,
    seconds: Annotated[int, typer.Option(min=1, help="For each case of each round.")] = 3,
    flood: Annotated[
        bool, typer.Option("--flood", help="Also verify while 500 sign in at once.")
    ] = False,
    boundary: Annotated[
        bool, typer.Option("--boundary", help="Also 100,000 keys at a quota's boundary: 5 minutes.")
    ] = False,
    picture: Annotated[Path, typer.Option(help="Where the picture goes.")] = ROOT
    / "docs/images/peers.svg",
    json: Json = ROOT / "bench/results/peers.json",
) -> None:
    """Tollhouse beside better-auth, djangorestframework-api-key, a FastAPI route, bare ASGI."""
    try:
        require_wrk()
        cores = spread_cores()
        busy = busy_share(2)
        console.print(f"{described()}; {cores.sentence()}; {busy:.0%} busy with other things")
        with ground(cores.postgres) as on:
            found, keys = peers_measure.measure(on, cores, rounds, seconds, busy, console.print)
            peers_report.show(console, found)
            flooded, across = peers_measure.besides(
                on, cores, keys, seconds, (flood, boundary), console.print
            )
    except (WrkMissing, StartError) as error:
        console.print(str(error), style="red")
        raise typer.Exit(1) from None
    found = msgspec.structs.replace(found, flood=flooded, boundary=across)
    peers_report.show_besides(console, found)
    write(json, found)
    peers_measure.draw(found, picture)
    console.print(f"wrote {picture}" + (f" and {json}" if json else ""))
    if not peers_report.exact(found):
        raise typer.Exit(1)


@app.command("small")
def small_command(
    times: Annotated[int, typer.Option(min=1)] = 5,
    json: Json = None,
) -> None:
    """The memory of an idle `up` beyond Postgres, and the seconds until it is ready."""
    try:
        found = small.measure(times, console.print)
    except StartError as error:
        console.print(str(error), style="red")
        raise typer.Exit(1) from None
    report.show_small(console, found)
    write(json, found)
    if not found.holds:
        raise typer.Exit(1)


@app.command("revocation")
def revocation_command(
    processes: Annotated[int, typer.Option(min=1)] = 2,
    keys: Annotated[int, typer.Option(min=2)] = 200,
    json: Json = None,
) -> None:
    """How soon a revoked key is refused by processes that were not asked to revoke it."""
    cores = spread_cores()
    console.print(f"{described()}; {busy_share(2):.0%} busy before")
    try:
        with ground(cores.postgres) as on:
            found = asyncio.run(revocation.measure(on, cores, processes, keys))
    except StartError as error:
        console.print(str(error), style="red")
        raise typer.Exit(1) from None
    console.print(revocation.sentence(found))
    write(json, found)
    if not found.holds:
        raise typer.Exit(1)


@app.command("nats")
def nats_command(
    rounds: Annotated[int, typer.Option(min=1)] = 4,
    seconds: Annotated[float, typer.Option(min=0.5, help="For each case of each round.")] = 3,
    json: Json = None,
) -> None:
    """Verification over NATS beside HTTP, at the same server."""
    try:
        require_wrk()
        cores = spread_cores()
        console.print(f"{described()}; {cores.sentence()}; {busy_share(2):.0%} busy before")
        roads = nats_verify.measure(cores, rounds, seconds, console.print)
    except (WrkMissing, StartError) as error:
        console.print(str(error), style="red")
        raise typer.Exit(1) from None
    nats_verify.show(console, roads)
    write(json, roads)
    if not roads.holds:
        raise typer.Exit(1)


@app.command("streams")
def streams_command(
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    seconds: Annotated[int, typer.Option(min=1, help="For each half of each round.")] = 20,
    flushes: Annotated[int, typer.Option(min=1, help="Of the backlog.")] = 20_000,
    rows: Annotated[int, typer.Option(min=1, help="Verifications in each of them.")] = 100,
    decisions: Annotated[int, typer.Option(min=1, help="Of the backlog.")] = 200_000,
    only: Annotated[Literal["backlog", "live"] | None, typer.Option()] = None,
    json: Json = None,
) -> None:
    """What follows the logs: from a backlog, and beside verification at full speed."""
    try:
        cores = spread_cores()
        console.print(f"{described()}; {cores.sentence()}; {busy_share(2):.0%} busy before")
        backlog: list[streams.Drained] = []
        live: streams.Live | None = None
        if only != "live":
            with ground(cores.postgres) as on:
                backlog = streams.drained(on, flushes, rows, decisions, console.print)
        if only != "backlog":
            require_wrk()
            with ground(cores.postgres) as on:
                keys = asyncio.run(speed.seeded(on))
                live = streams.live(on, keys, cores, rounds, seconds, console.print)
    except (WrkMissing, StartError) as error:
        console.print(str(error), style="red")
        raise typer.Exit(1) from None
    found = streams.Streams(backlog, live)
    report.show_streams(console, found)
    write(json, found)


@app.command("scale")
def scale_command(
    keys: Annotated[int, typer.Option(min=1_000)] = 1_000_000,
    max_keys: Annotated[int, typer.Option(min=0, help="DIRECTORY_MAX_KEYS; 0: all.")] = 0,
    starts: Annotated[int, typer.Option(min=1)] = 3,
    asked: Annotated[int, typer.Option(min=100, help="So many keys are verified.")] = 10_000,
    json: Json = None,
) -> None:
    """Memory for each key, the time of a start, and the verification of cold keys."""
    try:
        console.print(f"{described()}; {busy_share(2):.0%} busy before")
        found = scale.measure(keys, max_keys, starts, asked, console.print)
    except StartError as error:
        console.print(str(error), style="red")
        raise typer.Exit(1) from None
    report.show_scale(console, found)
    write(json, found)
    if not found.holds:
        raise typer.Exit(1)


@app.command("accounts")
def accounts_command(
    accounts: Annotated[int, typer.Option(min=1_000)] = 1_000_000,
    requests: Annotated[int, typer.Option(min=10, help="For each case.")] = 200,
    json: Json = None,
) -> None:
    """Pages of the list of accounts, at any depth and by every filter."""
    try:
        cores = spread_cores()
        console.print(f"{described()}; {cores.sentence()}; {busy_share(2):.0%} busy before")
        found = listing.measure(accounts, requests, cores, console.print)
    except StartError as error:
        console.print(str(error), style="red")
        raise typer.Exit(1) from None
    report.show_accounts(console, found)
    write(json, found)
    if not found.holds:
        raise typer.Exit(1)


@app.command("logins")
def logins_command(
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    seconds: Annotated[float, typer.Option(min=1, help="For each half of each round.")] = 5,
    flood: Annotated[
        bool, typer.Option(help="Also verify while 500 sign in at once; needs wrk.")
    ] = True,
    json: Json = None,
) -> None:
    """Sign-ins beside what the cores can hash, and verification beside 500 sign-ins at once."""
    try:
        if flood:
            require_wrk()
        cores = spread_cores()
        console.print(f"{described()}; {busy_share(2):.0%} busy before")
        with ground(cores.postgres | cores.server) as on:
            people = asyncio.run(logins.seeded(on))
            found = logins.measure(on, people, cores, rounds, seconds, console.print, flood=flood)
    except (WrkMissing, StartError) as error:
        console.print(str(error), style="red")
        raise typer.Exit(1) from None
    logins_report.show_logins(console, found)
    write(json, found)
    if not found.holds:
        raise typer.Exit(1)


@app.command("security-timing")
def timing_command(
    samples: Annotated[int, typer.Option(min=20, help="At each door, half of each kind.")] = 2_000,
    json: Json = None,
) -> None:
    """Whether time tells who has an account: the AUC at each door that takes an address."""
    try:
        cores = spread_cores()
        console.print(f"{described()}; {busy_share(2):.0%} busy before")
        with ground(cores.postgres | cores.server) as on:
            people = asyncio.run(logins.seeded(on, samples // 2 + security_timing.WARM_UP))
            doors = security_timing.measure(on, people, cores, samples, console.print)
    except StartError as error:
        console.print(str(error), style="red")
        raise typer.Exit(1) from None
    logins_report.show_timing(console, doors)
    write(json, security_timing.Timing(described(), doors))
    if not all(door.holds for door in doors):
        raise typer.Exit(1)


def write(path: Path | None, found: msgspec.Struct) -> None:
    """The figures as JSON, if somebody wants them."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")


if __name__ == "__main__":
    end_by_signal()
    app()
