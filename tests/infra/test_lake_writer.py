"""The lake writer on the real Postgres: both logs, once each, by day, and the snapshot."""

import asyncio
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import psycopg
import pytest

from domain.api_keys import ApiKeyRevoked
from domain.plans import SHIPPED
from infra.lake import compaction, snapshot, writer
from infra.lake.place import FolderPlace, PlaceUnavailable
from infra.postgres.connection import conninfo
from projections.lake.tables import TABLES
from tests.faults.lake_rows import lake_agrees
from tests.infra.lake_logs import (
    NOON,
    append,
    caught_up,
    flush,
    following,
    jobs_of,
    shown,
)

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]


def manifest(url: str, what: str = "*", where: str = "true") -> list[tuple[Any, ...]]:
    with psycopg.connect(conninfo(url), autocommit=True) as connection:
        query = f"SELECT {what} FROM lake_files WHERE {where} ORDER BY path"
        return connection.execute(query.encode()).fetchall()


def parquet(data_dir: Path) -> set[str]:
    root = data_dir / "lake"
    return {str(file.relative_to(root)) for file in root.glob("*/*/*") if file.is_file()}


async def test_both_logs_are_in_the_snapshot_row_by_row(database_url: str, tmp_path: Path) -> None:
    append(database_url, "usage", "usage_a", [flush(40, seed=seed) for seed in range(30)])
    append(database_url, "decisions", "plan_free", [*SHIPPED, ApiKeyRevoked()])
    await following(
        database_url, jobs_of(database_url, tmp_path), caught_up(database_url, tmp_path)
    )
    assert lake_agrees(database_url, tmp_path / "lake") == []
    [(total, usage)] = shown(
        tmp_path,
        "SELECT (SELECT sum(verifications) FROM daily_usage), (SELECT count(*) FROM verifications)",
    )
    assert total == usage > 0
    assert parquet(tmp_path) == {row[0] for row in manifest(database_url, "path")}
    assert not list((tmp_path / "lake-spool").glob("lake_*/*.parquet"))


async def test_a_batch_that_spans_days_makes_a_file_a_day(
    database_url: str, tmp_path: Path
) -> None:
    late = NOON.replace(hour=23, minute=59, second=59)
    events = [flush(50, late, spread=timedelta(seconds=2)), flush(10, NOON - timedelta(days=400))]
    append(database_url, "usage", "usage_a", events)
    await following(
        database_url, jobs_of(database_url, tmp_path), caught_up(database_url, tmp_path)
    )
    assert parquet(tmp_path) == {
        f"usage/date={day}/000000000001-000000000002.parquet"
        for day in ("2025-01-25", "2026-03-01", "2026-03-02")
    }
    assert lake_agrees(database_url, tmp_path / "lake") == []
    assert shown(
        tmp_path, "SELECT count(*) FROM verifications WHERE date <> verified_at::DATE"
    ) == [(0,)]


async def test_only_retried_rows_make_no_file_and_do_not_hold_it_up(
    database_url: str, tmp_path: Path
) -> None:
    event = flush(1, seed=4)
    retried = msgspec.structs.replace(event, refused=[0], refused_by=[-1])
    append(database_url, "usage", "usage_a", [retried])
    await following(
        database_url, jobs_of(database_url, tmp_path), caught_up(database_url, tmp_path)
    )
    assert parquet(tmp_path) == set()
    assert shown(tmp_path, "SELECT * FROM verifications") == []


async def test_an_empty_lake_has_typed_views_and_comments_on_everything(
    database_url: str, tmp_path: Path
) -> None:
    await following(
        database_url, jobs_of(database_url, tmp_path), caught_up(database_url, tmp_path)
    )
    for table in TABLES:
        described = shown(tmp_path, f"DESCRIBE {table.name}")
        assert [(row[0], row[1]) for row in described] == [
            (each.name, each.type.replace("TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE"))
            for each in table.columns
        ]
    columns = "SELECT table_name, column_name, comment FROM duckdb_columns() WHERE NOT internal"
    assert {(name, column): comment for name, column, comment in shown(tmp_path, columns)} == {
        (table.name, column.name): column.comment for table in TABLES for column in table.columns
    }
    tables = "SELECT view_name, comment FROM duckdb_views() WHERE NOT internal UNION ALL "
    tables += "SELECT table_name, comment FROM duckdb_tables()"
    assert dict(shown(tmp_path, tables)) == {table.name: table.comment for table in TABLES}


