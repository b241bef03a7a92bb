"""The manifest: which files the lake has. Written by whoever holds the follower of their kind,
in transactions that `Hold.advancing` fences."""

import secrets
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import msgspec
import psycopg
from psycopg.rows import class_row

from projections.lake.statements import Kind

_COLUMNS = "path, kind, date, first_position, last_position, level, rows, bytes, sha256"


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A Parquet file: the rows of one UTC day out of these positions (both included)."""

    path: str
    kind: Kind
    date: date
    first_position: int
    last_position: int
    level: int
    rows: int
    bytes: int
    sha256: str


def path_of(kind: Kind, day: date, first: int, last: int, level: int = 0) -> str:
    """The name of a file under the lake's root: it says what is in it.

    A merged file gets a name that no other one ever had: when a merge that was given up is
    removed, late, it can't hit a later merge of the same rows.
    """
    merged = f"-m{level}-{secrets.token_hex(4)}" if level else ""
    return f"{kind}/date={day.isoformat()}/{first:012d}-{last:012d}{merged}.parquet"


async def add(connection: psycopg.AsyncConnection, files: Sequence[File]) -> None:
    """Name files that will be put in place. One of that name is replaced."""
    async with connection.cursor() as cursor:
        await cursor.executemany(
            f"INSERT INTO lake_files ({_COLUMNS}) VALUES (%(path)s, %(kind)s, %(date)s, "  # noqa: S608
            "%(first_position)s, %(last_position)s, %(level)s, %(rows)s, %(bytes)s, %(sha256)s) "
            "ON CONFLICT (path) DO UPDATE SET rows = excluded.rows, bytes = excluded.bytes, "
            "sha256 = excluded.sha256, written_at = now(), placed_at = NULL, "
            "replaced_at = NULL".encode(),
            [msgspec.structs.asdict(file) for file in files],
        )


async def placed(connection: psycopg.AsyncConnection, files: Sequence[File]) -> None:
    """These are in place, with this content."""
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "UPDATE lake_files SET placed_at = now(), rows = %(rows)s, bytes = %(bytes)s, "
            "sha256 = %(sha256)s WHERE path = %(path)s",
            [msgspec.structs.asdict(file) for file in files],
        )


async def replaced(connection: psycopg.AsyncConnection, files: Sequence[File]) -> None:
    """Another file shows the rows of these from now on."""
    await connection.execute(
        "UPDATE lake_files SET replaced_at = now() WHERE path = ANY (%s)",
        ([file.path for file in files],),
    )


async def forget(connection: psycopg.AsyncConnection, paths: Sequence[str]) -> None:
    """These files are gone."""
    await connection.execute("DELETE FROM lake_files WHERE path = ANY (%s)", (list(paths),))


async def waiting(connection: psycopg.AsyncConnection, kind: Kind) -> list[File]:
    """What is named and not in place, in the order of the log; no merged files."""
    return await _files(connection, "kind = %s AND placed_at IS NULL AND level = 0", (kind,))


async def shown(connection: psycopg.AsyncConnection, kind: Kind) -> list[File]:
    """What a snapshot shows, by day and position."""
    return await _files(
        connection, "kind = %s AND placed_at IS NOT NULL AND replaced_at IS NULL", (kind,)
    )


async def small(
    connection: psycopg.AsyncConnection, kind: Kind, rows: int, size: int
) -> list[File]:
    """What is shown and has fewer rows and bytes than this, by day and position."""
    return await _files(
        connection,
        "kind = %s AND placed_at IS NOT NULL AND replaced_at IS NULL AND rows < %s AND bytes < %s",
        (kind, rows, size),
    )


async def removable(connection: psycopg.AsyncConnection, kind: Kind, before: datetime) -> list[str]:
    """Files that no reader needs: replaced before that (by the database's clock), and merges
    that were given up. Not while one is being put in place."""
    cursor = await connection.execute(
        "SELECT path FROM lake_files WHERE kind = %s "
        "AND (replaced_at < %s OR (placed_at IS NULL AND level > 0)) LIMIT 200",
        (kind, before),
    )
    return [row[0] for row in await cursor.fetchall()]


async def _files(
    connection: psycopg.AsyncConnection, where: str, parameters: tuple[Any, ...]
) -> list[File]:
    async with connection.cursor(row_factory=class_row(File)) as cursor:
        await cursor.execute(
            f"SELECT {_COLUMNS} FROM lake_files WHERE {where} "  # noqa: S608
            "ORDER BY date, first_position, last_position".encode(),
            parameters,
        )
        return await cursor.fetchall()
