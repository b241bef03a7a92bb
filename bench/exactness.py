"""`python -m bench.exactness`: nothing is oversold while processes are killed.

64 clients verify three hot keys through `up` with four serve processes. Each verification takes
from three counters: the key's quota, its account's, and its account's credits by operation; of
each key another one is used up first. Meanwhile a few clients hold, capture, release and spend
credits of the same accounts, and one rotates a hot key with overlap. Something is killed every
two seconds or so: one of the serve processes (SIGKILL), or with --postgres the database itself
(SIGQUIT, which gives it no time to write anything). Afterwards, for every counter,
answered valid <= counted <= limit; the usage log agrees; every credit is in one place; and no
key came back to life.
"""

import asyncio
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench.commands import Rotator, Spenders
from bench.counts import counts
from bench.crowd import Crowd
from bench.exactness_judged import booked, judged
from bench.ground import end_by_signal, environment, settings_of, temporary_folder
from bench.small import address, running, up_file
from bench.targets import targets
from house import opened
from infra.embedded import StartError

CLIENTS = 64
SPENDERS = 4
RECOVERED_SECONDS = 5.0
AFTERWARDS = 200
UNTIL_DENIED_SECONDS = 180
console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)


def main(
    seconds: Annotated[float, typer.Option(min=1, help="How long something is killed.")] = 20,
    seed: Annotated[int | None, typer.Option(help="Of the moments and the victims.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Verifications in each key's budget.")] = 5_000,
    postgres: Annotated[bool, typer.Option(help="Kill Postgres instead of serve.")] = False,
    processes: Annotated[int, typer.Option(min=1, help="Serve processes.")] = 4,
) -> None:
    """Kill at random under load; exit code 1 if anything was oversold, lost or came back."""
    end_by_signal()
    chosen = seed if seed is not None else int.from_bytes(os.urandom(4), "big")
    console.print(
        f"{CLIENTS} clients, {processes} serve processes, limit {limit:,}, {seconds:.0f} s;"
        f" killing {'Postgres' if postgres else 'one serve process'} about every"
        f" {_pause(postgres):.0f} s, --seed {chosen}"
    )
    try:
        with temporary_folder() as folder:
            data_dir = folder / "data"
            with running(data_dir, TOLLHOUSE_SERVE_PROCESSES=str(processes)):
                run = _run(data_dir, seconds, limit, postgres, random.Random(chosen))
                held = asyncio.run(run)
    except StartError as error:
        console.print(str(error), style="red")
        raise typer.Exit(1) from None
    if not held:
        raise typer.Exit(1)


async def _run(
    data_dir: Path, seconds: float, limit: int, postgres: bool, chance: random.Random
) -> bool:
    database_url, url = address(data_dir, "database_url"), address(data_dir, "http_url")
    settings = settings_of(environment(data_dir))
    async with opened(settings, database_url, verifying=False) as house:
        made = await targets(house.ports, limit)
    crowd = Crowd(url, made, CLIENTS)
    spenders = Spenders(url, made, SPENDERS, chance)
    rotator = Rotator(url, crowd.tallies[0], max(2.0, seconds / 6))
    # So that the budgets are used up about half-way.
    crowd.start(pace=len(made) * limit / (0.5 * seconds) / CLIENTS)
    kills, recoveries = await _kill(data_dir, crowd, seconds, postgres, chance)
    early = sum(tally.denied_at is not None for tally in crowd.tallies)
    await rotator.stop()
    await spenders.stop()
    # What was released since may be spent: only now is a denial the last word.
    crowd.tallies[-1].denied_at = None
    await crowd.until_denied(UNTIL_DENIED_SECONDS)
    await crowd.stop()
    late = await crowd.ask(AFTERWARDS)
    after = await asyncio.to_thread(counts, database_url)
    books = await asyncio.to_thread(booked, database_url)
    console.print(
        f"killed {kills} times; answers: {crowd.total('valid'):,} valid,"
        f" {crowd.total('denied'):,} denied, {crowd.total('unavailable'):,} unavailable (503),"
        f" {crowd.total('broken'):,} broken off"
    )
    console.print(
        f"{rotator.rotations} rotations; {sum(len(each.captured) for each in spenders.accounts)}"
        f" holds captured, {sum(len(each.released) for each in spenders.accounts)} released;"
        f" {spenders.commands.repeated} commands repeated;"
        f" {early} of {len(made)} limits reached while killing"
    )
    claims = judged(crowd, spenders, rotator, after, books)
    wanted = AFTERWARDS * len(made)
    claims[f"of {wanted} asked later {late} were denied"] = late == wanted
    if postgres:
        claims |= _recovered(recoveries)
    for claim, holds in claims.items():
        console.print(("yes  " if holds else "NO   ") + claim, style="green" if holds else "red")
    return all(claims.values())


async def _kill(
    data_dir: Path, crowd: Crowd, seconds: float, postgres: bool, chance: random.Random
) -> tuple[int, list[float]]:
    """Kill until the time is over; how often, and how long until it counted again each time."""
    deadline = time.monotonic() + seconds
    kills = 0
    recoveries: list[float] = []
    while True:
        pause = _pause(postgres) * chance.uniform(0.75, 1.25)
        if time.monotonic() + pause > deadline:
            await asyncio.sleep(max(0.0, deadline - time.monotonic()))
            return kills, recoveries
        await asyncio.sleep(pause)
        victim = _postmaster(data_dir) if postgres else _one_of(up_file(data_dir), chance)
        killed_at = time.monotonic()
        try:
            os.kill(victim, signal.SIGQUIT if postgres else signal.SIGKILL)
        except ProcessLookupError:
            continue  # it was killed a moment ago, and its successor isn't written down yet
        kills += 1
        if postgres:
            recoveries.append(await crowd.counting_again(killed_at, 30))


def _one_of(found: dict[str, list[int]], chance: random.Random) -> int:
    return chance.choice(found["serve_pids"])


def _postmaster(data_dir: Path) -> int:
    return int((data_dir / "postgres/data/postmaster.pid").read_text().splitlines()[0])


def _pause(postgres: bool) -> float:
    return 4.0 if postgres else 2.0


def _recovered(recoveries: list[float]) -> dict[str, bool]:
    longest = max(recoveries, default=0.0)
    each = ", ".join(f"{seconds:.2f}" for seconds in recoveries)
    said = f"counting again after {each} s from the kill (aim: within {RECOVERED_SECONDS:.0f} s)"
    return {said: longest <= RECOVERED_SECONDS}


if __name__ == "__main__":
    typer.run(main)
