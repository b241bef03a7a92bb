"""Migrations: numbered .sql files, each run once, in order, under an advisory lock."""

import secrets
from importlib.resources import files
from typing import NamedTuple

import psycopg

from application.errors import StoreUnavailable
from infra.postgres.connection import SCHEMA, conninfo

OLDEST_SERVER = 170000
_LOCK = 0x746F6C6C  # "toll"


class MigrationError(Exception):
    """The database can't be brought to this version; the message says why and what to do."""


class Migrated(NamedTuple):
    """What was done: the names of the migrations that ran, and the id of the log."""

    ran: list[str]
    log_id: str


def shipped() -> dict[int, tuple[str, str]]:
    """Every migration of this version: number -> name, SQL."""
    found = {}
    for file in (files("infra.postgres") / "migrations").iterdir():
        if file.name.endswith(".sql"):
            found[int(file.name[:4])] = (file.name, file.read_text())
    return dict(sorted(found.items()))


def migrate(url: str) -> Migrated:
    """Bring the database to this version. Safe to run by many at once and again.

    Raises MigrationError for a server that is too old or a schema that is newer than this
    program, StoreUnavailable if there is no server.
    """
    try:
        with psycopg.connect(conninfo(url), autocommit=True) as connection:
            return _migrate(connection)
    except psycopg.OperationalError as error:
        raise StoreUnavailable(str(error).strip()) from error


def log_id_of(url: str) -> str:
    """The id of the log in a database of this version. MigrationError if it is of another."""
    try:
        with psycopg.connect(conninfo(url), autocommit=True) as connection:
            try:
                ran = {row[0] for row in connection.execute("SELECT number FROM migrations")}
                row = connection.execute("SELECT value FROM meta WHERE name = 'log_id'").fetchone()
            except psycopg.errors.UndefinedTable:
                ran, row = set(), None
    except psycopg.OperationalError as error:
        raise StoreUnavailable(str(error).strip()) from error
    if row is None or ran != shipped().keys():
        raise MigrationError(
            "The database is not of this version: run `tollhouse migrate` first (or, if it is "
            "newer, start the version that wrote it; or, if it is not, this role lacks rights "
            f"on the schema {SCHEMA}: see docs/operations.md)."
        )
    return str(row[0])


def _migrate(connection: psycopg.Connection) -> Migrated:
    if connection.info.server_version < OLDEST_SERVER:
        raise MigrationError(
            f"Postgres {connection.info.server_version // 10000} is too old: Tollhouse needs 17 "
            "or newer, for the MAINTAIN privilege. Upgrade the server."
        )
    ran = []
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS migrations "
            "(number integer PRIMARY KEY, name text NOT NULL, ran_at timestamptz DEFAULT now())"
        )
        connection.execute(
            "CREATE TABLE IF NOT EXISTS meta (name text PRIMARY KEY, value text NOT NULL)"
        )
        done = {row[0]: row[1] for row in connection.execute("SELECT number, name FROM migrations")}
        known = shipped()
        if newer := sorted(done.keys() - known.keys()):
            raise MigrationError(
                f"The database was written by a newer Tollhouse (it has {done[newer[-1]]}). "
                "Start that version, or restore a backup from before the upgrade."
            )
        for number in sorted(known.keys() - done.keys()):
            name, sql = known[number]
            connection.execute(sql.encode())
            connection.execute(
                "INSERT INTO migrations (number, name) VALUES (%s, %s)", (number, name)
            )
            ran.append(name)
        connection.execute(
            "INSERT INTO meta (name, value) VALUES ('log_id', %s) ON CONFLICT DO NOTHING",
            (f"log{secrets.token_hex(6)}",),
        )
        row = connection.execute("SELECT value FROM meta WHERE name = 'log_id'").fetchone()
    return Migrated(ran, row[0] if row else "")
