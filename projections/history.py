"""The read model `history`: what happened in each stream, by whom, without what is personal.

The reason of an event is personal: it stays in the log, sealed, and whoever may see it reads
it there. So erasing a person needs no change here.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

import msgspec

from domain.event import Recorded, disclosed, stored_name

if TYPE_CHECKING:  # slow to import, and the command line only wants names
    import psycopg

_COPY = b"""
COPY history (position, stream, version, noun, type, at, account_id, actor, request_id, cause, data,
    latest, straggler)
FROM STDIN
"""
_LATEST = b"SELECT max(latest) FROM history"
_LATE = timedelta(seconds=10)
_NEVER = datetime.min.replace(tzinfo=UTC)
_ENCODER = msgspec.json.Encoder()
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_PLAIN = re.compile(r"[^\\\t\n\r]*").fullmatch


class History:
    """Implements projections.read_model.ReadModel on the table history: a row an event."""

    name = "history"
    log: Literal["decisions"] = "decisions"
    nouns = ()
    tables = ("history",)
    gather_seconds = 0.0

    async def apply(
        self, connection: "psycopg.AsyncConnection", events: Sequence[Recorded]
    ) -> None:
        """Append them by COPY: the fastest way, and there is nothing to merge with.

        `latest` is the highest instant of the log up to an event: it only rises, and so tells
        where in the log a stretch of time is (infra/postgres/log_pages.py).
        """
        row = await (await connection.execute(_LATEST)).fetchone()
        latest = (row and row[0]) or _NEVER
        lines = []
        for event in events:
            latest = max(latest, event.metadata.at)
            lines.append(_line(event, latest))
        async with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
            await copy.write("".join(lines))


def _line(event: Recorded, latest: datetime) -> str:
    """A row in COPY's text format. Names of events need no escaping."""
    metadata = event.metadata
    name = stored_name(type(event.event))
    fields = (
        str(event.position),
        _text(event.stream),
        str(event.version),
        name.partition(".")[0],
        name,
        metadata.at.isoformat(),
        _text(event.account_id),
        _text(metadata.actor),
        _text(metadata.request_id),
        _text(metadata.cause),
        _text(_ENCODER.encode(disclosed(event.event)).decode()),
        latest.isoformat(),
        "t" if metadata.at < latest - _LATE else "f",
    )
    return "\t".join(fields) + "\n"


def _text(value: str | None) -> str:
    if value is None:
        return "\\N"
    return value if _PLAIN(value) else value.translate(_ESCAPES)
