"""The outer door of the HTTP side: what holds for every request, before any route is looked at.

uvicorn -> `Door` -> the verify lane, or the Litestar app. Pure ASGI, because the lane must not
pay for a framework: on its path the door costs a few microseconds and leaves the body alone (the
lane bounds and checks its own).
"""

import re
from collections import Counter
from collections.abc import Awaitable, Callable
from time import perf_counter
from urllib.parse import parse_qsl

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from api.http.codes import CODES
from api.http.cors import Cors
from api.http.express_door import Engine, ExpressDoor
from api.http.oauth_errors import OAUTH_PATHS, as_oauth
from api.http.problems import HttpProblem, answer_for, respond
from api.http.request_body import (
    BODY_DEADLINE_SECONDS,
    Disconnected,
    read_body,
    replayed,
)
from api.http.request_ids import FRESH_IDS, SANE_ID
from api.http.security_headers import Headers, SecurityHeaders
from api.http.throttle import Throttle
from api.http.wire import MAX_HEADER_BYTES, MAX_HEADERS, direct_of
from domain.addresses import allowed

MAX_URL_BYTES = 8 * 1024

_UNSAFE = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_UNLOGGED = frozenset({"/health/live", "/health/ready"})  # asked every few seconds
# What asks for these may be anywhere, and they say nothing but whether the process is well.
_PROBES = _UNLOGGED
_KEY_NAMES = frozenset({"key", "api_key", "apikey", "access_token"})
# A prefix has 12 characters at most. Without a bound here, a URL that is one long word would be
# searched anew from each of its characters.
_KEY = re.compile(r"[0-9A-Za-z]{0,12}_(?:live|test)_[0-9A-Za-z]{49}")
_CLIENT_CLOSED_REQUEST = 499

_log = structlog.get_logger("tollhouse.http")


Lane = Callable[[HTTPScope, Receive], Awaitable[bytes]]
"""Answers a request with a JSON body for a 200, or raises."""

_JSON = (b"content-type", b"application/json")


