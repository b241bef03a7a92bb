"""Verifications that wait without a task of their own.

A coroutine for each request is a good part of what a request costs. Where everything is known
when it arrives, it is judged and put into the open batch at once, and whoever settles the batch
hands the verdict to `reply`.
"""

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


class Counting(Protocol):
    """What a begun verification needs of the verifier."""

    def told(self, begun: "Begun", reason: int, left: list[State]) -> Verdict: ...

    def ask_again(self, begun: "Begun", reason: int) -> None:
        """Count it anew in a task, and `answer` it."""
        ...


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
            self.answer(self.verifier.told(self, reason, left))
        else:
            self.verifier.ask_again(self, reason)

    def set_exception(self, error: Exception) -> None:
        """It did not work."""
        self.answered = True
        self.answer(error)

    def answer(self, answer: Verdict | Exception) -> None:
        """Hand it to who waits."""
        # The others of the batch wait behind this one: it must not fail them.
        try:
            self.reply(answer)
        except Exception:
            log.exception("an answer could not be given", request_id=self.request_id)
