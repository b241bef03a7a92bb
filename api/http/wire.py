"""What the HTTP server bounds before there is a request: heads that never end or never come.

uvicorn calls the app when the head of a request is complete. Until then it takes megabytes of
headers, and waits for ever for the rest, or for the first byte. `BoundedHttp` is its protocol
with these two bounds, for `uvicorn.Config(http=BoundedHttp)`; the door does the rest. And it reads
the body of a request that asks for another protocol, which uvicorn's takes for that protocol.
"""

import asyncio
import os
from collections.abc import Mapping
from typing import Any
from weakref import ref

import httptools
import msgspec
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from api.http.problems import MEDIA_TYPE, HttpProblem, problem_for

HEAD_DEADLINE_SECONDS = 10.0
MAX_HEADERS = 64
MAX_HEADER_BYTES = 16 * 1024
# More than the door accepts (header bytes and URL), so that what is only a little too large gets
# a problem document; from here on it is a flood.
MAX_HEAD_BYTES = 64 * 1024

CONNECTIONS = 10_000
# Whoever sends more requests ahead, or takes nothing of their answers for so long, is cut off:
# both are held in memory until they are read.
MAX_AHEAD = 256
WRITE_DEADLINE_SECONDS = 60.0

DIRECT = "tollhouse.direct"

_FRAMING = frozenset({b"content-length", b"transfer-encoding"})

_REFUSALS = {
    "INVALID_REQUEST": (b"400 Bad Request", "This is not a well-formed HTTP request."),
    "HEADERS_TOO_LARGE": (
        b"431 Request Header Fields Too Large",
        f"The head of a request may have {MAX_HEAD_BYTES} bytes at most.",
    ),
    "OVERLOADED": (b"503 Service Unavailable", "Too many connections are open at present."),
}


def direct_of(scope: Mapping[str, Any]) -> "Direct | None":
    """The short way that the server offers for this request, if it does."""
    found: Direct | None = (scope.get("extensions") or {}).get(DIRECT)
    return found


class Direct:
    """The short way around the ASGI messages, for the one route that is in a hurry.

    uvicorn checks and joins every header of every answer, and sends it in two pieces: a third
    of the time that a whole verification takes. Here a prepared head and the body go out in one.
    What can't go this way says so, and takes the ordinary one.
    """

    __slots__ = ("_cycle",)

    def __init__(self, cycle: RequestResponseCycle) -> None:
        # Weak, because the request's scope holds this, and the cycle the scope: a ring for the
        # collector with every request, and pauses of tens of milliseconds when it comes.
        self._cycle = ref(cycle)

    def body(self) -> bytes | None:
        """The whole body, if it has arrived; None where it has to be waited for."""
        cycle = self._cycle()
        if cycle is None or cycle.more_body or cycle.disconnected:
            return None
        return bytes(cycle.body)

    def answer(self, head: bytes, body: bytes) -> bool:
        """Send status line and headers, which `head` holds whole but for Content-Length, Date
        and the blank line, and the body. False: nothing was sent, use `send`."""
        cycle = self._cycle()
        if cycle is None or cycle.flow.write_paused or cycle.disconnected or cycle.response_started:
            return False
        rest = b"".join(b"%b: %b\r\n" % pair for pair in cycle.default_headers)
        if not cycle.keep_alive:
            rest += b"connection: close\r\n"
        cycle.transport.write(b"%b%bcontent-length: %d\r\n\r\n%b" % (head, rest, len(body), body))
        # What uvicorn's `send` does when an answer is complete.
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()
        return True


