"""Publishes a log to JetStream: every event once, in order, from what the stream has.

The stream's last message says where to go on; the checkpoint in Postgres follows the acks and
is there to show the lag. NATS being away delays publication and nothing else.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import nats
import nats.errors
import structlog
from nats.aio.client import Client

from domain.event import Recorded
from infra.followers import Hold, Log, Poison
from infra.nats.logs import confirmed
from infra.nats.pipeline import TOO_LARGE, Interrupted, Pipeline
from infra.nats.repair import Repair, Standing
from infra.nats.streams import Refused, Stream
from projections.publication import EVENTS_SUBJECTS, USAGE_SUBJECT, Message, message

log = structlog.get_logger()

STREAMS: dict[Log, tuple[str, str]] = {
    "decisions": ("TOLLHOUSE_EVENTS", EVENTS_SUBJECTS),
    "usage": ("TOLLHOUSE_USAGE", USAGE_SUBJECT),
}
PAGES: dict[Log, int] = {"decisions": 500, "usage": 100}
GATHER_SECONDS: dict[Log, float] = {"decisions": 0.0, "usage": 0.02}

LOOK_SECONDS = 10.0
CLOSE_SECONDS = 2.0
ADVANCE_SECONDS = 1.0
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 2.0
HEADERS_BYTES = 1024
"""More than our headers ever take: both count against the server's limit."""

AWAY = (nats.errors.Error, OSError, TimeoutError, Refused, Interrupted)
"""What publication waits out: the server is gone, refuses, or has another stream now."""


class Unreachable(nats.errors.Error):
    """No server of the url takes the connection."""


