"""Where limits per address are counted for all processes together: Redis or Valkey."""

import re

from limits.aio.storage import RedisStorage
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

CONNECTIONS = 32


class SharedStorage(RedisStorage):
    """Counters that all processes share, in Redis, or in Valkey, which speaks the same.

    `url` is redis://, rediss://, valkey:// or valkeys://. Nothing is opened before it is needed.
    """

    STORAGE_SCHEME = ["async+tollhouse-redis"]

    def __init__(self, url: str, *, patience_seconds: float) -> None:
        # One retry at once, for connections that the server has closed; the rest of the patience
        # is the caller's.
        self._pool = BlockingConnectionPool.from_url(
            re.sub("^valkey", "redis", url),  # the scheme only: hosts are often called so, too
            max_connections=CONNECTIONS,
            timeout=patience_seconds,
            socket_connect_timeout=patience_seconds,
            socket_timeout=patience_seconds,
            retry=Retry(NoBackoff(), 1),
        )
        super().__init__(
            "redis://",
            implementation="redispy",
            key_prefix="tollhouse",
            connection_pool=self._pool,  # type: ignore[arg-type]  # which the library documents
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.aclose()
