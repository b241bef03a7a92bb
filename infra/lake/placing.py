"""From the spool into place, with patience: while the place is away, files wait."""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from infra.followers.hold import Hold
from infra.lake import manifest
from infra.lake.batch import Batch, spooled
from infra.lake.engine import Engine
from infra.lake.manifest import File
from infra.lake.place import Place, PlaceUnavailable
from infra.lake.spool import Spool
from projections.lake.statements import Kind

log = structlog.get_logger()

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0
AT_ONCE = 16
"""So many files are put before the manifest says so."""

PAGE: dict[Kind, int] = {"usage": 50, "events": 500}
"""Events that are read at once: a batch ends with a page, and should not be much too large."""


class Placing:
    """Puts the files of one job in place, in the order of the log."""

    def __init__(
        self,
        hold: Hold,
        place: Place,
        engine: Engine,
        spool: Spool,
        waiting: Sequence[File],
        placed: Callable[[], None] | None,
    ) -> None:
        self._hold = hold
        self._place = place
        self._engine = engine
        self._spool = spool
        self._waiting = list(waiting)
        self._placed = placed
        self._pause = 0.0
        self._again_at = 0.0

    def add(self, files: Sequence[File]) -> None:
        """These are in the spool and named in the manifest."""
        self._waiting += files

    @property
    def waiting_bytes(self) -> int:
        """What the spool holds for the place."""
        return sum(file.bytes for file in self._waiting)

    @property
    def ready(self) -> bool:
        """Whether the place is believed to work."""
        return asyncio.get_running_loop().time() >= self._again_at

    async def place(self) -> bool:
        """Put what waits, unless the place failed a moment ago. True if anything was put."""
        moved = False
        while self._waiting and self.ready:
            done = []
            for file in self._waiting[:AT_ONCE]:
                put = await self._put(file)
                if put is None:
                    break
                done.append(put)
            if not done:
                break
            if self._placed is not None:
                self._placed()
            async with self._hold.advancing(self._hold.position) as connection:
                await manifest.placed(connection, done)
            del self._waiting[: len(done)]
            for file in done:
                spooled(self._spool.folder, file.path).unlink(missing_ok=True)
            moved = True
        return moved

    async def _put(self, file: File) -> File | None:
        source = spooled(self._spool.folder, file.path)
        if not source.exists():
            file = await self._made_again(file)
        if await self.put(file):
            return file
        return None

    async def put(self, file: File) -> bool:
        """Put one file of the spool in place; False, and a pause, if the place is away."""
        source = spooled(self._spool.folder, file.path)
        try:
            await asyncio.to_thread(self._place.put, file.path, source, file.sha256)
        except PlaceUnavailable as error:
            if not self._pause:
                log.warning("lake away", follower=self._hold.name, problem=str(error))
            self._pause = min(max(self._pause * 2, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
            self._again_at = asyncio.get_running_loop().time() + self._pause
            return False
        if self._pause:
            log.info("lake back", follower=self._hold.name)
            self._pause = 0.0
        return True

    async def _made_again(self, file: File) -> File:
        """The file out of its log: the spool was lost, or is another machine's."""
        batch = Batch(file.kind, self._engine, self._spool.folder, "again")
        try:
            after, page = file.first_position - 1, PAGE[file.kind]
            async for step in self._hold.steps(after=after, page=page):
                for event in step.events:
                    if event.position <= file.last_position:
                        batch.add(event)
                if step.position >= file.last_position or step.at_end:
                    break
            made = await self._spool.work(batch.write, file.date)
        finally:
            batch.close()
        if [each.path for each in made] != [file.path]:
            raise RuntimeError(f"the log no longer has the rows of {file.path}")
        return made[0]
