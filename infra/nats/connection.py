"""One connection to NATS that never gives up, and never holds anything else up."""

import asyncio

import nats
import structlog
from nats.aio.client import Client

log = structlog.get_logger()

RETRY_SECONDS = 1.0


class NatsLink:
    """Connects in the background; `connected` says how it stands."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: Client | None = None

    @property
    def connected(self) -> bool:
        """Whether the server is there now."""
        return self._client is not None and self._client.is_connected

    async def run(self) -> None:
        """Connect, and stay connected, until cancelled."""
        try:
            while self._client is None:
                try:
                    self._client = await nats.connect(
                        self._url,
                        name="tollhouse",
                        connect_timeout=2,
                        max_reconnect_attempts=-1,
                        reconnect_time_wait=0.5,
                        error_cb=_ignore,
                    )
                except Exception as error:
                    log.warning("NATS does not answer", error=str(error))
                    await asyncio.sleep(RETRY_SECONDS)
            await asyncio.Event().wait()
        finally:
            if self._client is not None:
                await self._client.close()


async def _ignore(error: Exception) -> None:
    """The client retries by itself; its state is what health shows."""
