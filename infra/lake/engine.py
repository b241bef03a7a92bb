"""DuckDB in this process: one thread, little memory, and only while there is work."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from infra.lake.scratch import Scratch

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MEMORY_LIMIT = "96MB"
IDLE_SECONDS = 30.0


class Engine:
    """One in-memory database that every job of this process shares.

    What it sorts and can't hold goes to `scratch`, which no other process may share: DuckDB
    would crash. Everything here blocks: call it from a thread. One piece of work at a time, so
    that the memory limit is what one piece may take.
    """

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch
        self._database: DuckDBPyConnection | None = None
        self._used_at = 0.0
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def cursor(self) -> Iterator["DuckDBPyConnection"]:
        """A connection for one piece of work. Raises duckdb.Error."""
        with self._lock:
            if self._database is None:
                self._database = self._opened()
            cursor = self._database.cursor()
            try:
                yield cursor
            finally:
                cursor.close()
                self._used_at = time.monotonic()

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run these; the rows of the last one."""
        with self.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall()

    def close_if_idle(self, seconds: float = IDLE_SECONDS) -> None:
        """Give the memory back once nobody has used it for so long."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            idle = time.monotonic() - self._used_at
            if self._database is not None and idle >= seconds:
                self._database.close()
                self._database = None
        finally:
            self._lock.release()

    def _opened(self) -> "DuckDBPyConnection":
        import duckdb

        self._scratch.make()
        return duckdb.connect(
            ":memory:",
            config={
                "threads": 1,
                "memory_limit": MEMORY_LIMIT,
                "preserve_insertion_order": False,
                "temp_directory": str(self._scratch.folder / "sorting"),
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            },
        )
