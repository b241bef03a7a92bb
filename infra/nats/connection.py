"""One connection to NATS that never gives up, and never holds anything else up."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog
from nats import errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

log = structlog.get_logger()

RETRY_SECONDS = 1.0
LOOK_SECONDS = 5.0
CLOSE_SECONDS = 2.0


class SteadyClient(Client):
    """nats-py's client without four faults of 2.16.

    A subject of a reply that is not UTF-8, which the server passes on, ends its reading for good:
    one message of anybody who may send one. Here such a message is dropped. So does a status in
    front of its headers that is not UTF-8: here it counts as having none.

    So does a PONG that comes after who waited for it gave up.

    The PING of `flush` overtakes what waits to be written, so that `drain` may throw away
    messages that were delivered: `stop_taking` doesn't.
    """

    async def sent(self) -> None:
        """Return when the server has read all that was published before. errors.Error."""
        await self.flush()  # what waits is written meanwhile, and the next PING comes behind it
        await self.flush()

    async def stop_taking(self, subscriptions: Sequence[Subscription]) -> None:
        """Be sent nothing more of these, and let what was sent be taken."""
        for each in subscriptions:
            await self._send_unsubscribe(each._id)
        await self.sent()
        while any(each.pending_msgs for each in subscriptions):  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.001)

    def _build_message(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None
    ) -> Msg | None:
        try:
            built: Msg = super()._build_message(sid, subject, reply, data, headers)
        except UnicodeDecodeError:
            return None
        return built

    async def _process_headers(self, headers: bytes) -> dict[str, str] | None:
        try:
            found: dict[str, str] | None = await super()._process_headers(headers)
        except (UnicodeDecodeError, IndexError):
            return None
        return found

    async def _process_pong(self) -> None:
        if self._pongs and self._pongs[0].done():
            self._pongs.pop(0)
            self._pings_outstanding = 0
        else:
            await super()._process_pong()


class NatsLink:
    """Connects in the background; `connected` says how it stands.

    `on_slow` hears of messages that a subscription had no room for. It must not wait.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: SteadyClient | None = None
        self._changed = asyncio.Event()
        self._lost = asyncio.Event()
        self.on_slow: Callable[[Client, errors.SlowConsumerError], Awaitable[None]] | None = None

    @property
    def connected(self) -> bool:
        """Whether the server is there now."""
        return self._client is not None and self._client.is_connected

    async def client_after(self, previous: SteadyClient | None) -> SteadyClient:
        """The client, once there is one that isn't `previous`. It keeps its subscriptions
        while the server comes and goes; only one that can't go on is replaced."""
        while self._client is None or self._client is previous:
            self._changed.clear()
            await self._changed.wait()
        return self._client

    async def run(self) -> None:
        """Connect, and stay connected, until cancelled."""
        try:
            while True:
                self._lost.clear()
                self._client = await self._connect()
                self._changed.set()
                await self._watch(self._client)
                await _close(self._client)
        finally:
            if self._client is not None:
                await _close(self._client)

    async def _connect(self) -> SteadyClient:
        while True:
            client = SteadyClient()
            try:
                await client.connect(
                    self._url,
                    name="tollhouse",
                    connect_timeout=2,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=0.5,  # type: ignore[arg-type]  # slept as it is
                    flush_timeout=2,
                    error_cb=self._on_error,
                    closed_cb=self._on_closed,
                )
            except Exception as error:
                log.warning("NATS does not answer", error=str(error))
                await _close(client)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return client

    async def _watch(self, client: Client) -> None:
        """Return when this client can't go on: it was closed, or it says that it is connected
        and hears nothing."""
        while not self._lost.is_set():
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._lost.wait()
            except TimeoutError:
                if client.is_connected and not await _answers(client):
                    log.warning("NATS is connected and silent; connecting anew")
                    return

    async def _on_closed(self) -> None:
        self._lost.set()

    async def _on_error(self, error: Exception) -> None:
        """The client retries by itself; its state is what health shows."""
        if isinstance(error, errors.SlowConsumerError):
            if self.on_slow is not None and self._client is not None:
                await self.on_slow(self._client, error)
        elif "permissions violation" in str(error).lower():
            log.warning("NATS refuses what this user may not do", error=str(error))


async def _answers(client: Client) -> bool:
    try:
        await client.rtt(timeout=int(LOOK_SECONDS))
    except errors.TimeoutError:
        return not client.is_connected  # it has noticed by itself, and connects again
    except errors.Error:
        return True
    return True


async def _close(client: Client) -> None:
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await client.close()
    except Exception as error:
        log.warning("NATS could not be closed in order", error=str(error))
