"""Reading a body once, within bounds of size, time and form, before anything else sees it."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from urllib.parse import parse_qsl

from litestar.types import HTTPReceiveMessage, Receive, ReceiveMessage

from api.http import strict_json
from api.http.problems import HttpProblem

BODY_DEADLINE_SECONDS = 10.0

_KIB = 1024
_LARGE = frozenset(
    {"/v1/keys/import", "/v1/keys/verify-batch", "/v1/accounts/import", "/v1/messages"}
)
_FORMS = frozenset(
    {
        "/v1/auth/register",
        "/v1/auth/login",
        "/v1/auth/refresh",
        "/oauth/introspect",
        "/oauth/revoke",
    }
)
_FORM = "application/x-www-form-urlencoded"
# So much beyond the limit is still read and thrown away: a client that is answered in the middle
# of sending may see a reset connection instead of the answer.
_COURTESY = 1024 * _KIB
_CLOSE = {"connection": "close"}


class Disconnected(Exception):
    """The client went away before its request was complete. There is nobody to answer."""


def body_limit(path: str) -> int:
    """How many bytes a body may have at `path`."""
    if path.startswith("/v1/auth/"):
        return 4 * _KIB
    return _KIB * _KIB if path in _LARGE else 64 * _KIB


def is_json(content_type: bytes) -> bool:
    """Whether this names JSON and nothing that is only made of it."""
    return content_type.partition(b";")[0].strip().lower() == b"application/json"


async def read_body(
    path: str,
    headers: Mapping[bytes, bytes],
    receive: Receive,
    deadline_seconds: float = BODY_DEADLINE_SECONDS,
) -> bytes:
    """The whole body, strictly checked as what its Content-Type says.

    Raises `HttpProblem`; Disconnected if the client goes away.
    """
    announced = headers.get(b"content-length", b"")
    body = await collect_body(path, announced, receive, deadline_seconds)
    if body:
        _check(path, headers.get(b"content-type", b"").decode("latin-1"), body)
    return body


async def collect_body(
    path: str,
    announced: bytes,
    receive: Receive,
    deadline_seconds: float = BODY_DEADLINE_SECONDS,
) -> bytes:
    """The whole body, within this path's limit and the deadline, and not looked into.

    `announced` is the value of Content-Length, empty if there is none. Raises `HttpProblem`;
    Disconnected if the client goes away.
    """
    limit = body_limit(path)
    # Without a Content-Length the body is chunked: its length shows as it arrives.
    if announced and (len(announced) > 12 or int(announced) > limit + _COURTESY):
        raise _too_large(limit)
    first = _at_once(receive)
    if first is not None and first["type"] == "http.request" and not first.get("more_body"):
        body = first.get("body", b"")
        if len(body) > limit:
            raise _too_large(limit)
        return body
    try:
        async with asyncio.timeout(deadline_seconds):
            return await _collect(first, receive, limit)
    except TimeoutError:
        detail = f"The body did not arrive within {deadline_seconds:g} seconds."
        raise HttpProblem("REQUEST_TIMEOUT", detail, headers=_CLOSE) from None


def replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives `body` first, and then whatever the connection has to say."""
    fresh = True

    async def again() -> HTTPReceiveMessage:
        nonlocal fresh
        if fresh:
            fresh = False
            return {"type": "http.request", "body": body, "more_body": False}
        message: HTTPReceiveMessage = await receive()  # type: ignore[assignment]
        return message

    return again


def _at_once(receive: Receive) -> ReceiveMessage | None:
    """The next message if it is there already; nothing is lost if it is not.

    Most bodies come with their head. A deadline costs seven microseconds, a third of what the
    server needs for a whole request, so it is set only for those that don't. To give up a
    `receive` that waits is what a deadline would do as well: it has taken nothing yet.
    """
    step = receive().__await__()
    try:
        next(step)
    except StopIteration as done:
        message: ReceiveMessage = done.value
        return message
    step.close()
    return None


async def _collect(first: ReceiveMessage | None, receive: Receive, limit: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    message = first or await receive()
    while True:
        if message["type"] != "http.request":
            raise Disconnected
        piece = message.get("body", b"")
        size += len(piece)
        if size <= limit:
            pieces.append(piece)
        if size > limit + _COURTESY or not message.get("more_body", False):
            break
        message = await receive()
    if size > limit:
        raise _too_large(limit)
    return b"".join(pieces)


def _check(path: str, content_type: str, body: bytes) -> None:
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == "application/json" or media_type.endswith("+json"):
        strict_json.check(body)
    elif media_type == _FORM and path in _FORMS:
        _check_form(body)
    else:
        accepted = "application/json" + (f" or {_FORM}" if path in _FORMS else "")
        detail = f"Content-Type has to be {accepted}."
        raise HttpProblem("UNSUPPORTED_MEDIA_TYPE", detail, param="Content-Type")


def _check_form(body: bytes) -> None:
    try:
        names = Counter(n for n, _ in parse_qsl(body.decode(), True, errors="strict"))
    except UnicodeDecodeError:
        raise HttpProblem("INVALID_REQUEST", "The form is not UTF-8.") from None
    for name, count in names.items():
        if count > 1:
            detail = f"The field `{name[:64]}` occurs more than once."
            raise HttpProblem("DUPLICATE_FIELD", detail, param=name[:64])


def _too_large(limit: int) -> HttpProblem:
    detail = f"The body may have {limit} bytes at most here."
    return HttpProblem("BODY_TOO_LARGE", detail, headers=_CLOSE)