class Door:
    """Every request gets an id, bounds, strict input, safe headers and one log line.

    `lane` answers POST at `lane_path` with the body of a 200, `inner` everything else.
    `scope["state"]["request_id"]` holds the id for both. Whatever escapes them becomes a problem
    document by the one table.
    `express` answers what it can of the lane's requests without a task; then `self.express` is
    the door for those.
    `log_lane` adds the lane's requests to the log (at debug level); they are not there otherwise.
    `throttle` counts refused credentials by address; without it nothing is counted.
    `ip_allow`: networks as `domain.addresses` writes them; from elsewhere nothing is looked at but
    the probes. Empty: everybody may call.
    `cors` says which pages of other origins may; without it none is told that it might.
    """

    def __init__(
        self,
        inner: ASGIApp,
        *,
        lane: Lane,
        express: Engine | None = None,
        lane_path: str = "/v1/keys/verify",
        production: bool,
        log_lane: bool = False,
        throttle: Throttle | None = None,
        ip_allow: tuple[str, ...] = (),
        cors: Cors | None = None,
        body_deadline_seconds: float = BODY_DEADLINE_SECONDS,
    ) -> None:
        self._inner = inner
        self._lane = lane
        self._lane_path = lane_path
        self._log_lane = log_lane
        self._throttle = throttle
        self._ip_allow = ip_allow
        self._cors = cors
        self._deadline = body_deadline_seconds
        self._headers = SecurityHeaders(production=production)
        self.safe_head = b"".join(b"%b: %b\r\n" % pair for pair in self._headers.private.pairs)
        """For what the server refuses before there is a request (api/http/wire.py)."""
        # The lane sets none of these itself, so nothing has to be looked through.
        self._lane_headers = Headers(self._headers.private.pairs, frozenset())
        prepared = [_JSON, *self._lane_headers.pairs]
        self._lane_head = b"HTTP/1.1 200 OK\r\n" + b"".join(
            b"%b: %b\r\n" % pair for pair in prepared
        )
        self.express: ExpressDoor | None = None
        if express is not None and not log_lane:
            self.express = ExpressDoor(express, self._lane_head, self._lane_headers, ip_allow)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP:
            path = scope["path"]
            if self._ip_allow and not self._admits(scope, path):
                await self._turn_away(scope, send, path)
            elif path == self._lane_path and scope["method"] == "POST":
                await self._through_lane(scope, receive, send)
            else:
                await self._through_inner(scope, receive, send, path)
        elif scope["type"] == ScopeType.WEBSOCKET:
            await send({"type": "websocket.close", "code": 1008, "reason": ""})
        else:
            await self._inner(scope, receive, send)  # lifespan

    def _admits(self, scope: HTTPScope, path: str) -> bool:
        client = scope["client"]
        return path in _PROBES or allowed(self._ip_allow, None if client is None else client[0])

    async def _turn_away(self, scope: HTTPScope, send: Send, path: str) -> None:
        started_at = perf_counter()
        request_id, _ = _identify(scope)
        answer = _Answer(send, self._headers.private, request_id)
        refusal = HttpProblem(
            "IP_NOT_ALLOWED",
            CODES["IP_NOT_ALLOWED"].example,
            headers={"connection": "close"},
        )
        await _answer_failure(refusal, answer, answer.send, request_id)
        _log_request(_log.info, scope, path, answer.status, started_at, request_id)

    async def _through_lane(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        started_at = perf_counter() if self._log_lane else 0.0
        request_id, header_bytes = _identify(scope)
        more = [] if self._cors is None else self._cors.pairs(scope["headers"])
        headers = self._lane_headers.with_more(more) if more else self._lane_headers
        status = 200
        try:
            _check_bounds(scope, header_bytes)
            body = await self._lane(scope, receive)
        except Disconnected:
            status = _CLIENT_CLOSED_REQUEST
        except Exception as exc:
            answer = _Answer(send, headers, request_id)
            await _answer_failure(exc, answer, self._way_out(scope, answer), request_id)
            status = answer.status
        else:
            head = b"%brequest-id: %b\r\n" % (self._lane_head, request_id.encode())
            if more:
                head += b"".join(b"%b: %b\r\n" % pair for pair in more)
            direct = direct_of(scope)
            if direct is None or not direct.answer(head, body):
                answer = _Answer(send, headers, request_id)
                await answer.send(_lane_start(len(body)))
                await answer.send({"type": "http.response.body", "body": body, "more_body": False})
        if self._log_lane:
            _log_request(_log.debug, scope, self._lane_path, status, started_at, request_id)

    async def _through_inner(
        self, scope: HTTPScope, receive: Receive, send: Send, path: str
    ) -> None:
        started_at = perf_counter()
        request_id, header_bytes = _identify(scope)
        headers = self._headers.for_path(path)
        preflight = None
        if self._cors is not None:
            preflight = self._cors.preflight(scope)
            more = self._cors.pairs(scope["headers"]) if preflight is None else preflight
            headers = headers.with_more(more)
        answer = _Answer(send, headers, request_id)
        try:
            _check_bounds(scope, header_bytes)
            if preflight is not None:
                await answer.send({"type": "http.response.start", "status": 204, "headers": []})
                await answer.send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            if scope["method"] in _UNSAFE:
                body = await read_body(path, dict(scope["headers"]), receive, self._deadline)
                receive = replayed(body, receive)
            await self._inner(scope, receive, self._way_out(scope, answer))
        except Disconnected:
            answer.status = _CLIENT_CLOSED_REQUEST
        except Exception as exc:
            await _answer_failure(exc, answer, answer.send, request_id, path in OAUTH_PATHS)
        finally:
            if path not in _UNLOGGED:
                _log_request(_log.info, scope, path, answer.status, started_at, request_id)

    def _way_out(self, scope: HTTPScope, answer: "_Answer") -> Send:
        return answer.send if self._throttle is None else self._throttle.watched(scope, answer.send)


def _lane_start(length: int) -> Message:
    headers = [_JSON, (b"content-length", str(length).encode())]
    return {"type": "http.response.start", "status": 200, "headers": headers}


class _Answer:
    """The way out: adds the door's headers and remembers the status; 0 means nothing was sent."""

    __slots__ = ("_headers", "_request_id", "_send", "status")

    def __init__(self, send: Send, headers: Headers, request_id: str) -> None:
        self._send = send
        self._headers = headers
        self._request_id = request_id
        self.status = 0

    # A method, not __call__ and not a coroutine: this is on the lane's path twice a request.
    def send(self, message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            pairs, replaced = self._headers
            own = message.get("headers", ())
            if replaced:
                own = [pair for pair in own if pair[0] not in replaced]
            # A new message: the lane may send the same prepared one for many requests.
            headers = [*own, *pairs, (b"request-id", self._request_id.encode())]
            message = {**message, "headers": headers}
        return self._send(message)


def _identify(scope: HTTPScope) -> tuple[str, int]:
    """Settle the request's id and leave it in the scope's state; also the size of all headers."""
    request_id = ""
    size = 0
    for name, value in scope["headers"]:
        size += len(name) + len(value)
        if name == b"request-id" and SANE_ID.fullmatch(value):
            request_id = value.decode()
    request_id = request_id or next(FRESH_IDS)
    # A new dict: the server's may be shared with its other requests.
    scope["state"] = {**scope.get("state", {}), "request_id": request_id}
    return request_id, size


def _check_bounds(scope: HTTPScope, header_bytes: int) -> None:
    hosts = sum(name == b"host" for name, _ in scope["headers"])
    if hosts > 1 or (not hosts and scope["http_version"] == "1.1"):
        # Whoever stands between might take another one than we do (RFC 9112, 3.2).
        detail = "A request names its host once (RFC 9112, 3.2)."
        raise HttpProblem("INVALID_REQUEST", detail, headers={"connection": "close"}, param="Host")
    if header_bytes > MAX_HEADER_BYTES or len(list(scope["headers"])) > MAX_HEADERS:
        detail = (
            f"At most {MAX_HEADERS} headers with {MAX_HEADER_BYTES} bytes in total are accepted."
        )
        raise HttpProblem("HEADERS_TOO_LARGE", detail, headers={"connection": "close"})
    path, query = scope["path"], scope["query_string"]
    if len(scope.get("raw_path") or path) + len(query) > MAX_URL_BYTES:
        raise HttpProblem("URL_TOO_LONG", f"A URL may have {MAX_URL_BYTES} bytes at most.")
    if _holds_key(path):
        raise _key_in_url(None)
    if query:
        _check_query(query)


def _check_query(query: bytes) -> None:
    names = Counter[str]()
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if _holds_key(name):
            raise _key_in_url(None)
        if name.lower() in _KEY_NAMES or _holds_key(value):
            raise _key_in_url(name[:64])
        names[name] += 1
    for name, count in names.items():
        if count > 1:
            detail = f"The query parameter `{name[:64]}` is given more than once."
            raise HttpProblem("DUPLICATE_PARAMETER", detail, param=name[:64])


def _holds_key(text: str) -> bool:
    # The plain searches first: they are all that nearly every request pays.
    return ("_live_" in text or "_test_" in text) and _KEY.search(text) is not None


def _key_in_url(param: str | None) -> HttpProblem:
    hint = "Send it as Authorization: Bearer, and rotate it: URLs end up in logs."
    return HttpProblem("KEY_IN_URL", "A key must not be sent in the URL.", hint, param)


async def _answer_failure(
    exc: Exception, answer: _Answer, send: Send, request_id: str, oauth: bool = False
) -> None:
    if answer.status:
        # Half an answer is out: only the server can still end it, by closing the connection.
        _log.error("answer_broken_off", request_id=request_id, exc_info=exc)
        raise exc
    problem, headers = answer_for(exc, request_id)
    await respond(send, as_oauth(problem) if oauth else problem, headers)


def _log_request(
    write: Callable[..., object],
    scope: HTTPScope,
    path: str,
    status: int,
    started_at: float,
    request_id: str,
) -> None:
    # Neither query nor address nor header: any of them may hold what must not be kept.
    write(
        "request",
        method=scope["method"],
        path=_KEY.sub("[key]", path) if _holds_key(path) else path,
        status=status,
        duration_ms=round((perf_counter() - started_at) * 1000, 2),
        request_id=request_id,
    )
