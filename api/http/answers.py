"""What a route answers: JSON of a declared shape, and times as everybody reads them."""

from datetime import UTC, datetime

import msgspec
from litestar import Response

from api.http.problems import HttpProblem

NO_NUL = "^[^\\u0000]*$"
"""Postgres can't hold U+0000 in text, so no text of ours has it."""

SOMETHING = "^[^\\u0000]*[^\\u0000\\s][^\\u0000]*$"
"""The same, and not only blanks."""

JSON = "application/json"


class Answer(msgspec.Struct, frozen=True):
    """The answer to a command, as it is sent, and as it is kept for its Idempotency-Key."""

    status: int
    body: bytes = b""
    location: str | None = None


def answer(status: int, content: msgspec.Struct, location: str | None = None) -> Answer:
    """`content` as JSON; `location` is where what was made can be read."""
    return Answer(status, msgspec.json.encode(content), location)


NO_CONTENT = Answer(204)


def shown(content: msgspec.Struct, status: int = 200) -> Response[bytes]:
    """The answer to a read."""
    return Response(msgspec.json.encode(content), status_code=status, media_type=JSON)


def instant(unix_seconds: float) -> datetime:
    """An instant as answers have it: RFC 3339 in UTC once it is encoded."""
    return datetime.fromtimestamp(unix_seconds, UTC)


def in_utc(given: datetime, param: str) -> datetime:
    """An instant that a body gives, in UTC. HttpProblem without a time zone or outside of
    the years 2 to 9998.

    Others can't be told as a date any more once rounding or a time zone has moved them.
    """
    if given.tzinfo is None:
        detail = "An instant needs a time zone, as in 2030-01-31T00:00:00Z."
        raise HttpProblem("INVALID_REQUEST", detail, param=param)
    if not 2 <= given.year <= 9998:
        raise HttpProblem("INVALID_REQUEST", "Years 2 to 9998.", param=param)
    return given.astimezone(UTC)
