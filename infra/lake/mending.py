"""What the place lost is made again: a file that somebody deleted, a disk that was replaced."""

import asyncio

import structlog

from infra.followers.hold import Hold, Poison
from infra.lake import manifest
from infra.lake.again import LogPruned, made_again
from infra.lake.batch import spooled
from infra.lake.engine import Engine
from infra.lake.manifest import File
from infra.lake.place import Place, PlaceUnavailable
from infra.lake.placing import Placing
from infra.lake.snapshot import Snapshots
from infra.lake.spool import Spool
from projections.lake.statements import Kind

log = structlog.get_logger()

LOOK_SECONDS = 600.0
AT_ONCE = 16


class Mending:
    """Looks for the shown files of one job: now and then, and when a snapshot failed."""

    def __init__(
        self,
        kind: Kind,
        place: Place,
        engine: Engine,
        spool: Spool,
        placing: Placing,
        snapshots: Snapshots,
    ) -> None:
        self._kind: Kind = kind
        self._place = place
        self._engine = engine
        self._spool = spool
        self._placing = placing
        self._snapshots = snapshots
        self._look_at = asyncio.get_running_loop().time() + LOOK_SECONDS

    async def tick(self, hold: Hold) -> None:
        """Look, if it is time to, and make some lost files again, under the names they had.

        Raises Poison when the log can't supply one: the snapshot stands still until somebody
        brings that file back.
        """
        now = asyncio.get_running_loop().time()
        if not self._placing.ready:
            return
        if not self._snapshots.doubted(self._kind) and now < self._look_at:
            return
        self._look_at = now + LOOK_SECONDS
        async with hold.advancing(hold.position) as connection:
            shown = await manifest.shown(connection, self._kind)
        try:
            lost = await asyncio.to_thread(
                self._place.missing, self._kind, [file.path for file in shown]
            )
        except PlaceUnavailable as error:
            log.warning("lake files not looked for", follower=hold.name, problem=str(error))
            return
        for file in [each for each in shown if each.path in lost][:AT_ONCE]:
            self._look_at = now  # until there is none
            if not await self._mend(hold, file, shown):
                return

    async def _mend(self, hold: Hold, file: File, shown: list[File]) -> bool:
        log.warning("lake file lost", follower=hold.name, path=file.path)
        besides = [each for each in shown if _inside(each, file)]
        try:
            made = await made_again(hold, self._engine, self._spool, file, besides)
        except LogPruned as error:
            raise Poison(hold.position, f"a file of the lake is lost, and {error}") from error
        put = await self._placing.put(made)
        spooled(self._spool.folder, made.path).unlink(missing_ok=True)
        if put:
            async with hold.advancing(hold.position) as connection:
                await manifest.placed(connection, [made])
            log.info("lake file made again", follower=hold.name, path=file.path)
            self._snapshots.changed()
        return put


def _inside(one: File, other: File) -> bool:
    """Whether `other` is a merge that went around `one`."""
    return (
        one.path != other.path
        and one.date == other.date
        and other.first_position <= one.first_position
        and one.last_position <= other.last_position
    )
