"""Argon2id (RFC 9106) in niced worker processes behind a gate.

Hashing in this process would stop or halve verification (docs/adr); as many workers as
there are cores, at the lowest priority, leave it nearly alone. A worker holds its permit
until it is done, whether or not anybody still waits for it.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from application.challenge_ports import Strength
from application.errors import Overloaded
from infra import foreign_hashes
from infra.embedded.child import die_with_parent
from infra.password_strength import strength

T = TypeVar("T")

QUEUE = 32
PATIENCE_SECONDS = 2.0


class ArgonPasswords:
    """Implements application.ports.Passwords."""

    def __init__(self, memory_kib: int, time_cost: int, parallelism: int, permits: int) -> None:
        self._cost = (memory_kib, time_cost, parallelism)
        self._permits = permits
        # One more than there are workers: or each of them would wait for this process to hear of
        # its last hash before it gets the next.
        self._gate = asyncio.Semaphore(permits + 1)
        self._waiting = 0
        self._pool: ProcessPoolExecutor | None = None
        self._decoy: str | None = None

    async def hash(self, password: str) -> str:
        """The hash of a password, in PHC string format."""
        return await self._work(_hash, self._cost, password)

    async def verify(self, hash: str | None, password: str) -> bool:
        """Whether it is the password; nobody's password takes as long as somebody's."""
        if hash is None:
            if self._decoy is None:
                self._decoy = await self.hash("nobody's password")
            await self._work(_verify, self._cost, self._decoy, password)
            return False
        return await self._work(_verify, self._cost, hash, password)

    async def strength(self, password: str, words: Sequence[str]) -> Strength:
        """How hard it is to guess for who knows these words; judged where hashing is done, since
        a password can be made to take a third of a second."""
        return await self._work(strength, password, words)

    def needs_rehash(self, hash: str) -> bool:
        """Whether it was made elsewhere, or at another cost than is set now."""
        memory_kib, time_cost, parallelism = self._cost
        return not hash.startswith(f"$argon2id$v=19$m={memory_kib},t={time_cost},p={parallelism}$")

    def close(self) -> None:
        """End the workers."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    async def _work(self, call: Callable[..., T], *arguments: object) -> T:
        if self._waiting >= QUEUE:
            raise Overloaded("sign-in", retry_after_seconds=2)
        self._waiting += 1
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._gate.acquire()
        except TimeoutError:
            raise Overloaded("sign-in", retry_after_seconds=2) from None
        finally:
            self._waiting -= 1
        pool = self._pool
        try:
            if pool is None:
                pool = self._pool = ProcessPoolExecutor(
                    self._permits,
                    mp_context=get_context("spawn"),
                    initializer=_be_nice,
                    initargs=(os.getpid(),),
                )
            job = pool.submit(call, *arguments)
        except BrokenProcessPool:
            self._gate.release()
            raise self._broken(pool) from None
        loop = asyncio.get_running_loop()
        job.add_done_callback(lambda _: loop.call_soon_threadsafe(self._gate.release))
        try:
            return await asyncio.wrap_future(job)
        except BrokenProcessPool:
            raise self._broken(pool) from None

    def _broken(self, pool: ProcessPoolExecutor | None) -> Overloaded:
        if self._pool is pool:
            self._pool = None  # a worker was killed; the next call starts new ones
        return Overloaded("sign-in", retry_after_seconds=1)


def _be_nice(parent: int) -> None:
    os.nice(19)
    die_with_parent(signal.SIGKILL, parent)()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business


def _hasher(cost: tuple[int, int, int]) -> PasswordHasher:
    memory_kib, time_cost, parallelism = cost
    return PasswordHasher(
        time_cost=time_cost, memory_cost=memory_kib, parallelism=parallelism, type=Type.ID
    )


def _hash(cost: tuple[int, int, int], password: str) -> str:
    return _hasher(cost).hash(password.encode("utf-8", "surrogatepass"))


def _verify(cost: tuple[int, int, int], hash: str, password: str) -> bool:
    if not hash.startswith("$argon2id$"):
        return foreign_hashes.verify(hash, password)  # imported, and not signed in with yet
    try:
        return _hasher(cost).verify(hash, password.encode("utf-8", "surrogatepass"))
    except (VerificationError, InvalidHashError):
        return False