async def test_dimension_tables_tell_what_the_states_say_and_nothing_personal(
    database_url: str, tmp_path: Path
) -> None:
    states = [
        ("acct_1", "account", '{"id":"acct_1","username":"a \\"b\\", c\\nd","kind":"personal",'
         '"plan":"pro","status":"active","registered_at":"2026-03-01T12:00:00.5Z"}'),
        ("acct_2", "account", '{"id":"acct_2","username":null,"kind":"business",'
         '"plan":"","status":"suspended","registered_at":"2026-03-01T12:00:00Z"}'),
        ("key_1", "api_key", '{"id":"key_1","account_id":"acct_1","name":"","digest":"c2VjcmV0",'
         '"environment":"live","kind":"standard","issued_at":1772366400.25,"revoked_at":null}'),
        ("plan_pro", "plan", '{"name":"pro","tier":"pro","title":"Pro","self_service":true,'
         '"entitlements":{"keys":5,"quota":{"limit":10,"period":"day"}}}'),
        ("plan_x", "plan", '{"name":"x","tier":"x","title":"X","self_service":false,'
         '"entitlements":{}}'),
    ]  # fmt: skip
    with psycopg.connect(conninfo(database_url), autocommit=True) as connection:
        for stream, noun, state in states:
            connection.execute(
                "INSERT INTO states VALUES (%s, %s, NULL, 1, convert_to(%s, 'UTF8'))",
                (stream, noun, state),
            )
    append(database_url, "decisions", "plan_x", [SHIPPED[0]])
    await following(
        database_url, jobs_of(database_url, tmp_path), caught_up(database_url, tmp_path)
    )
    accounts = shown(
        tmp_path, "SELECT * REPLACE (epoch(registered_at) AS registered_at) FROM accounts"
    )
    assert sorted(accounts) == [
        ("acct_1", 'a "b", c\nd', "personal", "pro", "active", 1772366400.5),
        ("acct_2", None, "business", "", "suspended", 1772366400.0),
    ]
    keys = "SELECT * REPLACE (epoch(issued_at) AS issued_at) FROM keys"
    assert shown(tmp_path, keys) == [
        ("key_1", "acct_1", "", "live", "standard", 1772366400.25, None)
    ]
    assert shown(tmp_path, "SELECT * FROM plans ORDER BY name") == [
        ("pro", "pro", "Pro", True, 5, 10, "day", 0),
        ("x", "x", "X", False, None, None, None, 0),
    ]
    assert b"c2VjcmV0" not in (tmp_path / "lake" / "analytics.duckdb").read_bytes()


READER = """
import sys, time, duckdb
last, opened = -1, 0
while True:
    try:
        lake = duckdb.connect(sys.argv[1], read_only=True)
    except duckdb.IOException:
        assert opened == 0  # once there is one, there always is one
        time.sleep(0.01)
        continue
    opened += 1
    [[count, ids, end, old]] = lake.execute(
        'SELECT count(*), count(DISTINCT verification_id), max(e."position"), '
        "(SELECT usage_position FROM snapshot) FROM verifications e").fetchall()
    [[again]] = lake.execute("SELECT count(*) FROM verifications").fetchall()
    lake.close()
    assert count == ids == again and count >= last, (count, ids, again, last)
    assert (end or 0) == old, (end, old)
    last = count
    if count >= int(sys.argv[2]):
        print(opened)
        break
"""


