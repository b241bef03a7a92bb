"""A folder of this process alone, in a spool that several processes share."""

import contextlib
import fcntl
import secrets
import shutil
import threading
import weakref
from pathlib import Path
from typing import BinaryIO


class Scratch:
    """What is in `folder` needs to outlive nothing. A lock says that its process lives: a pid
    would not, for two containers may have the same one. The folder goes with this object or at
    the end of the process; that of a process that was killed goes when the next one begins."""

    def __init__(self, root: Path) -> None:
        self.folder = root / f"process-{secrets.token_hex(8)}"
        self._root = root
        self._making = threading.Lock()
        self._made = False

    def make(self) -> None:
        """Make it, the first time. Blocks a little. Raises OSError."""
        with self._making:
            if self._made:
                return
            self._root.mkdir(parents=True, exist_ok=True)
            with (self._root / "lock").open("ab") as gate:
                fcntl.flock(gate, fcntl.LOCK_EX)
                _sweep(self._root)
                self.folder.mkdir()
                lock = (self.folder / "lock").open("ab")
                fcntl.flock(lock, fcntl.LOCK_EX)
            weakref.finalize(self, _remove, self.folder, lock)
            self._made = True


def _sweep(root: Path) -> None:
    for lock in root.glob("process-*/lock"):
        with contextlib.suppress(OSError), lock.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent, ignore_errors=True)


def _remove(folder: Path, lock: BinaryIO) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    lock.close()
