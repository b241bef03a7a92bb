"""The embedded Postgres: made once, started, watched, stopped without loss."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from infra.embedded.child import ChildProcess, StartError, clear_errors, die_with_parent
from infra.embedded.place import (
    Place,
    free_port,
    hold,
    kept_password,
    postgres_place,
    prepare_data_dir,
)

MAJOR = "18"
NAME = "tollhouse"  # of the user and of the database
READY_SECONDS = 120.0  # after a crash, up to max_wal_size is replayed first

# Durable as the product promises, small as a laptop likes it.
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "wal_level": "replica",
    "max_wal_size": "1GB",
    "autovacuum_naptime": "15s",
    "log_checkpoints": "off",
    "log_timezone": "UTC",
    "timezone": "UTC",
}
# Nothing of the caller's environment: PGPORT, PGDATA and LD_LIBRARY_PATH would mislead it.
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "HOME": "/"}


class RunningPostgres:
    """A Postgres that answers at `url`; `process` is what a supervisor watches and restarts."""

    def __init__(self, url: str, process: ChildProcess, data: Path, lock: int) -> None:
        self.url = url
        self.process = process
        self._data = data
        self._lock = lock

    def stop(self) -> None:
        """Ends it cleanly (fast shutdown) and frees its data for another start."""
        self.process.stop()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def restart(self) -> None:
        """Stops it if it runs, starts it at the same url, waits until it answers. `StartError`."""
        self.process.stop()
        _end_orphan(self._data)
        _start(self.process, self._data)


def start_postgres(data_dir: Path, say: Callable[[str], None]) -> RunningPostgres:
    """Starts Postgres on DATA_DIR/postgres, which is made if it is new, and waits until it answers.

    Raises `StartError`. `say` gets one line if the data can't live inside of DATA_DIR.
    """
    prepare_data_dir(data_dir)
    place = postgres_place(data_dir, say)
    password = kept_password(data_dir, "postgres_password")
    lock = hold(place.home, f"another process is using the Postgres data in {place.home}.")
    data = place.home / "data"
    try:
        with clear_errors("Postgres"):
            if not data.exists():
                _initialise(place, password)
            _require_our_major(data)
            _end_orphan(data)
            process, port = _start_on_free_port(data_dir, place, data)
    except BaseException:
        os.close(lock)
        raise
    url = f"postgresql://{NAME}:{quote(password, safe='')}@127.0.0.1:{port}/{NAME}"
    return RunningPostgres(url, process, data, lock)


def _initialise(place: Place, password: str) -> None:
    """Makes the cluster beside its place and renames it, so that half of one is never taken."""
    new, password_file = place.home / "new", place.home / "password"
    if new.exists():
        shutil.rmtree(new)
    new.mkdir(mode=0o700)
    password_file.unlink(missing_ok=True)
    with open(os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(password)
    if place.user is not None:
        os.chown(new, place.user, place.user)
        os.chown(password_file, place.user, place.user)
    try:
        _run(
            place,
            place.programs / "initdb",
            *("-D", new, f"--username={NAME}", f"--pwfile={password_file}"),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--data-checksums", "--no-instructions"),
            *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        )
        _run(
            place,
            place.programs / "postgres",
            *("--single", "-D", new, "postgres"),
            stdin=f"CREATE DATABASE {NAME}\n",
        )
        new.rename(place.home / "data")
    finally:
        password_file.unlink(missing_ok=True)


def _run(place: Place, *argv: str | Path, stdin: str = "") -> None:
    done = subprocess.run(
        argv,
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=_ENVIRONMENT,
        cwd="/",
        user=place.user,
        group=place.user,
        extra_groups=None if place.user is None else [],
        preexec_fn=die_with_parent(signal.SIGKILL, os.getpid()),
    )
    # Postgres in single-user mode ends with 0 even when a statement failed.
    if done.returncode or "ERROR:" in done.stdout or "FATAL:" in done.stdout:
        raise _explained(done.stdout, place.home)


def _require_our_major(data: Path) -> None:
    found = (data / "PG_VERSION").read_text("ascii").strip()
    if found != MAJOR:
        age = "newer" if found.isdigit() and int(found) > int(MAJOR) else "older"
        raise StartError(
            f"the data in {data} belongs to Postgres {found}, which is {age} than the {MAJOR} that"
            " this Tollhouse brings: use the Tollhouse that made it (dump and load to move), or set"
            " TOLLHOUSE_DATA_DIR to another folder."
        )


def _start_on_free_port(data_dir: Path, place: Place, data: Path) -> tuple[ChildProcess, int]:
    kept = place.home / "port"  # so that a tool's address of yesterday still works today
    for attempt in range(3):
        port = free_port(kept if attempt == 0 else None)
        options = [f"--{name}={value}" for name, value in {**_SETTINGS, "port": port}.items()]
        process = ChildProcess(
            "Postgres",
            [place.programs / "postgres", "-D", data, *options],
            stop_signal=signal.SIGINT,
            kill_signal=signal.SIGQUIT,
            orphan_signal=signal.SIGINT,
            grace_seconds=30,
            user=place.user,
            env=_ENVIRONMENT,
            cwd=Path("/"),
            log=data_dir / "logs" / "postgres.log",
        )
        try:
            _start(process, data)
        except StartError:
            if attempt < 2 and "could not bind" in process.last_words():
                continue  # somebody took the port between our look and its start
            raise
        kept.write_text(str(port), "ascii")
        return process, port
    raise StartError("Postgres found no free port on 127.0.0.1.")


def _start(process: ChildProcess, data: Path) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            process.start()
            if process.wait_until(lambda: _answers(data, process.pid), READY_SECONDS):
                return
        except KeyboardInterrupt:
            process.stop()
            raise
        process.stop()
        # Sessions of a postmaster killed with -9 need a moment to notice and let go.
        if "pre-existing shared memory" not in process.last_words() or time.monotonic() > deadline:
            raise _explained(process.last_words(), data)
        time.sleep(0.1)


def _answers(data: Path, pid: int) -> bool:
    lines = _postmaster_file(data)
    return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"


def _postmaster_file(data: Path) -> list[str]:
    try:
        return (data / "postmaster.pid").read_text("ascii", "replace").splitlines()
    except FileNotFoundError:
        return []


def _end_orphan(data: Path) -> None:
    """Stops a Postgres that a killed `up` left on this data; it is in shutdown already, mostly."""
    pid = next(iter(_postmaster_file(data)), "")
    for number in (signal.SIGINT, signal.SIGQUIT):
        if not _is_postgres_on(data, pid):
            return
        os.kill(int(pid), number)
        deadline = time.monotonic() + 15
        while _is_postgres_on(data, pid) and time.monotonic() < deadline:
            time.sleep(0.02)
    if _is_postgres_on(data, pid):
        raise StartError(f"an earlier Postgres (process {pid}) still runs on {data}: stop it.")


def _is_postgres_on(data: Path, pid: str) -> bool:
    # Its own file may be old, and the number given to somebody else since.
    process = Path("/proc") / pid
    if not pid.isdigit() or pid == str(os.getpid()):
        return False
    try:
        words = (process / "cmdline").read_bytes().split(b"\0")
        return os.fsencode(data) in words and process.stat().st_uid == data.stat().st_uid
    except OSError:
        return False


def _explained(output: str, where: Path) -> StartError:
    lowered = output.lower()
    if "no space left" in lowered:
        return StartError(f"Postgres: no disk space is left for {where}. Free some, start again.")
    if "could not bind" in lowered:
        return StartError("Postgres's port on 127.0.0.1 is taken by another program: start again.")
    if "permission denied" in lowered or "wrong ownership" in lowered:
        return StartError(
            f"Postgres's user has no access to {where}: start as the user who made it,"
            " or set TOLLHOUSE_DATA_DIR to another folder."
        )
    lines = output.splitlines() or ["it said nothing"]
    telling = [line for line in lines if re.search("FATAL|ERROR|error", line)]
    last = (telling or lines)[-1]
    return StartError(f"Postgres could not start on {where}: {last.strip()}")
