"""What a benchmark stands on: a real Postgres and NATS in a temporary folder, and real servers."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from bench.machine import on_cores
from infra.embedded import ChildProcess, StartError, start_nats, start_postgres
from infra.settings import Settings, development_secrets, load
from infra.supervisor import answers, bind, http_url

ROOT = Path(__file__).resolve().parent.parent
SERVICE_KEY = "bench-service-key-of-one-temporary-folder"
ADMIN_EMAIL = "admin@bench.example"
ADMIN_PASSWORD = "a bench that nobody sits on"
READY_SECONDS = 60.0


class Ground(NamedTuple):
    """A migrated database with an admin and a service key, and the environment that leads to it."""

    folder: Path
    environment: dict[str, str]
    settings: Settings
    database_url: str
    postgres_pid: int


class Server(NamedTuple):
    """A server process that answers at `url`."""

    process: ChildProcess
    listener: socket.socket
    url: str


def environment(data_dir: Path, **more: str) -> dict[str, str]:
    """This process's environment without settings of ours, but these."""
    mine = {name: each for name, each in os.environ.items() if not name.startswith("TOLLHOUSE_")}
    given = {
        "TOLLHOUSE_DATA_DIR": str(data_dir),
        "TOLLHOUSE_ADMIN_EMAIL": ADMIN_EMAIL,
        "TOLLHOUSE_ADMIN_PASSWORD": ADMIN_PASSWORD,
        "TOLLHOUSE_SERVICE_KEY": SERVICE_KEY,
        "TOLLHOUSE_HTTP_PORT": "0",
        # Everybody here comes from one address.
        "TOLLHOUSE_RATE_LIMIT_PER_MINUTE": "0",
        "TOLLHOUSE_KEYS_PER_HOUR": "0",
        "TOLLHOUSE_OTP_PER_HOUR": "0",
        "TOLLHOUSE_OTP_PER_HOUR_ADDRESS": "0",
        "TOLLHOUSE_FAILED_LOGINS_PER_HOUR": "0",
        "TOLLHOUSE_GLOBAL_FAILED_LOGINS_PER_HOUR": "0",
        "TOLLHOUSE_LOCKOUT_AFTER": "0",
        "TOLLHOUSE_SESSIONS_PER_ACCOUNT": "0",
    }
    # Where it is set, each start compiles all of our files again; nobody's servers run like that.
    mine.pop("PYTHONDONTWRITEBYTECODE", None)
    return {**mine, **given, "PYTHONPATH": str(ROOT), **more}


def settings_of(environ: Mapping[str, str]) -> Settings:
    """The settings that a server started with this environment has."""
    return development_secrets(load(environ, None))


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that Postgres's user may pass, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="tollhouse-bench-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


@contextlib.contextmanager
def ground(postgres_cores: set[int]) -> Iterator[Ground]:
    """Postgres and NATS on these cores, migrated; stopped and deleted afterwards."""
    with temporary_folder() as folder, contextlib.ExitStack() as stack:
        with on_cores(postgres_cores):
            postgres = start_postgres(folder / "data", print)
            stack.callback(postgres.stop)
            nats = start_nats(folder / "data", print)
            stack.callback(nats.stop)
        environ = environment(
            folder / "data",
            TOLLHOUSE_DATABASE_URL=postgres.url,
            TOLLHOUSE_NATS_URL=nats.url,
        )
        subprocess.run(
            [sys.executable, ROOT / "main.py", "migrate", "--json"],
            env=environ,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        settings = settings_of(environ)
        yield Ground(folder, environ, settings, postgres.url, postgres.process.pid)


@contextlib.contextmanager
def serving(
    name: str,
    argv: list[str],
    on: Ground,
    cores: set[int],
    ready_path: str,
    *,
    program: Path | str = sys.executable,
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
    fd: tuple[str, str] = ("--fd", ""),
) -> Iterator[Server]:
    """A server on a socket of its own, ready; stopped afterwards.

    Its descriptor is the last argument: `fd` is the option and what stands before the number.
    """
    with bind("127.0.0.1", 0) as listener:
        process = ChildProcess(
            name,
            [program, *argv, fd[0], f"{fd[1]}{listener.fileno()}"],
            env=on.environment if env is None else env,
            cwd=cwd,
            log=on.folder / f"{name.replace(' ', '-')}.log",
            pass_fds=[listener.fileno()],
        )
        with on_cores(cores):
            process.start()
        try:
            if not process.wait_until(lambda: answers(listener, ready_path), READY_SECONDS):
                raise StartError(f"{name} did not get ready:\n{process.last_words()[-2000:]}")
            yield Server(process, listener, http_url(listener))
        finally:
            process.stop()


def tollhouse(
    on: Ground, cores: set[int], name: str = "serve"
) -> contextlib.AbstractContextManager[Server]:
    """A real serve process."""
    return serving(name, [str(ROOT / "main.py"), "serve"], on, cores, "/health/ready")


def end_by_signal() -> None:
    """From now on SIGTERM ends this process as an exception does: what runs is stopped."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def wait_for(path: Path, process: subprocess.Popen[bytes], seconds: float) -> None:
    """Until this file is there. Raises StartError if the process ends before, or the time does."""
    deadline = time.monotonic() + seconds
    while not path.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise StartError(f"{path.name} did not appear (exit code {process.poll()}).")
        time.sleep(0.002)
