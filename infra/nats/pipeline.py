"""Many publishes under way at once, and their acks counted in order.

A message is accepted only right behind its predecessor (`Nats-Expected-Last-Msg-Id`), so one
that fails takes all behind it along, and what was accepted is always a run without gaps.
"""

import asyncio
import contextlib
import json
from collections import deque

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from projections.publication import CONTENT_TYPE, Message

MOST_MESSAGES = 500
MOST_BYTES = 4 * 1024 * 1024
ACK_SECONDS = 5.0

TOO_LARGE = (10054,)


class Interrupted(Exception):
    """The stream isn't as it was believed to be, or doesn't answer: look at it again.

    `position` is that of the message that was not accepted; `duplicate`: the server said
    that it had this message already.
    """

    def __init__(
        self, problem: str, position: int = 0, code: int = 0, duplicate: bool = False
    ) -> None:
        super().__init__(problem)
        self.position = position
        self.code = code
        self.duplicate = duplicate


class Pipeline:
    """Publishes to one stream, from one look at it to the next.

    `acked` is the position of the last message that the stream has, None before the first.
    """

    def __init__(self, client: Client, stream: str, log_id: str) -> None:
        self._client = client
        self._fixed = {
            "Content-Type": CONTENT_TYPE,
            "Tollhouse-Log": log_id,
            "Nats-Expected-Stream": stream,
        }
        self._inbox = client.new_inbox()
        self._waiting: deque[tuple[str, int, int]] = deque()  # reply subject, position, bytes
        self._bytes = 0
        self._sent = 0
        self._last_id: str | None = None
        self._trouble: Interrupted | None = None
        self._moved = asyncio.Event()
        self._subscription: Subscription | None = None
        self.acked: int | None = None

    @property
    def started(self) -> bool:
        """Whether the first one was published."""
        return self._last_id is not None

    async def start(self, first: Message, last_sequence: int, last_id: str | None) -> None:
        """Publish the first one, and wait for it: whether all is as believed shows here."""
        self._subscription = await self._client.subscribe(f"{self._inbox}.*", cb=self._answered)
        expected = {"Nats-Expected-Last-Sequence": str(last_sequence)}
        if last_id is not None:
            expected["Nats-Expected-Last-Msg-Id"] = last_id
        await self._publish(first, expected)
        await self.drain()

    async def send(self, message: Message) -> None:
        """Publish behind the one before. Raises Interrupted for this or any earlier one."""
        while self._waiting and (
            len(self._waiting) >= MOST_MESSAGES or self._bytes + len(message.body) > MOST_BYTES
        ):
            await self._progress()
        assert self._last_id is not None
        await self._publish(message, {"Nats-Expected-Last-Msg-Id": self._last_id})

    async def drain(self) -> None:
        """Wait until the stream has all that was sent. Raises Interrupted."""
        while self._waiting:
            await self._progress()
        if self._trouble is not None:
            raise self._trouble

    async def close(self) -> None:
        """Listen for no more acks."""
        if self._subscription is not None and not self._client.is_closed:
            with contextlib.suppress(nats.errors.Error):
                await self._subscription.unsubscribe()

    async def _publish(self, message: Message, expected: dict[str, str]) -> None:
        if self._trouble is not None:
            raise self._trouble
        self._sent += 1
        reply = f"{self._inbox}.{self._sent}"
        self._waiting.append((reply, message.position, len(message.body)))
        self._bytes += len(message.body)
        self._last_id = message.id
        headers = {
            "Nats-Msg-Id": message.id,
            "Tollhouse-Position": message.id,
            **self._fixed,
            **expected,
        }
        await self._client.publish(message.subject, message.body, reply=reply, headers=headers)

    async def _progress(self) -> None:
        if self._trouble is not None:
            raise self._trouble
        self._moved.clear()
        try:
            async with asyncio.timeout(ACK_SECONDS):
                await self._moved.wait()
        except TimeoutError:
            raise Interrupted("NATS does not answer", self._waiting[0][1]) from None

    async def _answered(self, answer: Msg) -> None:
        self._moved.set()
        if self._trouble is not None or not self._waiting:
            return
        reply, position, size = self._waiting.popleft()
        self._bytes -= size
        self._trouble = _trouble(answer, reply, position)
        if self._trouble is None:
            self.acked = position


def _trouble(answer: Msg, reply: str, position: int) -> Interrupted | None:
    if answer.subject != reply:
        return Interrupted("acks came out of order", position)
    if not answer.data:  # the status is in a header: nobody takes this subject
        return Interrupted("no stream takes this subject", position)
    if b'"error"' not in answer.data and b'"duplicate"' not in answer.data:
        return None
    document = json.loads(answer.data)
    if error := document.get("error"):
        return Interrupted(error.get("description", "refused"), position, error.get("err_code", 0))
    return Interrupted("the server had this id already", position, duplicate=True)
