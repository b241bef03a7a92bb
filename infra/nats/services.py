"""A service over NATS: subscribes in a queue group, and answers what comes.

It speaks the services protocol of NATS (ADR-32: `$SRV.PING`, `$SRV.INFO`, `$SRV.STATS`) with the
documents of `nats.micro`, but subscribes itself. `nats.micro` awaits each request of an endpoint
before the next one, so that no group of verifications could form; it bounds nothing, counts only
what it awaited, and throws away what waits when it stops.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from time import perf_counter_ns
from typing import Any, NamedTuple, Protocol

import structlog
from nats import errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.micro.request import ERROR_CODE_HEADER, ERROR_HEADER
from nats.micro.service import (
    EndpointInfo,
    EndpointStats,
    ServiceInfo,
    ServicePing,
    ServiceStats,
    ServiceVerb,
    control_subject,
)

from application.ending import ended
from infra.nats.connection import NatsLink, SteadyClient

MOST_IN_WORK = 2048
MOST_BYTES_IN_WORK = 64 * 1024 * 1024
MOST_WAITING = 4096
MOST_UNSENT_BYTES = 1024 * 1024
# With HTTP's own 5 s and the last flush it must fit the 10 s that a supervisor waits.
GRACE_SECONDS = 3.0

log = structlog.get_logger()


class Answered(Protocol):
    """An answer: its data, and headers that say so if it is an error."""

    @property
    def data(self) -> bytes: ...

    @property
    def headers(self) -> dict[str, str]: ...


class Served(Protocol):
    """A subject that is served, and what $SRV.INFO says of it."""

    @property
    def name(self) -> str: ...

    @property
    def subject(self) -> str: ...

    @property
    def metadata(self) -> dict[str, str]: ...


class Answering(Protocol):
    """What a service does. Implemented by api.nats.services."""

    @property
    def endpoints(self) -> Sequence[Served]: ...

    def answer(
        self, subject: str, headers: Mapping[str, str] | None, data: bytes
    ) -> Awaitable[Answered]:
        """Raises nothing."""
        ...

    def overloaded(self, subject: str, headers: Mapping[str, str] | None) -> Answered:
        """What is answered where there is no room for another request."""
        ...


class Described(NamedTuple):
    """How the service calls itself."""

    name: str
    version: str
    description: str
    queue: str


class Counts:
    """What $SRV.STATS tells of one endpoint."""

    __slots__ = ("errors", "last_error", "nanoseconds", "no_inbox", "overloaded", "requests")

    def __init__(self) -> None:
        self.requests = self.errors = self.nanoseconds = 0
        self.overloaded = self.no_inbox = 0
        self.last_error = ""

    def shown(self, endpoint: Served, queue: str) -> EndpointStats:
        """As the protocol has it; our own counts in `data`."""
        judged = self.requests - self.overloaded - self.no_inbox
        return EndpointStats(
            name=endpoint.name,
            subject=endpoint.subject,
            queue_group=queue,
            num_requests=self.requests,
            num_errors=self.errors,
            processing_time=self.nanoseconds,
            average_processing_time=self.nanoseconds // max(judged, 1),
            last_error=self.last_error,
            data={"overloaded": self.overloaded, "without_inbox": self.no_inbox},
        )


class Services:
    """Serves `answering` on every client that `link` makes, until `stop`.

    Each request is a task of its own. So many at most are in work, with so many bytes; who comes
    then is told so at once. A request without an inbox to answer to is not carried out.
    """

    def __init__(
        self,
        link: NatsLink,
        described: Described,
        answering: Answering,
        *,
        most_in_work: int = MOST_IN_WORK,
        most_bytes_in_work: int = MOST_BYTES_IN_WORK,
    ) -> None:
        self._link = link
        self._described = described
        self._answering = answering
        self._most_in_work = most_in_work
        self._most_bytes = most_bytes_in_work
        self._bytes = 0
        self._work: set[asyncio.Task[None]] = set()
        self._counts = {each.subject: Counts() for each in answering.endpoints}
        self._client: SteadyClient | None = None
        self._subscriptions: list[Subscription] = []
        self._started = datetime.now(UTC)
        self.id = ""

    async def run(self) -> None:
        """Subscribe on each new client, until cancelled."""
        self._link.on_slow = self._too_slow
        while True:
            client = await self._link.client_after(self._client)
            self._client = client
            try:
                await self._subscribe(client)
            except Exception as error:
                log.warning("commands can't be served over NATS", error=str(error))
                await client.close()  # the link makes another one
            else:
                log.info("commands are served over NATS", service=self._described.name)

    async def stop(self, grace_seconds: float = GRACE_SECONDS) -> None:
        """Take nothing more, end what is in work, and send the answers; what takes longer than
        the grace is broken off."""
        try:
            async with asyncio.timeout(grace_seconds):
                client = self._client
                if client is not None and client.is_connected:
                    await client.stop_taking(self._subscriptions)
                while self._work:
                    await asyncio.wait(self._work)
                if client is not None and client.is_connected:
                    await client.sent()
        except (TimeoutError, errors.Error) as error:
            log.warning("commands were broken off", left=len(self._work), error=str(error))
        for task in self._work:
            task.cancel()

    async def _subscribe(self, client: SteadyClient) -> None:
        self.id = client._nuid.next().decode()  # as nats.micro does
        self._started = datetime.now(UTC)
        self._subscriptions = []
        for each in self._answering.endpoints:
            self._subscriptions.append(
                await client.subscribe(
                    each.subject,
                    queue=self._described.queue,
                    cb=partial(self._take, client),
                    pending_msgs_limit=MOST_WAITING,
                    pending_bytes_limit=self._most_bytes,
                )
            )
        shown: dict[ServiceVerb, Callable[[], dict[str, Any]]] = {
            ServiceVerb.PING: self.ping,
            ServiceVerb.INFO: self.info,
            ServiceVerb.STATS: self.stats,
        }
        name = self._described.name
        for verb, show in shown.items():
            for whom in ((None, None), (name, None), (name, self.id)):
                subject = control_subject(verb, *whom)
                callback = partial(self._tell, client, show)
                self._subscriptions.append(
                    await client.subscribe(subject, cb=callback, pending_msgs_limit=MOST_WAITING)
                )
        await client.sent()

    async def _take(self, client: Client, message: Msg) -> None:
        counts = self._counts[message.subject]
        counts.requests += 1
        if not _is_inbox(message.reply):
            counts.no_inbox += 1
            return
        size = len(message.data)
        if len(self._work) >= self._most_in_work or self._bytes + size > self._most_bytes:
            await self._refuse(client, message.subject, message.reply, message.headers)
            return
        self._bytes += size
        task = asyncio.create_task(self._answer(client, message, counts))
        self._work.add(task)
        task.add_done_callback(partial(self._done, size))

    async def _answer(self, client: Client, message: Msg, counts: Counts) -> None:
        began = perf_counter_ns()
        reply = await self._answering.answer(message.subject, message.headers, message.data)
        if ERROR_CODE_HEADER in reply.headers:
            counts.errors += 1
            counts.last_error = reply.headers[ERROR_HEADER]
        counts.nanoseconds += perf_counter_ns() - began
        await _send(client, message.reply, reply)

    def _done(self, size: int, task: asyncio.Task[None]) -> None:
        self._work.discard(task)
        self._bytes -= size

    async def _refuse(
        self, client: Client, subject: str, inbox: str, headers: Mapping[str, str] | None
    ) -> None:
        """Say that there is no room. If the server doesn't take what is sent already, there is
        nobody to tell, and nothing waits for it."""
        counts = self._counts[subject]
        reply = self._answering.overloaded(subject, headers)
        counts.overloaded += 1
        counts.errors += 1
        counts.last_error = reply.headers[ERROR_HEADER]
        if client.is_connected and client.pending_data_size < MOST_UNSENT_BYTES:
            await _send(client, inbox, reply)

    async def _too_slow(self, client: Client, error: errors.SlowConsumerError) -> None:
        if error.subject in self._counts and _is_inbox(error.reply):
            self._counts[error.subject].requests += 1
            await self._refuse(client, error.subject, error.reply, None)

    async def _tell(self, client: Client, show: Callable[[], dict[str, Any]], message: Msg) -> None:
        if _is_inbox(message.reply) and client.pending_data_size < MOST_UNSENT_BYTES:
            await _send(client, message.reply, _Document(json.dumps(show()).encode()))

    def ping(self) -> dict[str, Any]:
        """What $SRV.PING answers."""
        return ServicePing(self.id, self._described.name, self._described.version).to_dict()

    def info(self) -> dict[str, Any]:
        """What $SRV.INFO answers."""
        described = self._described
        return ServiceInfo(
            id=self.id,
            name=described.name,
            version=described.version,
            description=described.description,
            endpoints=[
                EndpointInfo(each.name, each.subject, described.queue, each.metadata)
                for each in self._answering.endpoints
            ],
        ).to_dict()

    def stats(self) -> dict[str, Any]:
        """What $SRV.STATS answers: since the subscriptions were made."""
        return ServiceStats(
            id=self.id,
            name=self._described.name,
            version=self._described.version,
            started=self._started,
            endpoints=[
                self._counts[each.subject].shown(each, self._described.queue)
                for each in self._answering.endpoints
            ],
        ).to_dict()


@contextlib.asynccontextmanager
async def served(
    link: NatsLink, described: Described, answering: Answering
) -> AsyncIterator[Services]:
    """Serve meanwhile; leaving ends what is in work, in order."""
    services = Services(link, described, answering)
    running = asyncio.create_task(services.run())
    try:
        yield services
    finally:
        await ended(running)
        await services.stop()


class _Document(NamedTuple):
    data: bytes
    headers: dict[str, str] | None = None


async def _send(client: Client, inbox: str, reply: Answered | _Document) -> None:
    try:
        await client.publish(inbox, reply.data, headers=reply.headers)
    except errors.Error as error:
        # The caller's own timeout tells it, and its Idempotency-Key lets it ask again.
        log.warning("an answer could not be sent", error=str(error))


def _is_inbox(subject: str) -> bool:
    """Whether an answer may go there. Callers name the subject, and we may publish what they may
    not: the facts of our streams, commands. Inboxes (and what stands for them between accounts)
    begin with an underscore; nothing of ours or of the server's does."""
    return subject.startswith("_")
