"""How small `up` is at rest, and how soon it is ready."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import msgspec

from bench.ground import (
    ADMIN_EMAIL,
    ADMIN_PASSWORD,
    ROOT,
    environment,
    temporary_folder,
    wait_for,
)
from bench.machine import pss_mib, tree, words
from infra.embedded import StartError
from infra.embedded.child import die_with_parent

MOST_MIB = 250
MOST_SECONDS = 3.0
REST_SECONDS = 5.0


class Small(msgspec.Struct, frozen=True):
    """Memory by process beyond Postgres, after one sign-in and a rest; seconds of the starts."""

    pss_mib: dict[str, float]
    total_mib: float
    first_seconds: list[float]
    again_seconds: list[float]

    @property
    def again(self) -> float:
        """The median start on existing data."""
        return median(self.again_seconds)

    @property
    def holds(self) -> bool:
        """Whether both aims are reached."""
        return self.total_mib < MOST_MIB and self.again < MOST_SECONDS


@contextlib.contextmanager
def running(data_dir: Path, **settings: str) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """`up` on this folder, ready, and the seconds that took; stopped with SIGTERM afterwards."""
    log = data_dir.with_suffix(".log")
    started_at = time.monotonic()
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, ROOT / "main.py", "up"],
            env=environment(data_dir, **settings),
            cwd=ROOT,
            stdout=output,
            stderr=output,
            preexec_fn=die_with_parent(signal.SIGTERM, os.getpid()),
        )
    try:
        try:
            wait_for(data_dir / "up.json", process, 120)
            answer = httpx.get(f"{address(data_dir, 'http_url')}/health/ready")
        except StartError as error:
            raise StartError(f"up did not start: {error}\n{log.read_text()[-2000:]}") from None
        if answer.status_code != 200:
            raise StartError(f"up says that it is ready, and answers {answer.status_code}.")
        yield process, time.monotonic() - started_at
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def up_file(data_dir: Path) -> dict[str, Any]:
    """What `up` wrote down."""
    found: dict[str, Any] = json.loads((data_dir / "up.json").read_text())
    return found


def address(data_dir: Path, name: str) -> str:
    """One of the addresses in there."""
    return str(up_file(data_dir)[name])


def measure(times: int, say: Callable[[str], None]) -> Small:
    """Start on a new folder and again on its data, so many times; weigh the last one at rest."""
    first, again = [], []
    sizes: dict[str, float] = {}
    for number in range(1, times + 1):
        with temporary_folder() as folder:
            with running(folder / "data") as (_, seconds):
                first.append(seconds)
            with running(folder / "data") as (process, seconds):
                again.append(seconds)
                if number == times:
                    sizes = asyncio.run(_weighed(folder / "data", process.pid))
        say(f"{number} of {times}: first {first[-1]:.2f} s, again {again[-1]:.2f} s")
    return Small(sizes, sum(sizes.values()), first, again)


async def _weighed(data_dir: Path, pid: int) -> dict[str, float]:
    async with httpx.AsyncClient(base_url=address(data_dir, "http_url")) as client:
        login = {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}
        answer = await client.post("/v1/auth/login", json=login)
        answer.raise_for_status()
    await asyncio.sleep(REST_SECONDS)
    sizes: dict[str, float] = {}
    for each in tree(pid):
        name = _name(words(each))
        if name is not None:
            sizes[f"{name} ({each})"] = pss_mib(each)
    return sizes


def _name(argv: list[str]) -> str | None:
    """What this process is; None for Postgres and its own."""
    program = Path(argv[0].rstrip(":")).name
    if program.startswith("postgres"):
        return None
    if program.startswith("nats-server"):
        return "nats"
    for command in ("up", "serve", "work"):
        if command in argv:
            return command
    return "worker"