async def test_another_process_reads_while_it_is_written_and_never_sees_less(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "EVERY_SECONDS", 0.05)
    monkeypatch.setattr(compaction, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(compaction, "REMOVE_AFTER_SECONDS", 5.0)
    event = flush(5)
    rows = 40 * sum(
        row not in event.refused or event.refused_by[event.refused.index(row)] > 0
        for row in range(5)
    )
    path = tmp_path / "lake" / "analytics.duckdb"
    reader = subprocess.Popen(  # noqa: ASYNC220 - starting it is all that blocks
        [sys.executable, "-c", READER, str(path), str(rows)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        sent = 0

        async def ended() -> bool:
            nonlocal sent
            if sent < 40:
                sent += 1
                await asyncio.to_thread(append, database_url, "usage", "usage_a", [event])
            return reader.poll() is not None

        await following(database_url, jobs_of(database_url, tmp_path, gather_seconds=0.01), ended)
        out, err = reader.communicate(timeout=10)
        assert reader.returncode == 0, err
        assert int(out) > 3
    finally:
        reader.kill()
        reader.wait()


async def test_small_files_are_merged_shown_at_once_and_removed_later(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(snapshot, "EVERY_SECONDS", 0.1)
    files = 6
    for seed in range(files):
        append(database_url, "usage", "usage_a", [flush(20, seed=seed)])
        jobs = jobs_of(database_url, tmp_path, None, "lake_usage")
        await following(database_url, jobs, caught_up(database_url, tmp_path))
    before = shown(tmp_path, "SELECT * FROM verifications ORDER BY verification_id")

    async def merged() -> bool:
        return len(manifest(database_url, where="replaced_at IS NULL")) == 1

    jobs = jobs_of(database_url, tmp_path, None, "lake_usage")
    await following(database_url, jobs, merged)
    await following(database_url, jobs, caught_up(database_url, tmp_path))
    assert shown(tmp_path, "SELECT * FROM verifications ORDER BY verification_id") == before
    assert lake_agrees(database_url, tmp_path / "lake") == []
    # What was replaced stays for those who have an older snapshot open.
    assert {row[0] for row in manifest(database_url, "path")} == parquet(tmp_path)
    assert len(parquet(tmp_path)) > 1
    monkeypatch.setattr(compaction, "REMOVE_AFTER_SECONDS", 0.3)

    async def removed() -> bool:
        return len(parquet(tmp_path)) == 1 == len(manifest(database_url))

    await following(database_url, jobs_of(database_url, tmp_path, None, "lake_usage"), removed)
    assert shown(tmp_path, "SELECT * FROM verifications ORDER BY verification_id") == before


async def test_what_came_before_a_poison_event_is_written(
    database_url: str, tmp_path: Path
) -> None:
    append(database_url, "usage", "usage_a", [flush(10, seed=1)])
    with psycopg.connect(conninfo(database_url), autocommit=True) as connection:
        connection.execute(
            "INSERT INTO usage (originator_id, originator_version, topic, state) "
            "VALUES ('usage_b', 1, 'usage.from_the_future.v9', '{}')"
        )

    async def stopped() -> bool:
        with psycopg.connect(conninfo(database_url), autocommit=True) as connection:
            query = "SELECT position, stopped_at FROM followers WHERE name = 'lake_usage'"
            return connection.execute(query).fetchone() == (1, 2)

    await following(database_url, jobs_of(database_url, tmp_path), stopped)
    assert shown(tmp_path, "SELECT usage_position FROM snapshot") == [(1,)]
    assert lake_agrees(database_url, tmp_path / "lake") == []


async def test_snapshot_claims_no_more_than_it_has(database_url: str, tmp_path: Path) -> None:
    """Complete is what was counted before somebody looked and nobody was counting; else what
    was counted before the last that is here."""
    counted = datetime(2026, 3, 1, 12, 0, 5, 250_000, UTC)
    us = int(counted.timestamp()) * 1_000_000 + 250_000
    columns = "complete_until = ?, complete_until < published_at, complete_until > ? FROM snapshot"

    async def claims(since: datetime) -> tuple[bool, bool, bool]:
        """Of the last that is here; earlier than the snapshot; later than this."""
        await following(database_url, jobs_of(database_url, tmp_path), done)
        with duckdb.connect(str(tmp_path / "lake" / "analytics.duckdb"), read_only=True) as lake:
            [found] = lake.execute(f"SELECT {columns}", [counted, since]).fetchall()
        return found

    event = msgspec.structs.replace(flush(10, seed=1), counted_at_us=us)
    append(database_url, "usage", "usage_a", [event])
    done, appended = caught_up(database_url, tmp_path), datetime.now(UTC)
    assert await claims(appended) == (False, True, True)

    with psycopg.connect(conninfo(database_url)) as counting:
        counting.execute("LOCK TABLE usage IN EXCLUSIVE MODE")
        (tmp_path / "lake" / "analytics.duckdb").unlink()
        assert await claims(appended) == (True, True, False)
    (tmp_path / "lake" / "analytics.duckdb").unlink()
    with psycopg.connect(conninfo(database_url), autocommit=True) as connection:
        connection.execute(
            "INSERT INTO usage (originator_id, originator_version, topic, state) "
            "VALUES ('usage_b', 1, 'usage.from_the_future.v9', '{}')"
        )
    assert await claims(appended) == (True, True, False)


class ShakyPlace(FolderPlace):
    """A folder that can be away."""

    away = True

    def put(self, name: str, file: Path, sha256: str) -> None:
        if self.away:
            raise PlaceUnavailable("away for the test")
        super().put(name, file, sha256)


async def test_files_wait_in_a_bounded_spool_while_the_place_is_away(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = ShakyPlace(tmp_path / "lake")
    sent = 0

    def checkpoint() -> int:
        with psycopg.connect(conninfo(database_url), autocommit=True) as connection:
            query = "SELECT position FROM followers WHERE name = 'lake_usage'"
            row = connection.execute(query).fetchone()
        assert row is not None
        return int(row[0])

    def seen_at() -> Any:
        with psycopg.connect(conninfo(database_url), autocommit=True) as connection:
            query = "SELECT seen_at FROM followers WHERE name = 'lake_usage'"
            return connection.execute(query).fetchone()

    stands_still = 0
    monkeypatch.setattr(writer, "HEARTBEAT_SECONDS", 0.1)
    seen = set()

    async def full() -> bool:
        nonlocal sent, stands_still
        if checkpoint() == sent:
            stands_still = 0
            append(database_url, "usage", "usage_a", [flush(200, seed=sent)])
            sent += 1
        else:
            stands_still += 1
            if stands_still > 10:
                seen.add(seen_at())
        return stands_still > 20 and len(seen) > 2  # it is full, and says that it lives

    jobs = jobs_of(
        database_url, tmp_path, place, "lake_usage", spool_bytes=30_000, gather_seconds=0.01
    )
    await following(database_url, jobs, full)
    spooled = sum(file.stat().st_size for file in (tmp_path / "lake-spool").glob("lake_usage/*"))
    assert 30_000 < spooled < 60_000
    assert checkpoint() < sent
    assert parquet(tmp_path) == set()
    place.away = False
    await following(
        database_url, jobs_of(database_url, tmp_path, place), caught_up(database_url, tmp_path)
    )
    assert lake_agrees(database_url, tmp_path / "lake") == []


async def test_a_lost_spool_is_made_again_from_the_log(database_url: str, tmp_path: Path) -> None:
    place = ShakyPlace(tmp_path / "lake")
    late = NOON.replace(hour=23, minute=59, second=59)
    append(database_url, "usage", "usage_a", [flush(30, late, 1, timedelta(seconds=2))])
    append(database_url, "decisions", "plan_x", [SHIPPED[0]])

    async def named() -> bool:
        return len(manifest(database_url, where="placed_at IS NULL")) == 3

    await following(database_url, jobs_of(database_url, tmp_path, place), named)
    sums = manifest(database_url, "path, sha256, rows, bytes")
    for file in (tmp_path / "lake-spool").glob("lake_*/*.parquet"):
        file.unlink()
    place.away = False
    await following(
        database_url, jobs_of(database_url, tmp_path, place), caught_up(database_url, tmp_path)
    )
    assert lake_agrees(database_url, tmp_path / "lake") == []
    assert manifest(database_url, "path, sha256, rows, bytes") == sums  # the same bytes again


async def test_nothing_heavy_is_loaded_before_there_is_work() -> None:
    program = (
        "import sys, infra.lake; from pathlib import Path\n"
        "place = infra.lake.lake_place('s3://bucket/x', Path('d'), 'http://localhost:1', 'r')\n"
        "infra.lake.LakeJob('lake_usage', infra.lake.Lake(place, Path('d'), 'u', 'log'))\n"
        "assert not {'duckdb', 'boto3', 'pyarrow'} & sys.modules.keys(), sys.modules.keys()"
    )
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
