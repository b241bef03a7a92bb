"""Holds the lake against its logs: every row once, with the same answer, and none else.

    lake_agrees(database_url, lake_folder) -> problems, none if all is well

It reads analytics.duckdb as any reader would, and the logs up to the positions in it.
"""

from collections import Counter
from pathlib import Path

import duckdb
import psycopg

from domain.event import Recorded, stored_name
from domain.verification import VerificationsCounted, outcomes, verification_id
from infra.event_mapper import EventMapper
from infra.postgres.connection import conninfo

SHOWN = 5


def lake_agrees(database_url: str, lake_folder: Path, opening: tuple[str, ...] = ()) -> list[str]:
    """What differs between the snapshot and a replay of the logs up to its positions.

    `opening` is what DuckDB runs first, for a lake in S3.
    """
    with duckdb.connect(str(lake_folder / "analytics.duckdb"), read_only=True) as lake:
        for statement in opening:
            lake.execute(statement)
        return [*_verifications(database_url, lake), *_events(database_url, lake)]


def _verifications(database_url: str, lake: duckdb.DuckDBPyConnection) -> list[str]:
    [[end]] = lake.execute("SELECT usage_position FROM snapshot").fetchall()
    wanted: Counter[tuple[str | None, str]] = Counter()
    ids = set()
    for recorded in _log(database_url, "usage", end):
        event = recorded.event
        assert isinstance(event, VerificationsCounted)
        for row, outcome in enumerate(outcomes(event)):
            if outcome != "RETRIED":
                key = event.keys[event.key[row]] if event.key[row] >= 0 else None
                wanted[key, outcome] += 1
                ids.add(verification_id(recorded.stream, recorded.version, row))
    bound = f'WHERE "position" <= {end}'
    found = Counter(
        {
            (key, outcome): count
            for key, outcome, count in lake.execute(
                f"SELECT key_id, outcome, count(*) FROM verifications {bound} GROUP BY ALL"
            ).fetchall()
        }
    )
    problems = [
        f"key {key} {outcome}: {wanted[key, outcome]} in the log, {found[key, outcome]} in the lake"
        for key, outcome in wanted.keys() | found.keys()
        if wanted[key, outcome] != found[key, outcome]
    ]
    stored = [
        row[0]
        for row in lake.execute(f"SELECT verification_id FROM verifications {bound}").fetchall()
    ]
    if len(stored) != len(set(stored)):
        problems.append(f"{len(stored) - len(set(stored))} verification ids are there twice")
    if missing := sorted(ids - set(stored)):
        problems.append(f"{len(missing)} verifications are not in the lake: {missing[:SHOWN]}")
    if strange := sorted(set(stored) - ids):
        problems.append(f"{len(strange)} verifications are not in the log: {strange[:SHOWN]}")
    return problems


def _events(database_url: str, lake: duckdb.DuckDBPyConnection) -> list[str]:
    [[end]] = lake.execute("SELECT events_position FROM snapshot").fetchall()
    wanted = [
        (each.position, stored_name(type(each.event)), each.stream, each.version)
        for each in _log(database_url, "decisions", end)
    ]
    found = lake.execute(
        f'SELECT "position", "type", stream, version FROM events WHERE "position" <= {end} '
        'ORDER BY "position"'
    ).fetchall()
    if found == wanted:
        return []
    differ = sorted(set(found) ^ set(wanted))[:SHOWN]
    return [f"events: {len(wanted)} in the log, {len(found)} in the lake; {differ}"]


def _log(database_url: str, log: str, end: int) -> list[Recorded]:
    mapper = EventMapper()
    with psycopg.connect(conninfo(database_url), autocommit=True) as connection:
        rows = connection.execute(
            "SELECT notification_id, originator_id, originator_version, topic, state "
            f"FROM {log} WHERE notification_id <= %s ORDER BY notification_id".encode(),
            (end,),
        ).fetchall()
    return [mapper.decode(*row) for row in rows]
