"""Keeps the processes of `up` running, and ends every one of them.

    with Supervisor(data_dir, say) as supervisor, bind(host, port) as listener:
        postgres = start_postgres(data_dir, say)
        supervisor.add(postgres.process)
        nats = start_nats(data_dir, say)
        supervisor.add(nats.process)
        ...migrate...
        serving = [ChildProcess("serve", [..., "--fd", listener.fileno()], ...) for _ in range(n)]
        supervisor.add(*serving)
        supervisor.wait_until(lambda: answers(listener))
        supervisor.announce(http_url(listener), nats.url, postgres.url, serving)
        supervisor.run()

Synchronous and of the standard library only: it stays in memory as long as the servers run.
"""

import contextlib
import errno
import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType, TracebackType

from infra.embedded.child import ChildProcess, StartError
from infra.embedded.place import hold, prepare_data_dir

FIRST_DELAY_SECONDS = 0.1
LONGEST_DELAY_SECONDS = 5.0
HEALTHY_AFTER_SECONDS = 10.0
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Watched:
    """A child with what its restarts need to be remembered."""

    def __init__(self, child: ChildProcess) -> None:
        self.child = child
        self.started_at = time.monotonic()
        self.failures = 0
        self.due_at: float | None = None


class Supervisor:
    """Holds the data folder, watches what it is given, and leaves nothing behind.

    Leaving the `with` block stops the children, the last added first. A first Ctrl-C or SIGTERM
    ends `run` (before `announce`, it is a KeyboardInterrupt); a second one kills what is left.
    Use it in the main thread.
    """

    def __init__(self, data_dir: Path, say: Callable[[str], None]) -> None:
        self._data_dir = data_dir
        self._say = say
        self._stages: list[list[_Watched]] = []
        self._up: dict[str, object] = {}
        self._serving: Sequence[ChildProcess] = ()
        self._stop_asked = False
        self._in_charge = False  # whether a signal is noticed by our loop, or must raise
        self._resources = contextlib.ExitStack()

    def __enter__(self) -> "Supervisor":
        prepare_data_dir(self._data_dir)
        lock = hold(
            self._data_dir / "up.lock",
            f"`up` is running already on {self._data_dir}{self._other()}: stop it first, or set"
            " TOLLHOUSE_DATA_DIR to another folder.",
        )
        self._resources.callback(os.close, lock)
        self._up_file.unlink(missing_ok=True)  # of an `up` that was killed
        self._wake, asleep = socket.socketpair()
        for end in (self._wake, asleep):
            end.setblocking(False)
            self._resources.callback(end.close)
        self._resources.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(asleep.fileno()))
        for number in _STOP_SIGNALS:
            if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue  # nohup
            self._resources.callback(signal.signal, number, signal.signal(number, self._on_stop))
        # Does nothing, but makes the end of a child wake the loop.
        self._resources.callback(
            signal.signal, signal.SIGCHLD, signal.signal(signal.SIGCHLD, lambda *_: None)
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._in_charge = True
        with self._resources:
            self._up_file.unlink(missing_ok=True)
            for stage in reversed(self._stages):
                for watched in stage:
                    watched.child.terminate()
                for watched in stage:
                    watched.child.finish()

    def add(self, *children: ChildProcess) -> None:
        """Watches these, and starts those that don't run yet; they are stopped together."""
        stage: list[_Watched] = []
        self._stages.append(stage)
        for child in children:
            if not child.running():
                child.start()
            stage.append(_Watched(child))

    def wait_until(self, ready: Callable[[], bool], seconds: float = 60.0) -> None:
        """Returns when `ready` says so; `StartError` if a child ends before, or the time does."""
        deadline = time.monotonic() + seconds
        while not ready():
            for watched in self._all():
                if not watched.child.running():
                    raise StartError(
                        f"{watched.child.name} ended during the start ({_ending(watched.child)});"
                        " its own words above, or in DATA_DIR/logs, say why."
                    )
            if time.monotonic() > deadline:
                raise StartError(f"the start took longer than {seconds:.0f} s, so it was stopped.")
            time.sleep(0.02)

    def announce(
        self,
        http_url: str,
        nats_url: str,
        database_url: str,
        serving: Sequence[ChildProcess],
        more_urls: Mapping[str, str] = {},
    ) -> None:
        """Writes DATA_DIR/up.json, whose `serve_pids` are kept true from now on."""
        self._in_charge = True
        self._serving = serving
        self._up = {
            "http_url": http_url,
            "nats_url": nats_url,
            "database_url": database_url,
            **more_urls,
            "pid": os.getpid(),
            "ready_at": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        }
        self._write_up_file()

    def run(self) -> None:
        """Restarts what dies, with a growing delay, until a signal asks to stop."""
        self._in_charge = True
        while not self._stop_asked:
            for watched in self._all():
                self._look_after(watched)
            due = [watched.due_at for watched in self._all() if watched.due_at is not None]
            wait = max(0.0, min(due) - time.monotonic()) if due else None
            select.select([self._wake], [], [], wait)
            with contextlib.suppress(BlockingIOError):
                self._wake.recv(4096)

    def _look_after(self, watched: _Watched) -> None:
        child, now = watched.child, time.monotonic()
        if child.running():
            return
        if watched.due_at is None:
            if now - watched.started_at > HEALTHY_AFTER_SECONDS:
                watched.failures = 0
            delay = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2**watched.failures)
            watched.failures += 1
            watched.due_at = now + delay
            self._say(f"{child.name} ended ({_ending(child)}); starting it again in {delay:.1f} s.")
        elif now >= watched.due_at:
            watched.started_at, watched.due_at = now, None
            try:
                child.start()
            except StartError as error:
                self._say(str(error))
            if self._up and child in self._serving:
                self._write_up_file()

    def _all(self) -> Iterator[_Watched]:
        return (watched for stage in self._stages for watched in stage)

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        if self._stop_asked:
            for watched in self._all():
                watched.child.kill()
        self._stop_asked = True
        if not self._in_charge:
            self._in_charge = True
            raise KeyboardInterrupt

    @property
    def _up_file(self) -> Path:
        return self._data_dir / "up.json"

    def _write_up_file(self) -> None:
        # Readers never see half of it, and only the owner sees it: it holds a password.
        draft = self._up_file.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        content = {**self._up, "serve_pids": [child.pid for child in self._serving]}
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(content, file)
        draft.replace(self._up_file)

    def _other(self) -> str:
        try:
            return f" (process {json.loads(self._up_file.read_text())['pid']})"
        except (OSError, ValueError, KeyError, TypeError):
            return ""


