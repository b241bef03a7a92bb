"""A child process that never outlives its parent."""

import contextlib
import ctypes
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import FileIO
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_LOG_LIMIT_BYTES = 10_000_000
# Loaded before any fork: between fork and exec little is allowed.
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class StartError(Exception):
    """Something can't start. The message is one sentence for the operator, with what to do."""


def die_with_parent(with_signal: int, parent: int) -> Callable[[], None]:
    """A `preexec_fn` after which the kernel sends `with_signal` when process `parent` dies.

    It must run after any change of user, which clears the setting: `subprocess` sees to that.
    """

    def bind() -> None:
        if _libc is not None:
            _libc.prctl(_PR_SET_PDEATHSIG, with_signal)
            if os.getppid() != parent:  # it died before we asked
                os._exit(1)

    return bind


class ChildProcess:
    """One program: how it is started, asked to stop, forced to stop, and watched.

    It runs in a session of its own, so that Ctrl-C reaches the supervisor alone, which then stops
    the children in order. With `user` it runs as that user id (for a supervisor that is root).
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        stop_signal: int = signal.SIGTERM,
        kill_signal: int = signal.SIGKILL,
        orphan_signal: int = signal.SIGKILL,
        grace_seconds: float = 10.0,
        user: int | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        log: Path | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.argv = [str(word) for word in argv]
        self.stop_signal = stop_signal
        self.kill_signal = kill_signal
        self.orphan_signal = orphan_signal
        self.grace_seconds = grace_seconds
        self.user = user
        self.env = env
        self.cwd = cwd
        self.log = log
        self.pass_fds = pass_fds
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def pid(self) -> int:
        """The id of the running (or last) process."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._process.pid

    def start(self) -> None:
        """Starts the program without waiting until it is ready. Raises `StartError`."""
        self._end_group()  # what a killed predecessor started and left
        with clear_errors(self.name), contextlib.ExitStack() as stack:
            output = stack.enter_context(_open_log(self.log)) if self.log else None
            self._log_start = output.tell() if output else 0
            self._process = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self.env,
                cwd=self.cwd,
                pass_fds=self.pass_fds,
                start_new_session=True,
                user=self.user,
                group=self.user,
                extra_groups=None if self.user is None else [],
                preexec_fn=die_with_parent(self.orphan_signal, os.getpid()),
            )

    def exit_status(self) -> int | None:
        """None while it runs (or before its first start), else what it ended with."""
        return self._process.poll() if self._process else None

    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def terminate(self) -> None:
        """Asks it to stop; returns at once."""
        self._signal(self.stop_signal)

    def kill(self) -> None:
        """Forces it to stop, with what it started itself; returns at once."""
        if self.kill_signal == signal.SIGKILL:
            self._end_group()
        else:
            self._signal(self.kill_signal)

    def wait(self, seconds: float) -> bool:
        """Whether it ended within that time."""
        if self._process is None:
            return True
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self) -> None:
        """Asks, waits for the grace, then forces; it is gone when this returns."""
        self.terminate()
        self.finish()

    def finish(self) -> None:
        """Waits for the grace after `terminate`, then forces; it is gone when this returns."""
        if not self.wait(self.grace_seconds):
            self.kill()
            if not self.wait(self.grace_seconds) and self._process:
                self._process.kill()
                self._process.wait()

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> bool:
        """Whether `ready` came true while it ran and within that time."""
        deadline = time.monotonic() + seconds
        while self.running() and time.monotonic() < deadline:
            if ready():
                return True
            time.sleep(0.01)
        return False

    def last_words(self) -> str:
        """What it wrote to its log since the last start."""
        if self.log is None or not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read(_LOG_LIMIT_BYTES).decode("utf-8", "replace")

    def _end_group(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self.running() and self._process:
            self._process.send_signal(number)


@contextlib.contextmanager
def clear_errors(what: str) -> Iterator[None]:
    """Turns what the system refuses (no space, no permission) into a `StartError`."""
    try:
        yield
    except subprocess.SubprocessError as error:
        raise StartError(f"{what} can't be started: {error}") from error
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StartError(
                f"{what}: no disk space is left{where}. Free some, then start again."
            ) from error
        if error.errno == errno.EROFS:
            raise StartError(
                f"{what}: the disk is read-only{where}. Set TOLLHOUSE_DATA_DIR."
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise StartError(
                f"{what}: permission denied{where}. Start as the owner, or set TOLLHOUSE_DATA_DIR"
                " to a folder of your own."
            ) from error
        raise StartError(f"{what}: {error.strerror}{where}.") from error


def _open_log(path: Path) -> FileIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > _LOG_LIMIT_BYTES:
        path.replace(path.with_suffix(".log.1"))
    return path.open("ab", buffering=0)
