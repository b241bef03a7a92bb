"""Feeds a projection: its rows and the checkpoint in one transaction."""

from collections.abc import Callable, Sequence

import psycopg

from application.errors import StoreUnavailable
from domain.event import Recorded
from infra.followers.hold import Fenced, Hold, Log, Poison
from projections.read_model import ReadModel

PAGE = 2_000

OUTAGES = (Fenced, StoreUnavailable, psycopg.OperationalError, psycopg.InterfaceError)
"""What says nothing about an event: the connection broke, or somebody else holds on."""


class ReadModelJob:
    """Implements infra.followers.Job for one read model.

    `written` is called in each transaction, after its rows: where a fault test may end the
    process.
    """

    def __init__(self, model: ReadModel, written: Callable[[], None] | None = None) -> None:
        self._model = model
        self._written = written

    @property
    def name(self) -> str:
        """The read model's."""
        return self._model.name

    @property
    def log(self) -> Log:
        """The log that it reads."""
        return self._model.log

    async def run(self, hold: Hold) -> None:
        """Apply step after step."""
        model = self._model
        await hold.commit_lazily()
        steps = hold.steps(page=PAGE, gather_seconds=model.gather_seconds, nouns=model.nouns)
        async for step in steps:
            if step.position == hold.position:
                continue
            try:
                await self._apply(hold, step.events, step.position)
            except OUTAGES:
                raise
            except Exception:
                # Which of them it was isn't known: one by one, it will show.
                await self._one_by_one(hold, step.events)
                await hold.advance(step.position)

    async def _apply(self, hold: Hold, events: Sequence[Recorded], position: int) -> None:
        async with hold.advancing(position) as connection:
            if events:
                await self._model.apply(connection, events)
            if self._written is not None:
                self._written()

    async def _one_by_one(self, hold: Hold, events: Sequence[Recorded]) -> None:
        for event in events:
            try:
                await self._apply(hold, [event], event.position)
            except OUTAGES:
                raise
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
                raise Poison(event.position, f"can't be applied: {problem}") from error
