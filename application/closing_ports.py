"""What closing and erasing need from the outside: who is due, what is there, the ledger."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """An account was erased: there in the log, then. All that is kept of it outside."""

    account_id: str
    erased_at: datetime
    position: int


class Closings(Protocol):
    """Which accounts are to be erased, and what there is of them."""

    async def due(self, now: datetime, limit: int) -> list[str]:
        """Accounts whose time is over by now, the longest first."""
        ...

    async def held_of(self, account_id: str) -> dict[str, int]:
        """How many rows there are about the person, by what they are."""
        ...

    async def erased_after(self, position: int, limit: int) -> list[Erasure]:
        """Erasures after this position of the log, in its order."""
        ...

    async def held_claims(self, digests: Sequence[bytes]) -> frozenset[bytes]:
        """Which of these claims somebody holds."""
        ...

    async def sweep(self, now: datetime) -> None:
        """Delete what was on its way while its person was erased, and came to lie behind that."""
        ...

    async def prune(self, now: datetime) -> dict[str, int]:
        """Delete what has expired and is of no use any more; how much of what."""
        ...


class ErasureLedger(Protocol):
    """Who was erased, kept apart from the database: a backup of the one never has to be a backup
    of the other, so whoever restores an old dump erases these again."""

    async def write(self, erasures: list[Erasure]) -> None:
        """Keep these; on disk when it returns. Those that are there already stay as they are."""
        ...

    async def read(self) -> list[Erasure]:
        """All that are kept."""
        ...


class NoLedger:
    """Keeps nothing: for where there is no disk to keep it on."""

    async def write(self, erasures: list[Erasure]) -> None:
        """Nothing is kept."""

    async def read(self) -> list[Erasure]:
        """Nothing was kept."""
        return []