class BoundedHttp(HttpToolsProtocol):
    """A connection has 10 s to bring a request's head, and 64 KiB for it; else it is closed.

    The same time is given to a body that still arrives after its request was answered. A request
    that comes in one piece, as nearly all do, sets no timer. Of connections beyond `most` each is
    told so and closed at its first word; those that are open go on.
    """

    head_deadline_seconds = HEAD_DEADLINE_SECONDS
    write_deadline_seconds = WRITE_DEADLINE_SECONDS
    most = CONNECTIONS

    _one_too_many = False
    _in_message = False
    _in_head = False
    _resuming = False
    _head_bytes = 0
    _deadline: asyncio.TimerHandle | None = None
    _write_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._one_too_many = len(self.connections) > self.most
        self._set_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._clear_deadline()
        self._clear_write_deadline()
        # uvicorn leaves its timer where the client broke off, and the ring of a connection and its
        # cycles to the collector: until then all that was said on it would be kept.
        self._unset_keepalive_if_required()
        self.pipeline.clear()
        self.cycle = None  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if self._one_too_many:
            self._refuse("OVERLOADED")
            return
        self._unset_keepalive_if_required()
        self._feed(data)
        if self.transport.is_closing():
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse("HEADERS_TOO_LARGE")
            elif self._deadline is None:
                self._set_deadline()
        elif not self._in_message and self._is_idle() and self._has_no_timer():
            # An empty line, or the end of a body that nobody waited for: nothing has begun.
            self._set_keep_alive(self.timeout_keep_alive)

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio's own type is bool | None
        """A client that has said all it has to say still waits for the answer."""
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None or cycle.response_complete:
            return False
        cycle.keep_alive = False
        return True

    def on_message_begin(self) -> None:
        if self._resuming:
            return
        super().on_message_begin()
        self._in_message = self._in_head = True
        self._head_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        # Trailers of a chunked body come here, too. uvicorn would add them to the headers of the
        # running request, past everything that looked at those (RFC 9110, 6.5.1).
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._resuming:
            return
        if len(self.pipeline) >= MAX_AHEAD:
            self.transport.abort()
            raise ConnectionAbortedError("too many requests ahead")  # or the parser goes on
        self._in_head = False
        self._clear_deadline()
        super().on_headers_complete()
        # Before the app sees the scope: its task has only been scheduled.
        offered: dict[str, Any] = {DIRECT: Direct(self.cycle)}
        self.scope["extensions"] = offered

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # its body is still to come
        self._in_message = False
        if self.cycle.response_complete:
            self._clear_deadline()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not self.pipeline and cycle.more_body:
            self._set_deadline()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_progress(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        super().resume_writing()
        self._clear_write_deadline()

    def _await_progress(self, left: int) -> None:
        self._clear_write_deadline()
        self._write_deadline = self.loop.call_later(
            self.write_deadline_seconds, self._require_progress, left
        )

    def _require_progress(self, before: int) -> None:
        # Nothing is added while so much waits: a long answer on a slow line becomes less.
        left = self.transport.get_write_buffer_size()
        if left < before:
            self._await_progress(left)
        else:
            self.transport.abort()

    def _refuse(self, code: str) -> None:
        if self.transport.is_closing():
            return
        request_id = f"req_{os.urandom(12).hex()}"
        status, detail = _REFUSALS[code]
        app = self.app.app if isinstance(self.app, ProxyHeadersMiddleware) else self.app
        # What every answer carries; the app never sees this one.
        everywhere: bytes = getattr(app, "safe_head", b"")
        problem, more = problem_for(HttpProblem(code, detail), request_id)
        fields = b"".join(b"%b: %b\r\n" % (n.encode(), v.encode()) for n, v in more.items())
        body = msgspec.json.encode(problem)
        self.transport.write(
            b"HTTP/1.1 %b\r\ncontent-type: %b\r\nrequest-id: %b\r\n"
            b"%b%bcontent-length: %d\r\nconnection: close\r\n\r\n%b"
            % (
                status,
                MEDIA_TYPE.encode(),
                request_id.encode(),
                everywhere,
                fields,
                len(body),
                body,
            )
        )
        self.transport.close()

    def _feed(self, data: bytes) -> None:
        rest: bytes | memoryview | None = data
        try:
            while rest is not None:
                rest = self._fed(rest)
        except httptools.HttpParserError:
            self._refuse("INVALID_REQUEST")

    def _fed(self, data: bytes | memoryview) -> memoryview | None:
        """Parse it; answers what is left of it behind a head that asks for another protocol."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as asked:
            self._stay()
            return memoryview(data)[asked.args[0] :]
        return None

    def _stay(self) -> None:
        """Go on in HTTP/1.1, which a server may whatever it is asked for (RFC 9110, 7.8).

        The parser takes what follows such a head for the other protocol, or for the next request:
        the body would be lost, and whoever chose it could smuggle a request in. One that was told
        how the body is framed, and nothing of the other protocol, reads it to its end.
        """
        lines = [b"%b: %b\r\n" % pair for pair in self.headers if pair[0] in _FRAMING]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
        self._resuming = True
        self.parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % b"".join(lines))
        self._resuming = False

    def _is_idle(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def _has_no_timer(self) -> bool:
        return self._deadline is None and self.timeout_keep_alive_task is None

    def _set_keep_alive(self, seconds: float) -> None:
        handler = self.timeout_keep_alive_handler
        self.timeout_keep_alive_task = self.loop.call_later(seconds, handler)

    def _set_deadline(self) -> None:
        self._clear_deadline()
        self._deadline = self.loop.call_later(self.head_deadline_seconds, self.transport.close)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _clear_write_deadline(self) -> None:
        if self._write_deadline is not None:
            self._write_deadline.cancel()
            self._write_deadline = None
