"""A batch: lines gather in a file of the spool, and DuckDB makes Parquet of it there."""

import contextlib
import hashlib
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import BinaryIO

from domain.event import Recorded
from infra.lake.engine import Engine
from infra.lake.manifest import File, path_of
from projections.lake.rows import Line, event_line, usage_line
from projections.lake.statements import Kind, write_day

# What DuckDB needs to sort so much is some 80 MB.
MOST_ROWS = 50_000
MOST_BYTES = 8 << 20

_LINES: dict[Kind, Callable[[Recorded], Line]] = {"usage": usage_line, "events": event_line}


class Batch:
    """Events of one log, in order. `folder` is the spool of one job, and its alone."""

    def __init__(self, kind: Kind, engine: Engine, folder: Path, name: str = "batch") -> None:
        self._kind = kind
        self._engine = engine
        self._folder = folder
        self._lines = folder / f"{name}.ndjson"
        self._file: BinaryIO | None = None
        self._to_line = _LINES[kind]
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self.close()
        self.first_position = self.last_position = 0
        self.rows = self.bytes = self.longest = 0
        self.days: set[date] = set()

    def close(self) -> None:
        """Forget the lines."""
        if self._file is not None:
            self._file.close()
            self._file = None
            self._lines.unlink(missing_ok=True)

    @property
    def full(self) -> bool:
        """Whether it is as large as one file should be."""
        return self.rows >= MOST_ROWS or self.bytes >= MOST_BYTES

    def add(self, event: Recorded) -> None:
        """The next event. Raises OSError when the spool's disk is full."""
        line = self._to_line(event)
        if self._file is None:
            self._file = self._lines.open("wb")
        self._file.write(line.json)
        self.first_position = self.first_position or event.position
        self.last_position = event.position
        self.rows += line.rows
        self.bytes += len(line.json)
        self.longest = max(self.longest, len(line.json))
        self.days |= line.days

    def write(self, only: date | None = None) -> list[File]:
        """Parquet files in the spool, one a UTC day; none for a day without rows. Blocks.

        The same events make the same bytes again. Raises OSError, duckdb.Error.
        """
        if self._file is None:
            return []
        self._file.flush()
        written = []
        for day in sorted(self.days if only is None else self.days & {only}):
            path = path_of(self._kind, day, self.first_position, self.last_position)
            target = spooled(self._folder, path)
            part = target.with_suffix(".part")
            one_day = None if len(self.days) == 1 else day
            longest = self.longest + 1024
            statement = write_day(self._kind, str(self._lines), longest, str(part), one_day)
            [(rows,)] = self._engine.run(statement)
            if rows:
                written.append(finished(part, target, self._kind, day, rows, path))
            else:
                part.unlink()
        return written


def finished(
    part: Path, target: Path, kind: Kind, day: date, rows: int, path: str, level: int = 0
) -> File:
    """Give a Parquet file of the spool its name there, and say what it is."""
    first, last = (int(each) for each in Path(path).stem.split("-")[:2])
    digest, size = hashlib.sha256(), 0
    with part.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
            size += len(chunk)
    part.replace(target)
    return File(
        path=path,
        kind=kind,
        date=day,
        first_position=first,
        last_position=last,
        level=level,
        rows=rows,
        bytes=size,
        sha256=digest.hexdigest(),
    )


def spooled(folder: Path, path: str) -> Path:
    """Where the spool has the file that the lake will have at this path."""
    return folder / path.replace("/", ".")


def swept(folder: Path, keep: set[Path]) -> None:
    """Make the spool of a job ready: what a crash left goes, what still waits stays."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        if file.is_file() and file not in keep:
            with contextlib.suppress(FileNotFoundError):
                file.unlink()
