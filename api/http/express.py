"""The express lane: verifications that need neither a task nor a scope of their own.

uvicorn makes a scope, a cycle, an event, a timer and a task for each request, which cost more than
the verification itself (docs/adr/0012-the-verify-lane.md). Where a request for the verify lane
has come whole, nothing odd is about it, and everything that it names is remembered, it is put
into the open batch at once, and answered when that is committed. Everything else, every error
among it, goes the ordinary way, from the start: nothing has happened by then.
"""

from collections.abc import Callable

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from api.http.door import Answers
from api.http.verify_lane import PATH
from api.http.wire import BoundedHttp

MAX_BODY_BYTES = 16 * 1024

_PATH = PATH.encode()


Begin = Callable[[list[tuple[bytes, bytes]], bytes, str | None, Answers], bool]
"""Begins to answer a request with these headers and this body, from this address; None: it isn't
known. False: it can't be answered so, and nothing has happened."""


class Express:
    """A request under way. It stands where uvicorn keeps the cycle of an ordinary one, so that
    what comes behind it on the connection waits, and a stop waits for it."""

    __slots__ = ("disconnected", "keep_alive", "protocol", "response_complete")

    body = b""
    more_body = False

    def __init__(self, protocol: "ExpressHttp") -> None:
        self.protocol = protocol
        self.response_complete = False
        self.disconnected = False
        self.keep_alive = True

    @property
    def message_event(self) -> "Express":
        """What uvicorn sets when the client is gone."""
        return self

    def set(self) -> None:
        """Nobody waits for the client here."""

    def answer(self, head: bytes, body: bytes) -> None:
        """Send the answer; the next request of the connection may come."""
        self.response_complete = True
        if not self.disconnected:
            self.protocol.send(head, body, self.keep_alive)


class ExpressHttp(BoundedHttp):
    """`BoundedHttp`, with the express lane where the app offers one (`begin`)."""

    _begin: Begin | None = None
    _address: str | None = None
    _whole: bytes | None = None
    _defaults: tuple[list[tuple[bytes, bytes]], bytes] = ([], b"")

    def connection_made(self, transport: object) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        app = self.app
        # Behind a proxy the address is in a header, and only the middleware reads it.
        proxied = isinstance(app, ProxyHeadersMiddleware)
        self._begin = getattr(app.app if proxied else app, "begin", None)
        self._address = None if proxied or self.client is None else self.client[0]

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._whole is not None and self.parser is not None:
            self._give_up()  # the rest of it is still on its way

    def on_headers_complete(self) -> None:
        if self._begin is not None and self.url == _PATH and self._is_plain():
            self._whole = b""
            self._in_head = False
            self._clear_deadline()
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self._whole is None:
            super().on_body(body)
        else:
            self._whole += body

    def on_message_complete(self) -> None:
        whole = self._whole
        if whole is not None:
            if len(whole) <= MAX_BODY_BYTES and self._began(whole):
                self._whole = None
                return
            self._give_up()
        super().on_message_complete()

    def send(self, head: bytes, body: bytes, keep_alive: bool) -> None:
        """Write an answer, and let the next request in."""
        found, joined = ExpressHttp._defaults
        defaults = self.server_state.default_headers
        if defaults is not found:  # a new list every second: the date is in it
            joined = b"".join(b"%b: %b\r\n" % pair for pair in defaults)
            ExpressHttp._defaults = (defaults, joined)
        close = b"" if keep_alive else b"connection: close\r\n"
        rest = b"%b%bcontent-length: %d\r\n\r\n" % (joined, close, len(body))
        self.transport.write(head + rest + body)
        if not keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _is_plain(self) -> bool:
        parser = self.parser
        return (
            parser.get_method() == b"POST"
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not parser.should_upgrade()
            and not self.expect_100_continue
            and self._is_idle()
            and not self.flow.write_paused
        )

    def _is_idle(self) -> bool:
        cycle: object = self.cycle  # None before the first request, whatever uvicorn declares
        return cycle is None or self.cycle.response_complete

    def _began(self, body: bytes) -> bool:
        before, express = self.cycle, Express(self)
        self.cycle = express  # type: ignore[assignment]
        assert self._begin is not None
        if self._begin(self.headers, body, self._address, express):
            return True
        self.cycle = before
        return False

    def _give_up(self) -> None:
        body, self._whole = self._whole, None
        super().on_headers_complete()
        if body:
            super().on_body(body)