class PublisherJob:
    """Implements infra.followers.Job for one log.

    `log_id` is that of the log as NATS knows it (the usage log's ends in `u`).
    `max_age_seconds` is for the creation of the stream; None keeps messages for ever. The
    stream is looked at every `look_seconds`, and whenever a publish fails.
    """

    def __init__(
        self,
        name: str,
        log: Log,
        log_id: str,
        nats_url: str,
        max_age_seconds: float | None,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._name = name
        self._log: Log = log
        self._log_id = log_id
        self._nats_url = nats_url
        self._max_age_seconds = max_age_seconds
        self._look_seconds = look_seconds
        self._told: str | None = None

    @property
    def name(self) -> str:
        """The follower's."""
        return self._name

    @property
    def log(self) -> Log:
        """The log that it publishes."""
        return self._log

    async def run(self, hold: Hold) -> None:
        """Publish for ever. Raises only for what concerns the hold, and Poison."""
        pauses = _Pauses()
        await hold.commit_lazily()  # the stream knows better
        while True:
            try:
                async with _connected(self._nats_url) as client:
                    await self._publish(hold, client, pauses)
            except AWAY as error:
                self._tell(error)
            # Who doesn't hold the follower any more hears of it here, NATS or no NATS.
            async with confirmed(hold, hold.position):
                pass
            await asyncio.sleep(pauses.next())

    async def _publish(self, hold: Hold, client: Client, pauses: "_Pauses") -> None:
        """Look, publish, look again, until the connection is of no use."""
        name, subjects = STREAMS[self._log]
        stream = Stream(client, name, subjects, self._max_age_seconds)
        repair = Repair(stream, hold, self._log_id)
        while True:
            standing = await repair.look()
            async with confirmed(hold, standing.position):
                pass
            pipeline = Pipeline(client, name, self._log_id)
            try:
                await self._follow(hold, client, pipeline, standing)
                self._well()
                pauses.reset()
            except Interrupted as trouble:
                if trouble.code in TOO_LARGE:
                    raise Poison(trouble.position, f"{name} refuses it: {trouble}") from trouble
                self._tell(trouble)
                if trouble.duplicate and (await repair.look()).position < trouble.position:
                    await stream.forget_ids()
                if pipeline.acked is not None:
                    pauses.reset()
                await asyncio.sleep(pauses.next())
            finally:
                await pipeline.close()

    async def _follow(
        self, hold: Hold, client: Client, pipeline: Pipeline, standing: Standing
    ) -> None:
        """Publish what comes after, until it is time to look again."""
        look_at = time.monotonic() + self._look_seconds
        advance_at = 0.0
        page, gather_seconds = PAGES[self._log], GATHER_SECONDS[self._log]
        steps = hold.steps(after=standing.position, page=page, gather_seconds=gather_seconds)
        assert isinstance(steps, AsyncGenerator)
        async with aclosing(steps):
            try:
                async for step in steps:
                    for event in step.events:
                        await self._send(pipeline, self._message(event, client), standing)
                    idle = step.at_end and not step.events
                    look = time.monotonic() >= look_at
                    if step.at_end or look:
                        await pipeline.drain()
                    if client.is_closed:
                        raise nats.errors.ConnectionClosedError
                    if idle or look or time.monotonic() >= advance_at:
                        await self._advance(hold, pipeline)
                        advance_at = time.monotonic() + ADVANCE_SECONDS
                    if look:
                        return
            except Poison:
                await pipeline.drain()
                await self._advance(hold, pipeline)
                raise

    async def _send(self, pipeline: Pipeline, each: Message, standing: Standing) -> None:
        if pipeline.started:
            await pipeline.send(each)
        else:
            await pipeline.start(each, standing.last_sequence, standing.last_id)

    def _message(self, event: Recorded, client: Client) -> Message:
        made = message(event, self._log_id)
        if len(made.body) + HEADERS_BYTES > client.max_payload:
            raise Poison(
                event.position,
                f"its message has {len(made.body)} bytes, too many for NATS, which takes "
                f"{client.max_payload} with headers: raise max_payload on the NATS server",
            )
        return made

    async def _advance(self, hold: Hold, pipeline: Pipeline) -> None:
        if pipeline.acked is not None and pipeline.acked != hold.position:
            async with confirmed(hold, pipeline.acked):
                pass

    def _tell(self, problem: Exception) -> None:
        """Say once what publication waits for, not at every try."""
        kind = f"{type(problem).__name__} {getattr(problem, 'code', '')}"
        if kind != self._told:
            self._told = kind
            text = str(problem) or type(problem).__name__
            log.warning("publication waits", follower=self._name, problem=text)

    def _well(self) -> None:
        if self._told is not None:
            self._told = None
            log.info("publication goes on", follower=self._name)


class _Pauses:
    """Longer and longer, until something was published. Two that contend don't keep step."""

    def __init__(self) -> None:
        self._pause = FIRST_PAUSE_SECONDS

    def next(self) -> float:
        pause, self._pause = self._pause, min(self._pause * 2, LONGEST_PAUSE_SECONDS)
        return pause * random.uniform(0.5, 1.0)  # noqa: S311 - nothing is kept secret by it

    def reset(self) -> None:
        self._pause = FIRST_PAUSE_SECONDS


@contextlib.asynccontextmanager
async def _connected(url: str) -> AsyncIterator[Client]:
    """A connection that ends when the server goes: what follows then begins with a look."""
    problems: list[Exception] = []

    async def note(error: Exception) -> None:
        problems[:] = [error]

    try:
        client = await nats.connect(
            url,
            name="tollhouse publisher",
            allow_reconnect=False,
            connect_timeout=2,
            max_reconnect_attempts=1,  # of the first connection: 0 would be for ever
            reconnect_time_wait=0.1,
            ping_interval=5,
            max_outstanding_pings=2,
            error_cb=note,
        )
    except nats.errors.NoServersError:
        reason = problems[-1] if problems else "no address"
        raise Unreachable(f"NATS can't be reached: {reason}") from None
    try:
        yield client
    finally:
        with contextlib.suppress(*AWAY):
            async with asyncio.timeout(CLOSE_SECONDS):
                await client.close()
