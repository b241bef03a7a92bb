"""From the spool into place, with patience: while the place is away, files wait."""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from infra.followers.hold import Hold, Poison
from infra.lake import manifest
from infra.lake.again import made_again
from infra.lake.batch import spooled
from infra.lake.engine import Engine
from infra.lake.manifest import File
from infra.lake.place import OWNER, Place, PlaceUnavailable
from infra.lake.spool import Spool

log = structlog.get_logger()

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0
AT_ONCE = 16
"""So many files are put before the manifest says so."""


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
        log_id: str,
    ) -> None:
        self._hold = hold
        self._place = place
        self._engine = engine
        self._spool = spool
        self._waiting = list(waiting)
        self._placed = placed
        self._pause = 0.0
        self._again_at = 0.0
        self._log_id = log_id
        self.owned = False
        """Whether the place is known to be ours. Before, nothing may be written there."""

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
        """Put what waits, unless the place failed a moment ago. True if anything was put.

        Raises Poison if another installation writes there.
        """
        moved = False
        if not self.owned and self.ready:
            await self._claim()
        while self._waiting and self.owned and self.ready:
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
            file = await made_again(self._hold, self._engine, self._spool, file)
        if await self.put(file):
            return file
        return None

    async def put(self, file: File) -> bool:
        """Put one file of the spool in place; False, and a pause, if the place is away."""
        source = spooled(self._spool.folder, file.path)
        try:
            await asyncio.to_thread(self._place.put, file.path, source, file.sha256)
        except PlaceUnavailable as error:
            self._away(error)
            return False
        if self._pause:
            log.info("lake back", follower=self._hold.name)
            self._pause = 0.0
        return True

    async def _claim(self) -> None:
        """Find out whose the place is; ours, if it was nobody's."""
        try:
            found = await asyncio.to_thread(self._place.claim, self._log_id)
        except PlaceUnavailable as error:
            self._away(error)
            return
        if found != self._log_id:
            raise Poison(
                self._hold.position,
                f"the lake belongs to another installation: {self._place.address(OWNER)} says "
                f"{found}, and the log here is {self._log_id}. Give each a LAKE_URL of its own",
            )
        self.owned = True

    def _away(self, error: PlaceUnavailable) -> None:
        if not self._pause:
            log.warning("lake away", follower=self._hold.name, problem=str(error))
        self._pause = min(max(self._pause * 2, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
        self._again_at = asyncio.get_running_loop().time() + self._pause
