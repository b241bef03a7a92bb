"""How this server connects to Postgres: one schema, short timeouts, keepalives."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from application.errors import StoreUnavailable

SCHEMA = "tollhouse"
CONNECT_TIMEOUT_SECONDS = 2

_DEFAULTS = {
    "connect_timeout": CONNECT_TIMEOUT_SECONDS,
    "application_name": "tollhouse",
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 5_000,
}


def conninfo(url: str) -> str:
    """The URL with our defaults where it is silent, and our schema first."""
    given = conninfo_to_dict(url)
    options = f"{given.pop('options', None) or ''} -c search_path={SCHEMA}".strip()
    merged: dict[str, Any] = {**_DEFAULTS, **given, "options": options}
    return make_conninfo(**merged)


def parameters(url: str) -> dict[str, Any]:
    """The same as keyword arguments."""
    return conninfo_to_dict(conninfo(url))


async def connect(url: str) -> psycopg.AsyncConnection:
    """An autocommit connection of one's own; StoreUnavailable if there is none to be had."""
    try:
        return await psycopg.AsyncConnection.connect(conninfo(url), autocommit=True)
    except psycopg.OperationalError as error:
        raise StoreUnavailable(str(error).strip()) from error


@asynccontextmanager
async def answering(connection: psycopg.AsyncConnection, seconds: float) -> AsyncIterator[None]:
    """Hang up when the server has not answered by then: psycopg raises OperationalError.

    Cancelling instead would ask the silent server to cancel first, and wait for ten seconds.
    """
    timer = asyncio.get_running_loop().call_later(seconds, hang_up, connection)
    try:
        yield
    finally:
        timer.cancel()


def hang_up(connection: psycopg.AsyncConnection | psycopg.Connection[Any]) -> None:
    """Shut the line down under a connection; whoever waits on it hears so at once."""
    with suppress(OSError, psycopg.Error):
        line = socket.socket(fileno=os.dup(connection.fileno()))
        with line:
            line.shutdown(socket.SHUT_RDWR)
