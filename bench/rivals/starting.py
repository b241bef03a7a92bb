"""Each rival as a server on its own database, with keys in it."""

import contextlib
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.ground import Ground, Server, serving
from bench.rivals.databases import Fill, fill_better_auth, fill_drf, fill_fastapi, new_database
from bench.rivals.installing import INSTALL_SECONDS, RivalMissing, with_npm, with_pip

READY_PATH = "/ready"
GUNICORN_WORKERS, GUNICORN_THREADS = 3, 8  # workers: 2 x cores + 1, as its docs say; it has one


class Rival(NamedTuple):
    """What makes it a server: where its code is, what makes its tables, what serves."""

    name: str
    folder: Path
    migrate: list[str | Path] | None
    program: Path | str
    argv: list[str]
    fd: tuple[str, str]
    fill: Fill
    words: str


class Running(NamedTuple):
    """A rival that answers, and the secrets of its keys, in the order of their amounts."""

    server: Server
    secrets: list[str]


def better_auth() -> Rival:
    """better-auth with its API key plugin, on node. Raises RivalMissing."""
    folder = with_npm("better-auth")
    return Rival(
        name="better-auth",
        folder=folder,
        migrate=["node", "migrate.mjs"],
        program="node",
        argv=["server.mjs"],
        fd=("--fd", ""),
        fill=fill_better_auth,
        words="better-auth 1.7.5, API key plugin, node http, pg pool of 20",
    )


def drf() -> Rival:
    """djangorestframework-api-key and one UPDATE, under gunicorn. Raises RivalMissing."""
    folder = with_pip("drf")
    python = folder / "venv/bin/python"
    return Rival(
        name="drf-api-key",
        folder=folder,
        migrate=[python, "project.py"],
        program=python,
        argv=[
            *("-m", "gunicorn", "project", "--worker-class", "gthread"),
            *("--workers", str(GUNICORN_WORKERS), "--threads", str(GUNICORN_THREADS)),
            *("--keep-alive", "75", "--log-level", "warning", "--no-control-socket"),
        ],
        fd=("--bind", "fd://"),
        fill=fill_drf,
        words=f"djangorestframework-api-key 3.1.0, one UPDATE, gunicorn with {GUNICORN_WORKERS}"
        f" workers of {GUNICORN_THREADS} threads",
    )


def fastapi() -> Rival:
    """A typed route with one UPDATE ... RETURNING, on uvicorn. Raises RivalMissing."""
    folder = with_pip("fastapi")
    return Rival(
        name="FastAPI + UPDATE",
        folder=folder,
        migrate=None,
        program=folder / "venv/bin/python",
        argv=[
            *("-m", "uvicorn", "server:app", "--loop", "uvloop", "--http", "httptools"),
            *("--no-access-log", "--log-level", "warning"),
        ],
        fd=("--fd", ""),
        fill=fill_fastapi,
        words="FastAPI 0.165, one UPDATE ... RETURNING, asyncpg pool of 20, uvicorn with uvloop",
    )


@contextlib.contextmanager
def running(rival: Rival, on: Ground, cores: set[int], amounts: Sequence[int]) -> Iterator[Running]:
    """It answers, with a key for each amount. Raises RivalMissing or StartError."""
    database = f"rival_{''.join(each if each.isalnum() else '_' for each in rival.name.lower())}"
    url = new_database(on.database_url, database)
    # Nothing that leads Python of one venv into another, and no settings of ours.
    env = {name: each for name, each in on.environment.items() if not _ours(name)}
    env |= {"DATABASE_URL": url, "NODE_ENV": "production"}
    if rival.migrate is not None:
        _migrate(rival, env)
    secrets = rival.fill(url, amounts)
    with serving(
        rival.name,
        rival.argv,
        on,
        cores,
        READY_PATH,
        program=rival.program,
        cwd=rival.folder,
        env=env,
        fd=rival.fd,
    ) as server:
        yield Running(server, secrets)


def _migrate(rival: Rival, env: Mapping[str, str]) -> None:
    assert rival.migrate is not None
    done = subprocess.run(
        rival.migrate,
        cwd=rival.folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
    )
    if done.returncode != 0:
        raise RivalMissing(f"{rival.name} is left out: its tables: {done.stderr.strip()[-500:]}")


def _ours(name: str) -> bool:
    return name.startswith("TOLLHOUSE_") or name in ("PYTHONPATH", "VIRTUAL_ENV")
