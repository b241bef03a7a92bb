"""Mail into a folder, for development: one .eml a message, which any mail program opens."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from application.mailing import Deliver, MailServerAway, Message


class FolderPost:
    """Implements application.mailing.Post. A mail has one file, however often it is written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Deliver]:
        """The folder, which is made."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise MailServerAway(f"the mail folder can't be made: {error.strerror}") from error
        yield self._deliver

    async def _deliver(self, message: Message) -> None:
        try:
            await asyncio.to_thread(_write, self._place(message.mail_id), message.data)
        except OSError as error:
            raise MailServerAway(f"the mail folder can't be written: {error.strerror}") from error

    def discard(self, mail_ids: Sequence[str]) -> None:
        """Delete the files of these mails, begun ones too."""
        for mail_id in mail_ids:
            place = self._place(mail_id)
            for path in (place, place.with_suffix(".part")):
                path.unlink(missing_ok=True)

    def _place(self, mail_id: str) -> Path:
        return self._folder / f"{mail_id}.eml"


def _write(place: Path, data: bytes) -> None:
    """The whole file or none, and on the disk."""
    begun = place.with_suffix(".part")
    descriptor = os.open(begun, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    begun.replace(place)
