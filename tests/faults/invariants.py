"""What must be true after every fault run, checked from outside, on what is really there.

    python -m tests.faults.invariants DATA_DIR    of an `up` that runs, at rest

I1  no counter above its limit, and none that differs from what the usage log says was taken
I2  every acknowledged command is in the log, once        (the caller says which)
I3  every acknowledged verification is counted, once      (the caller says how many)
I4  credits: entries sum to balances, none negative
I5  what is published is a suffix of the log, in order, without duplicates
I6  each read model equals a replay of its log; so does the lake
I7 comes with erasure.
"""

import asyncio
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import duckdb
import psycopg

from bench.counts import counts
from infra.postgres.connection import conninfo
from tests.faults.credits_agree import credit_violations
from tests.faults.lake_rows import lake_agrees
from tests.faults.published import violations as published_violations
from tests.faults.replayed import disagreements

PATIENCE_SECONDS = 60.0
FOLLOWERS = {
    *("accounts", "keys", "history", "key_uses", "credit_decisions", "credit_uses"),
    *("publish_events", "publish_usage", "lake_events", "lake_usage"),
}


def violations(
    database_url: str,
    nats_url: str,
    lake: Path,
    *,
    valid_by_key: Mapping[str, int] | None = None,
    asked_by_key: Mapping[str, int] | None = None,
    positions: Mapping[int, str] | None = None,
    patience_seconds: float = PATIENCE_SECONDS,
) -> list[str]:
    """What is broken, a sentence each; waits until every follower is at the end of its log.

    `valid_by_key`: so many verifications of each key were answered VALID, at least;
    `asked_by_key`: so many were asked, at most. `positions`: the commands that were acknowledged,
    as their position and the stream that it is of.
    """
    behind = caught_up(database_url, patience_seconds)
    return [
        *(f"{name} does not get to the end of its log" for name in behind),
        *_stopped(database_url),
        *_counters(database_url, valid_by_key or {}, asked_by_key or {}),
        *_commands(database_url, positions or {}),
        *(f"I4: {each}" for each in credit_violations(database_url)),
        *asyncio.run(_followed(database_url, nats_url)),
        *(_lake_whole(database_url, lake, patience_seconds) or lake_agrees(database_url, lake)),
    ]


def caught_up(database_url: str, patience_seconds: float = PATIENCE_SECONDS) -> list[str]:
    """Wait until every follower is at the end of its log; those that don't get there."""
    deadline = time.monotonic() + patience_seconds
    while True:
        with psycopg.connect(conninfo(database_url)) as connection:
            behind = connection.execute(
                "SELECT name FROM followers WHERE position < CASE log WHEN 'usage' "
                "THEN (SELECT coalesce(max(notification_id), 0) FROM usage) "
                "ELSE (SELECT coalesce(max(notification_id), 0) FROM decisions) END"
            ).fetchall()
        if not behind or time.monotonic() > deadline:
            return [row[0] for row in behind]
        time.sleep(0.1)


def _stopped(database_url: str) -> list[str]:
    with psycopg.connect(conninfo(database_url)) as connection:
        rows = connection.execute("SELECT name, problem FROM followers").fetchall()
    missing = FOLLOWERS - {row[0] for row in rows}
    return [
        *(f"{name} is stopped: {problem}" for name, problem in rows if problem is not None),
        *(f"{name} has never followed" for name in missing),
    ]


def _counters(
    database_url: str, valid_by_key: Mapping[str, int], asked_by_key: Mapping[str, int]
) -> list[str]:
    with psycopg.connect(conninfo(database_url)) as connection:
        over = connection.execute(
            "SELECT counter_id, used, limit_amount + carried FROM counters "
            "WHERE used > limit_amount + carried"
        ).fetchall()
    counted = counts(database_url)
    problems = [f"I1: counter {row[0]} has used {row[1]} of {row[2]}" for row in over]
    if counted.disagreeing:
        problems.append(f"I1: {counted.disagreeing} counters differ from the usage log")
    for key_id, asked in asked_by_key.items():
        if counted.valid_by_key[key_id] > asked:
            problems.append(
                f"I3: {key_id} was asked about {asked} times, and counted "
                f"{counted.valid_by_key[key_id]} times"
            )
    for key_id, answered in valid_by_key.items():
        if counted.valid_by_key[key_id] < answered:
            problems.append(
                f"I3: {key_id} was answered VALID {answered} times, and counted "
                f"{counted.valid_by_key[key_id]} times"
            )
    return problems


def _commands(database_url: str, positions: Mapping[int, str]) -> list[str]:
    with psycopg.connect(conninfo(database_url)) as connection:
        rows = connection.execute(
            "SELECT notification_id, originator_id FROM decisions WHERE notification_id = ANY (%s)",
            (list(positions),),
        ).fetchall()
        twice = connection.execute(
            "SELECT convert_from(state, 'UTF8')::jsonb #>> '{metadata,command_id}' AS command, "
            "count(DISTINCT at) FROM (SELECT *, xmin::text AS at FROM decisions) AS d "
            # A start is one command that makes several things, each in a transaction.
            "GROUP BY 1 HAVING count(DISTINCT at) > 1 "
            "AND (min(convert_from(state, 'UTF8')::jsonb #>> '{metadata,command_id}')) "
            "NOT LIKE 'start-%'"
        ).fetchall()
    found: dict[int, str] = dict(rows)
    return [
        *(f"I2: command {command} was carried out {times} times" for command, times in twice),
        *_not_there(found, positions),
    ]


def _not_there(found: Mapping[int, str], positions: Mapping[int, str]) -> list[str]:
    return [
        f"I2: what was acknowledged at {position} is not there"
        for position, stream in positions.items()
        if found.get(position) != stream
    ]


async def _followed(database_url: str, nats_url: str) -> list[str]:
    return [
        *(f"I5: {each}" for each in await published_violations(nats_url, database_url)),
        *(f"I6: {each}" for each in await disagreements(database_url)),
    ]


def _lake_whole(database_url: str, lake: Path, patience_seconds: float) -> list[str]:
    """`lake_agrees` compares up to the snapshot's positions: they have to be the logs' ends."""
    deadline = time.monotonic() + patience_seconds
    with psycopg.connect(conninfo(database_url)) as connection:
        ends = connection.execute(
            "SELECT (SELECT coalesce(max(notification_id), 0) FROM usage), "
            "(SELECT coalesce(max(notification_id), 0) FROM decisions)"
        ).fetchone()
    while True:
        found = _published(lake)
        if found == ends:
            return []
        if time.monotonic() > deadline:
            return [f"I6: the snapshot is at {found}, the logs at {ends}"]
        time.sleep(0.2)


def _published(lake: Path) -> tuple[int, int] | None:
    """The positions of the snapshot; None while there has been none yet."""
    if not (lake / "analytics.duckdb").exists():
        return None
    with duckdb.connect(str(lake / "analytics.duckdb"), read_only=True) as connected:
        return connected.execute("SELECT usage_position, events_position FROM snapshot").fetchone()


def main() -> int:
    """Check the `up` on the folder that the command line names."""
    folder = Path(sys.argv[1])
    up = json.loads((folder / "up.json").read_text())
    found = violations(up["database_url"], up["nats_url"], folder / "lake")
    for each in found:
        print(each)
    print("all invariants hold" if not found else f"{len(found)} violations")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
