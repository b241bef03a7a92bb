"""A TCP proxy between a client and Postgres that can lose replies, as networks do.

It reads the server's messages just enough to know the reply of a commit: CommandComplete
with the tag COMMIT, or of the one autocommit statement that counts usage.
"""

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

Loss = Literal["none", "cut", "silence", "cut_request"]


class LossyProxy:
    """Forwards to Postgres. `lose` says what becomes of the next reply that holds `marker`.

    - `cut`: the reply is swallowed and both connections end; it happened on the server.
    - `silence`: the reply and all that follows is swallowed, and the connection stays.
    - `cut_request`: the next request that holds `marker` never reaches the server.

    `lost` counts how often that has happened.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._server = (parts.hostname or "127.0.0.1", parts.port or 5432)
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        netloc = f"{parts.netloc.rpartition(':')[0]}:{port}"
        self.url = urlunsplit(parts._replace(netloc=netloc))
        self._loss: Loss = "none"
        self._marker = b""
        self.refusing = False
        self.lost = 0
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def lose(self, loss: Loss, marker: bytes) -> None:
        """Lose the next reply (or request) that holds these bytes, once."""
        with self._lock:
            self._loss, self._marker = loss, marker

    def cut_all(self) -> None:
        """End every connection now."""
        with self._lock:
            connections = list(self._connections)
        for each in connections:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End everything; no thread is left."""
        self._closed = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut_all()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._forward, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _forward(self, client: socket.socket) -> None:
        if self.refusing:
            client.close()
            return
        try:
            server = socket.create_connection(self._server)
        except OSError:
            client.close()
            return
        with client, server:
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._connections |= {client, server}
            with suppress(OSError):
                self._pump(client, server)
            with self._lock:
                self._connections -= {client, server}

    def _pump(self, client: socket.socket, server: socket.socket) -> None:
        silent = False
        while True:
            for source in select.select([client, server], [], [])[0]:
                data = source.recv(65536)
                if not data:
                    return
                loss = self._hit(data, "request" if source is client else "reply")
                if loss in ("cut", "cut_request"):
                    return
                silent = silent or loss == "silence"
                if source is client:
                    server.sendall(data)
                elif not silent:
                    client.sendall(data)

    def _hit(self, data: bytes, direction: Literal["request", "reply"]) -> Loss:
        with self._lock:
            loss = self._loss
            if loss == "none" or (loss == "cut_request") != (direction == "request"):
                return "none"
            if self._marker not in data:
                return "none"
            self._loss = "none"
            self.lost += 1
            return loss


COMMITTED = b"COMMIT\x00"
"""In the reply of a transaction's commit."""

COUNTED = b"SELECT 1\x00"
"""In the reply of the statement that counts usage."""


@contextmanager
def lossy(url: str) -> Iterator[LossyProxy]:
    """A proxy in front of this database, closed at the end."""
    proxy = LossyProxy(url)
    try:
        yield proxy
    finally:
        proxy.close()
