"""A file out of its log once more: the spool was lost, or the place lost the file."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from infra.followers.hold import Hold
from infra.lake.batch import Batch, finished, spooled
from infra.lake.engine import Engine
from infra.lake.manifest import File
from infra.lake.spool import Spool
from projections.lake.statements import Kind, merge

PAGE: dict[Kind, int] = {"usage": 50, "events": 500}
"""Events that are read at once: a batch ends with a page, and should not be much too large."""


class LogPruned(Exception):
    """The log no longer has the rows of a file."""


async def made_again(
    hold: Hold, engine: Engine, spool: Spool, file: File, besides: Sequence[File] = ()
) -> File:
    """Write this file into the spool, out of its log; it has the rows that it had.

    Positions of `besides` are left out: large files that a merge went around. A merged file is
    made of batches. Raises LogPruned, OSError, duckdb.Error.
    """
    folder = spool.folder / "again"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    batch = Batch(file.kind, engine, folder)
    pieces: list[File] = []
    try:
        after, page = file.first_position - 1, PAGE[file.kind]
        async for step in hold.steps(after=after, page=page):
            for event in step.events:
                if event.position <= file.last_position and not _among(event.position, besides):
                    batch.add(event)
            ended = step.position >= file.last_position or step.at_end
            if ended or (file.level and batch.full):
                pieces += await spool.work(batch.write, file.date)
                batch.clear()
            if ended:
                break
        return await spool.work(_joined, engine, folder, spool.folder, file, pieces)
    finally:
        batch.close()


def _among(position: int, files: Sequence[File]) -> bool:
    return any(each.first_position <= position <= each.last_position for each in files)


def _joined(engine: Engine, folder: Path, into: Path, file: File, pieces: list[File]) -> File:
    sources = [spooled(folder, piece.path) for piece in pieces]
    rows = sum(piece.rows for piece in pieces)
    whole = rows == file.rows if file.level else [each.path for each in pieces] == [file.path]
    if not whole:
        raise LogPruned(f"the log no longer has the rows of {file.path}")
    part = sources[0]
    if len(sources) > 1:
        part = folder / "joined.part"
        engine.run(merge(file.kind, [str(each) for each in sources], str(part)))
    made = finished(
        part, spooled(into, file.path), file.kind, file.date, rows, file.path, file.level
    )
    shutil.rmtree(folder, ignore_errors=True)
    return made
