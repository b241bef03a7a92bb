"""The express lane: verifications that need neither a task nor a scope of their own.

uvicorn makes a scope, a cycle, an event, a timer and a task for each request, which cost more than
the verification itself (docs/adr/0012-the-verify-lane.md). Where a request for the verify lane
has come whole, nothing odd is about it, and everything that it names is remembered, it is put
into the open batch at once, and answered when that is committed. Everything else, every error
among it, goes the ordinary way, from the start: nothing has happened by then.

A client that verifies says the same again and again, but for the body. A head that is byte for
byte the last one of its connection is not parsed anew.
"""

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from api.http.express_door import ExpressDoor, Head
from api.http.verify_lane import PATH
from api.http.wire import BoundedHttp

MAX_BODY_BYTES = 16 * 1024
# Longer ones are parsed each time: what is remembered is held as long as the connection is open.
MAX_REMEMBERED_BYTES = 2 * 1024

_PATH = PATH.encode()
_HEAD_ENDS = b"\r\n\r\n"


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

    def answer(self, head: bytes, request_id: str, body: bytes) -> None:
        """Send the answer; the next request of the connection may come."""
        self.response_complete = True
        if not self.disconnected:
            self.protocol.send(head, request_id, body, self.keep_alive)


class ExpressHttp(BoundedHttp):
    """`BoundedHttp`, with the express lane where the app offers one (`express`)."""

    _door: ExpressDoor | None = None
    _address: str | None = None
    _whole: bytes | None = None
    _defaults: tuple[list[tuple[bytes, bytes]], bytes] = ([], b"")
    _answered_at = 0.0
    _arrived = b""
    _messages = 0
    # The head of the last request that was answered here, and how long that was with its body.
    _head_bytes_again = b""
    _size_again = 0
    _head_again: Head

    def connection_made(self, transport: object) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        app = self.app
        # Behind a proxy the address is in a header, and only the middleware reads it.
        proxied = isinstance(app, ProxyHeadersMiddleware)
        self._door = getattr(app.app if proxied else app, "express", None)
        self._address = None if proxied or self.client is None else self.client[0]

    def data_received(self, data: bytes) -> None:
        between = self._is_between()
        if between and len(data) == self._size_again and data.startswith(self._head_bytes_again):
            # The same bytes after the same state of the parser: it would find the same again.
            body = data[len(self._head_bytes_again) :]
            if self._began(self._head_again, body):
                return
        self._arrived = data if between else b""
        self._messages = 0
        super().data_received(data)
        self._arrived = b""
        if self._whole is not None and self.parser is not None:
            self._give_up()  # the rest of it is still on its way

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._messages += 1

    def on_headers_complete(self) -> None:
        if self._door is not None and self.url == _PATH and self._is_plain():
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
            self._in_message = False
            head = self._read() if len(whole) <= MAX_BODY_BYTES else None
            if head is not None and self._began(head, whole):
                self._whole = None
                self._remember(head, whole)
                return
            self._give_up()
        super().on_message_complete()

    def send(self, head: bytes, request_id: str, body: bytes, keep_alive: bool) -> None:
        """Write an answer, and let the next request in."""
        found, joined = ExpressHttp._defaults
        defaults = self.server_state.default_headers
        if defaults is not found:  # a new list every second: the date is in it
            joined = b"".join(b"%b: %b\r\n" % pair for pair in defaults)
            ExpressHttp._defaults = (defaults, joined)
        if not keep_alive:
            joined += b"connection: close\r\n"
        self.transport.write(
            b"%b%brequest-id: %b\r\ncontent-length: %d\r\n\r\n%b"
            % (head, joined, request_id.encode(), len(body), body)
        )
        if not keep_alive:
            self.transport.close()
        if self.pipeline or self.transport.is_closing():
            self.on_response_complete()
        else:
            self._wait_for_more()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that nothing came on for so long. The express lane doesn't set its
        timer anew with every answer: the rest of the time is waited for when it has run out."""
        self.timeout_keep_alive_task = None
        if not self._is_idle():
            return  # the answer sets it
        left = self._answered_at + self.timeout_keep_alive - self.loop.time()
        if left <= 0:
            super().timeout_keep_alive_handler()
        else:
            self._set_keep_alive(left)

    def _wait_for_more(self) -> None:
        self.server_state.total_requests += 1
        self._answered_at = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._set_keep_alive(self.timeout_keep_alive)

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

    def _is_between(self) -> bool:
        """Whether the next byte is the first of a request, and nothing is in its way."""
        return not self._in_message and self._is_idle() and not self.flow.write_paused

    def _read(self) -> Head | None:
        return None if self._door is None else self._door.read(self.headers, self._address)

    def _began(self, head: Head, body: bytes) -> bool:
        before, express = self.cycle, Express(self)
        self.cycle = express  # type: ignore[assignment]
        if self._door is not None and self._door.begin(head, body, express):
            return True
        self.cycle = before
        return False

    def _remember(self, head: Head, body: bytes) -> None:
        """Take note of the head of a request that came as one piece of data, alone."""
        data = self._arrived
        end = data.find(_HEAD_ENDS) + len(_HEAD_ENDS)
        if end > MAX_REMEMBERED_BYTES or self._messages != 1:
            return
        if len(data) - end == len(body) and data.endswith(body):
            self._head_bytes_again, self._size_again = data[:end], len(data)
            self._head_again = head

    def _give_up(self) -> None:
        body, self._whole = self._whole, None
        super().on_headers_complete()
        if body:
            super().on_body(body)
