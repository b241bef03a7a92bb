"""Verifications that wait without a task of their own.

A coroutine for each request costs more than the verification does. Where everything is known
when a request arrives, it is judged and put into the open batch at once, and whoever settles the
batch hands the verdict to `reply`.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog

from application.asks import Ask, Decided
from application.batches import Batch
from application.verdicts import State, Verdict
from domain.verification import GRANTED

log = structlog.get_logger()

Reply = Callable[[Verdict | Exception], None]
"""Takes what became of a verification; called once."""

_again: set[asyncio.Task[None]] = set()


class Counting(Protocol):
    """What a begun verification needs of the verifier."""

    def told(self, begun: "Begun", reason: int, left: list[State]) -> Verdict: ...

    async def count_again(self, begun: "Begun", reason: int) -> Verdict: ...


class Begun:
    """A verification whose row is in a batch. It takes the place of the row's future."""

    __slots__ = ("answered", "ask", "batch", "decided", "reply", "request_id", "row", "verifier")

    def __init__(
        self,
        verifier: Counting,
        ask: Ask,
        decided: Decided,
        batch: Batch,
        row: int,
        request_id: str,
        reply: Reply,
    ) -> None:
        self.verifier = verifier
        self.ask = ask
        self.decided = decided
        self.batch = batch
        self.row = row
        self.request_id = request_id
        self.reply = reply
        self.answered = False

    def done(self) -> bool:
        """Whether the row has its answer; nobody stops waiting before."""
        return self.answered

    def set_result(self, result: tuple[int, list[State]]) -> None:
        """What the counters said. Who has to ask again gets a task after all."""
        self.answered = True
        reason, left = result
        if reason >= GRANTED:
            self._say(self.verifier.told(self, reason, left))
            return
        task = asyncio.get_running_loop().create_task(self._ask_again(reason))
        _again.add(task)
        task.add_done_callback(_again.discard)

    def set_exception(self, error: Exception) -> None:
        """It did not work."""
        self.answered = True
        self._say(error)

    async def _ask_again(self, reason: int) -> None:
        try:
            verdict = await self.verifier.count_again(self, reason)
        except Exception as error:
            self._say(error)
        else:
            self._say(verdict)

    def _say(self, answer: Verdict | Exception) -> None:
        # The others of the batch wait behind this one: it must not fail them.
        try:
            self.reply(answer)
        except Exception:
            log.exception("an answer could not be given", request_id=self.request_id)