def bind(host: str, port: int) -> socket.socket:
    """The listening socket that all serve processes share by descriptor. Raises `StartError`.

    Because the parent holds it, callers wait instead of being refused while a process restarts.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family, backlog=2048)
    except socket.gaierror as error:
        raise StartError(f"TOLLHOUSE_HTTP_HOST is {host!r}, which is no address here.") from error
    except OSError as error:
        problem = {
            errno.EADDRINUSE: "is taken: stop what listens there, or set TOLLHOUSE_HTTP_PORT to"
            " another port (0 takes a free one)",
            errno.EACCES: "needs more rights: set TOLLHOUSE_HTTP_PORT to a port above 1023",
            errno.EADDRNOTAVAIL: "is not an address of this machine: set TOLLHOUSE_HTTP_HOST",
        }.get(error.errno or 0, f"can't be used: {error.strerror}")
        raise StartError(f"{host}:{port} {problem}.") from error
    os.set_inheritable(listener.fileno(), True)
    return listener


def http_url(listener: socket.socket) -> str:
    """Where a program on this machine reaches the socket."""
    host, port = _reachable(listener)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def answers(listener: socket.socket, path: str = "/health/ready") -> bool:
    """Whether somebody on the shared socket answers this path with 200 now."""
    try:
        with socket.create_connection(_reachable(listener), timeout=2) as connection:
            request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            connection.sendall(request.encode())
            return connection.recv(64).split(b" ")[1:2] == [b"200"]
    except OSError:
        return False


def _reachable(listener: socket.socket) -> tuple[str, int]:
    host, port = listener.getsockname()[:2]
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port  # noqa: S104 - compared


def _ending(child: ChildProcess) -> str:
    status = child.exit_status()
    if status is None:
        return "unknown"
    return f"exit code {status}" if status >= 0 else signal.Signals(-status).name
