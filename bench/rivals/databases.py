"""A database for each rival on the benchmark's Postgres, and keys in it as the rival keeps them."""

import base64
import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from typing import LiteralString
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

Fill = Callable[[str, Sequence[int]], list[str]]
"""Put keys with so many uses left each into the database at this URL; answers their secrets."""


def new_database(server_url: str, name: str) -> str:
    """An empty database beside ours, and its URL."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))


def fill_better_auth(url: str, amounts: Sequence[int]) -> list[str]:
    """Its digest is SHA-256 in base64url; without rate limit columns, none is checked."""
    secrets = [_letters(64) for _ in amounts]
    fixed = ("default", "bench", True, True)
    with psycopg.connect(url) as connection:
        connection.execute(
            'INSERT INTO "user" (id, name, email, "emailVerified", "createdAt", "updatedAt")'
            " VALUES ('bench', 'bench', 'bench@example.org', true, now(), now())"
        )
        _copy(
            connection,
            'COPY apikey (id, name, key, "configId", "referenceId", enabled,'
            ' "rateLimitEnabled", remaining, "requestCount", "createdAt", "updatedAt") FROM STDIN',
            (
                (f"key{number}", f"bench {number}", _base64(secret), *fixed, amount, 0, _NOW, _NOW)
                for number, (secret, amount) in enumerate(zip(secrets, amounts, strict=True))
            ),
        )
    return secrets


def fill_drf(url: str, amounts: Sequence[int]) -> list[str]:
    """Its key is `prefix.secret`; its digest SHA-512 with the algorithm's name in front."""
    secrets = [f"{_letters(8)}.{_letters(32)}" for _ in amounts]
    rows = []
    for number, (secret, amount) in enumerate(zip(secrets, amounts, strict=True)):
        prefix = secret.partition(".")[0]
        digest = f"sha512$${hashlib.sha512(secret.encode()).hexdigest()}"
        rows.append((f"{prefix}.{digest}", prefix, digest, _NOW, f"bench {number}", False, amount))
    with psycopg.connect(url) as connection:
        _copy(
            connection,
            "COPY metered_keys (id, prefix, hashed_key, created, name, revoked, remaining)"
            " FROM STDIN",
            rows,
        )
    return secrets


def fill_fastapi(url: str, amounts: Sequence[int]) -> list[str]:
    """The table that its one statement is written for."""
    secrets = [_letters(40) for _ in amounts]
    with psycopg.connect(url) as connection:
        connection.execute(
            "CREATE TABLE keys (digest bytea PRIMARY KEY, key_id text NOT NULL,"
            " account_id text NOT NULL, name text NOT NULL, remaining bigint NOT NULL)"
        )
        _copy(
            connection,
            "COPY keys (digest, key_id, account_id, name, remaining) FROM STDIN",
            (
                (
                    _digest(secret),
                    f"key_{number}",
                    f"acct_{number // 50}",
                    f"bench {number}",
                    amount,
                )
                for number, (secret, amount) in enumerate(zip(secrets, amounts, strict=True))
            ),
        )
    return secrets


_NOW = "2026-01-01T00:00:00Z"


def _copy(
    connection: psycopg.Connection, statement: LiteralString, rows: Iterable[tuple[object, ...]]
) -> None:
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)
    # As a table is in a server that has run for a while.
    connection.commit()
    connection.autocommit = True
    connection.execute("VACUUM ANALYZE")


def _letters(length: int) -> str:
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in os.urandom(length))


_ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _base64(secret: str) -> str:
    return base64.urlsafe_b64encode(_digest(secret)).rstrip(b"=").decode()
