"""`python -m bench.exactness`: nothing is oversold while processes are killed.

64 clients verify one key through `up` with two serve processes, and something is killed every
two seconds or so: one of the serve processes (SIGKILL), or with --postgres the database itself
(SIGQUIT, which gives it no time to write anything). Afterwards:
answered valid <= counted <= limit, the usage log agrees, and no key came back to life.
"""

import asyncio
import os
import random
import signal
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench.counts import Counts, counts
from bench.crowd import Crowd
from bench.ground import end_by_signal, environment, settings_of, temporary_folder
from bench.seeding import SeededKey, seed
from bench.small import address, running, up_file
from domain.allowances import Quota
from infra.embedded import StartError
from main import opened

CLIENTS = 64
PROCESSES = 2
RECOVERED_SECONDS = 5.0
AFTERWARDS = 200
console = Console(highlight=False)


def main(
    seconds: Annotated[float, typer.Option(min=1, help="How long something is killed.")] = 20,
    seed: Annotated[int | None, typer.Option(help="Of the moments and the victims.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Of the key's quota.")] = 20_000,
    postgres: Annotated[bool, typer.Option(help="Kill Postgres instead of serve.")] = False,
) -> None:
    """Kill at random under load; exit code 1 if anything was oversold, lost or came back."""
    end_by_signal()
    chosen = seed if seed is not None else int.from_bytes(os.urandom(4), "big")
    console.print(
        f"{CLIENTS} clients, {PROCESSES} serve processes, limit {limit:,}, {seconds:.0f} s;"
        f" killing {'Postgres' if postgres else 'one serve process'} about every"
        f" {_pause(postgres):.0f} s, --seed {chosen}"
    )
    try:
        with temporary_folder() as folder:
            data_dir = folder / "data"
            with running(data_dir, TOLLHOUSE_SERVE_PROCESSES=str(PROCESSES)):
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
    database_url = address(data_dir, "database_url")
    settings = settings_of(environment(data_dir))
    async with opened(settings, database_url, verifying=False) as house:
        # A lifetime, not a day: the run may cross midnight.
        made = await seed(house.ports, 1, 1, Quota(limit, "lifetime"))
        position = f"{house.ports.store.log_id}:{made.position}"
    key = made.keys[0]
    crowd = Crowd(address(data_dir, "http_url"), key.secret, CLIENTS, position)
    crowd.start(pace=limit / (0.5 * seconds) / CLIENTS)
    kills, recoveries = await _kill(data_dir, crowd, seconds, postgres, chance)
    denied_at = crowd.denied_at
    await crowd.until_denied(120)
    await crowd.stop()
    late = await crowd.ask(AFTERWARDS)
    after = await asyncio.to_thread(counts, database_url)
    console.print(
        f"killed {kills} times; answers: {crowd.valid:,} valid, {crowd.denied:,} denied,"
        f" {crowd.unavailable:,} unavailable (503), {crowd.broken:,} broken off,"
        f" {crowd.other:,} others"
    )
    when = "while killing" if denied_at else "after the last kill"
    console.print(f"the limit was reached {when}; of {AFTERWARDS} asked later {late} were denied")
    held = _judged(crowd, key, limit, after)
    held &= late == AFTERWARDS
    if postgres:
        held &= _recovered(recoveries)
    return held


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


def _judged(crowd: Crowd, key: SeededKey, limit: int, after: Counts) -> bool:
    counted, shared = after.used[key.counter_id], after.used[key.shared_counter_id]
    logged = after.valid_by_key[key.key_id]
    claims = {
        f"answered valid {crowd.valid:,} <= counted {counted:,} <= limit {limit:,}": (
            crowd.valid <= counted <= limit
        ),
        f"the usage log has {logged:,} VALID = counted": logged == counted,
        f"the account's shared counter has {shared:,} = counted": shared == counted,
        f"over-counted by kills: {counted - crowd.valid} <= asked and never answered,"
        f" {crowd.unanswered}": counted - crowd.valid <= crowd.unanswered,
        f"valid after a denial was known: {crowd.revived}": crowd.revived == 0,
        f"other answers: {crowd.other}": crowd.other == 0,
    }
    for claim, holds in claims.items():
        console.print(("yes  " if holds else "NO   ") + claim, style="green" if holds else "red")
    return all(claims.values())


def _recovered(recoveries: list[float]) -> bool:
    longest = max(recoveries, default=0.0)
    holds = longest <= RECOVERED_SECONDS
    each = ", ".join(f"{seconds:.2f}" for seconds in recoveries)
    console.print(
        f"{'yes ' if holds else 'NO  '} counting again after {each} s from the kill"
        f" (aim: within {RECOVERED_SECONDS:.0f} s)",
        style="green" if holds else "red",
    )
    return holds


if __name__ == "__main__":
    typer.run(main)
