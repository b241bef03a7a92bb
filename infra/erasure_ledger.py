"""The erasure ledger: a folder with one small file for each account that was erased.

Apart from the database, so that no dump and no restore takes it back. A file is written under
another name and linked into place, so there is never half of one; writing it again changes
nothing, whichever process does.
"""

import asyncio
import contextlib
import os
import secrets
from pathlib import Path

import msgspec

from application.closing_ports import Erasure
from application.errors import StoreUnavailable

FOLDER = "erasures"
_ENTRY = msgspec.json.Decoder(Erasure)


class FolderLedger:
    """Implements application.closing_ports.ErasureLedger. The folder is made when needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def write(self, erasures: list[Erasure]) -> None:
        """Keep these; on disk when it returns. StoreUnavailable where the disk takes nothing:
        whoever waits for a receipt is told to come again, and housekeeping writes it meanwhile."""
        try:
            await asyncio.to_thread(self._write, erasures)
        except OSError as error:
            raise StoreUnavailable(f"the erasure ledger takes nothing: {error}") from error

    async def read(self) -> list[Erasure]:
        """All that are kept. msgspec.DecodeError for a file that is no entry: whoever restores
        must not go on without it."""
        return await asyncio.to_thread(self._read)

    def _write(self, erasures: list[Erasure]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for each in erasures:
            place = self._folder / f"{each.account_id}.json"
            if place.exists():
                continue
            part = self._folder / f".{secrets.token_hex(8)}.part"
            with part.open("xb") as file:
                file.write(msgspec.json.encode(each) + b"\n")
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(part, place)
            part.unlink()
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _read(self) -> list[Erasure]:
        return [_ENTRY.decode(file.read_bytes()) for file in sorted(self._folder.glob("*.json"))]
