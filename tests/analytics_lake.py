"""A lake as the writer leaves it, made by hand: Parquet by day, and `analytics.duckdb`."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import duckdb

PUBLISHED = "2026-03-04 05:06:07.250000+00"
COMPLETE = "2026-03-04 05:06:06.500000+00"
FIRST_DAY = datetime(2026, 3, 1, tzinfo=UTC)
DAYS = 3
KINDS = ("usage", "events")


class Key(NamedTuple):
    """A key, its account, and how often it is verified on each day."""

    id: str
    account: str
    name: str
    uses: int


KEYS = (
    Key("key_ada1", "acct_ada", "ci", 4),
    Key("key_ada2", "acct_ada", "=cmd()", 2),
    Key("key_bob1", "acct_bob", "shop", 10),
)


def write_lake(root: Path, keys: Sequence[Key] = KEYS) -> Path:
    """Write it under `root`; answers the snapshot. Every second use is QUOTA_EXCEEDED, and
    costs nothing; the others cost 3."""
    root.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as writer:
        writer.execute("SET TimeZone = 'UTC'")
        for number in range(DAYS):
            _write_day(writer, root, keys, number)
    return write_snapshot(root / "analytics.duckdb", files_of(root), str(root), keys)


def files_of(root: Path) -> list[str]:
    """The Parquet files of the lake there, relative to it."""
    return sorted(str(file.relative_to(root)) for file in root.rglob("*.parquet"))


def write_snapshot(
    snapshot: Path,
    files: Sequence[str],
    lake_root: str,
    keys: Sequence[Key] = KEYS,
    opening: Sequence[str] = (),
) -> Path:
    """`analytics.duckdb` over these files below `lake_root`, which `opening` makes readable."""
    snapshot.unlink(missing_ok=True)
    with duckdb.connect(snapshot) as database:
        for statement in opening:
            database.execute(statement)
        database.execute(_views([f"{lake_root}/{file}" for file in files]))
        for key in keys:
            issued = FIRST_DAY.isoformat()
            row = [key.id, key.account, key.name, "live", "standard", issued, None]
            database.execute("INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    return snapshot


def _write_day(
    writer: duckdb.DuckDBPyConnection, root: Path, keys: Sequence[Key], number: int
) -> None:
    day = FIRST_DAY + timedelta(days=number)
    name = f"date={day:%Y-%m-%d}/{number:012}-{number:012}.parquet"
    usage, events = root / "usage" / name, root / "events" / name
    for file in (usage, events):
        file.parent.mkdir(parents=True, exist_ok=True)
    writer.execute("CREATE OR REPLACE TABLE uses (key_id VARCHAR, account_id VARCHAR, n INTEGER)")
    writer.executemany(
        "INSERT INTO uses VALUES (?, ?, ?)", [[key.id, key.account, key.uses] for key in keys]
    )
    writer.execute(
        f"""COPY (
            SELECT 'ver_{number}_' || key_id || i AS verification_id,
                   TIMESTAMPTZ '{day:%Y-%m-%d} 12:00:00+00' + to_seconds(i) AS verified_at,
                   account_id, key_id,
                   CASE WHEN i % 2 = 0 THEN 'VALID' ELSE 'QUOTA_EXCEEDED' END AS outcome,
                   i % 2 = 0 AS valid, (CASE WHEN i % 2 = 0 THEN 3 ELSE 0 END)::BIGINT AS "cost",
                   ['web'] AS tags, NULL::VARCHAR AS resource, 'small' AS model,
                   7::BIGINT AS judged_at, {number}::BIGINT AS "position", i::INTEGER AS "row"
            FROM uses, range(n) AS r(i) ORDER BY account_id, key_id
        ) TO '{usage}' (FORMAT parquet, COMPRESSION zstd)"""
    )
    writer.execute(
        f"""COPY (
            SELECT {number}::BIGINT AS "position", TIMESTAMPTZ '{day:%Y-%m-%d}' AS recorded_at,
                   'api_key.issued.v1' AS type, 'api_key' AS noun, 'issued' AS fact,
                   'key_ada1' AS stream, 1::BIGINT AS version, 'acct_ada' AS account_id,
                   'acct_ada' AS actor, NULL::VARCHAR AS request_id,
                   '{{"kind": "standard"}}' AS data
        ) TO '{events}' (FORMAT parquet, COMPRESSION zstd)"""
    )


def _views(files: Sequence[str]) -> str:
    usage, events = ([file for file in files if f"/{kind}/date=" in file] for kind in KINDS)
    hive = "hive_partitioning = true, hive_types = {'date': DATE}"
    return f"""
        SET TimeZone = 'UTC';
        CREATE VIEW verifications AS
            SELECT * FROM read_parquet({usage}, {hive});
        COMMENT ON VIEW verifications IS 'Every judged key, a row each.';
        COMMENT ON COLUMN verifications.outcome IS 'VALID, or why not.';
        CREATE VIEW events AS
            SELECT * REPLACE (data::JSON AS data)
            FROM read_parquet({events}, {hive});
        CREATE VIEW daily_usage AS
            SELECT date, account_id, key_id, outcome, count(*) AS verifications,
                   sum("cost")::BIGINT AS "cost"
            FROM verifications GROUP BY ALL;
        CREATE TABLE accounts (account_id VARCHAR, username VARCHAR, kind VARCHAR, plan VARCHAR,
            status VARCHAR, registered_at TIMESTAMPTZ);
        CREATE TABLE keys (key_id VARCHAR, account_id VARCHAR, name VARCHAR, environment VARCHAR,
            kind VARCHAR, issued_at TIMESTAMPTZ, revoked_at TIMESTAMPTZ);
        COMMENT ON TABLE keys IS 'Every key ever issued.';
        CREATE TABLE plans (name VARCHAR, tier VARCHAR);
        CREATE TABLE snapshot AS SELECT TIMESTAMPTZ '{PUBLISHED}' AS published_at,
            48210::BIGINT AS usage_position, 1042::BIGINT AS events_position, 'log1' AS log_id,
            TIMESTAMPTZ '{COMPLETE}' AS complete_until;
    """
