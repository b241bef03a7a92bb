"""The door's part for requests that need no task of their own (api/http/express.py).

It promises what `Door` promises, of requests about which nothing is odd. What is odd it leaves to
the other, which finds out what it is; nothing has happened by then.
"""

from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any, Protocol

import msgspec

from api.http.problems import MEDIA_TYPE, answer_for
from api.http.request_body import is_json
from api.http.request_ids import FRESH_IDS, SANE_ID
from api.http.security_headers import Headers
from api.http.wire import MAX_HEADER_BYTES, MAX_HEADERS
from domain.addresses import allowed

# A position to wait for, a page of another origin, a body in pieces.
_ODD = frozenset({b"tollhouse-min-position", b"origin", b"transfer-encoding"})

Reply = Callable[[bytes | Exception], None]
"""Takes what became of a request; called once."""


class Engine(Protocol):
    """Begins to answer requests of the lane without a task."""

    def caller(self, secret: str, client_ip: str | None) -> Any:
        """Who presents this credential from this address: for `begin`, request after request."""
        ...

    def begin(self, body: bytes, caller: Any, request_id: str, reply: Reply) -> bool:
        """Begin to answer this JSON, or nothing. False where it can't; then nothing has
        happened. It may raise; then nothing has happened, either."""
        ...


class Head(msgspec.Struct, frozen=True):
    """What the head of a request says; the same bytes say the same again. `request_id` is empty
    where the client names none."""

    caller: Any
    json: bool
    request_id: str


class Answers(Protocol):
    """Takes an answer: its head without what the server adds, the request's id, and its body."""

    def answer(self, head: bytes, request_id: str, body: bytes) -> None: ...


class ExpressDoor:
    """Reads heads, and begins to answer requests that have them."""

    def __init__(
        self, engine: Engine, lane_head: bytes, headers: Headers, ip_allow: tuple[str, ...]
    ) -> None:
        self._engine = engine
        self._lane_head = lane_head
        self._headers = headers
        self._ip_allow = ip_allow

    def read(self, headers: list[tuple[bytes, bytes]], client_ip: str | None) -> Head | None:
        """What these headers of a request at the lane's path say. `client_ip` is None where it
        isn't known. None where they are not the ordinary case."""
        if len(headers) > MAX_HEADERS:
            return None
        if self._ip_allow and not allowed(self._ip_allow, client_ip):
            return None
        secret, json, request_id, size, hosts = None, False, "", 0, 0
        for name, value in headers:
            size += len(name) + len(value)
            if name == b"x-api-key" or name == b"authorization":
                if secret is not None:
                    return None
                secret = _secret(name, value)
                if secret is None:
                    return None  # or another credential behind it would count
            elif name == b"host":
                hosts += 1
            elif name == b"content-type":
                json = is_json(value)
            elif name == b"request-id":
                if SANE_ID.fullmatch(value):
                    request_id = value.decode()
            elif name in _ODD:
                return None
        if size > MAX_HEADER_BYTES or secret is None or hosts != 1:
            return None
        return Head(self._engine.caller(secret, client_ip), json, request_id)

    def begin(self, head: Head, body: bytes, request: Answers) -> bool:
        """Begin to answer a request with this head. False where that can't be."""
        if body and not head.json:
            return False
        request_id = head.request_id or next(FRESH_IDS)
        # Not a function of its own: one is made anew with each request, its annotations as well.
        reply = partial(self._reply, request, request_id)
        try:
            return self._engine.begin(body, head.caller, request_id, reply)
        except Exception:
            return False  # nothing has happened: the ordinary way says what is wrong

    def _reply(self, request: Answers, request_id: str, answer: bytes | Exception) -> None:
        if isinstance(answer, bytes):
            request.answer(self._lane_head, request_id, answer)
        else:
            self._refuse(answer, request_id, request)

    def _refuse(self, error: Exception, request_id: str, request: Answers) -> None:
        problem, more = answer_for(error, request_id)
        status = HTTPStatus(problem.status)
        pairs = [
            (b"content-type", MEDIA_TYPE.encode()),
            *self._headers.pairs,
            *((name.lower().encode(), value.encode()) for name, value in more.items()),
        ]
        head = b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode())
        head += b"".join(b"%b: %b\r\n" % pair for pair in pairs)
        request.answer(head, request_id, msgspec.json.encode(problem))


def _secret(name: bytes, value: bytes) -> str | None:
    """The credential of this header, if it is in order."""
    if name == b"x-api-key":
        return value.decode("latin-1").strip()
    scheme, _, secret = value.partition(b" ")
    return secret.decode("latin-1").strip() if scheme.lower() == b"bearer" else None
