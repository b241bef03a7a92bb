"""The lake's rows are what the log says: DuckDB's SQL against the domain's functions."""

import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from domain.event import Event, Metadata, Recorded, disclosed, personal_fields
from domain.verification import VerificationsCounted, outcomes, verification_id
from projections.lake.rows import Line, event_line, usage_line
from projections.lake.statements import Kind, merge, write_day
from projections.lake.tables import EVENTS, KEYS, TABLES, VERIFICATIONS
from tests.exploring import examples
from tests.infra.golden_events import EXAMPLES, METADATA

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DECISIONS = [each for each in EXAMPLES if not isinstance(each, VerificationsCounted)]
CODES = ("VALID", "NOT_FOUND", "DISABLED", "EXPIRED", "REVOKED", "FORBIDDEN", "ACCOUNT_SUSPENDED")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@st.composite
def flushes(draw: st.DrawFn) -> VerificationsCounted:
    """Any flush that counting can have written."""
    rows = draw(st.integers(0, 12))
    keys = draw(st.lists(TEXT, min_size=1, max_size=4))
    accounts = draw(st.lists(TEXT, min_size=1, max_size=3))

    def column(values: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(values, min_size=rows, max_size=rows))

    starts = draw(st.sets(st.integers(1, rows - 1), max_size=3)) if rows > 1 else set()
    refused = sorted(draw(st.sets(st.integers(0, rows - 1)))) if rows else []
    labels: st.SearchStrategy[Any] = st.fixed_dictionaries(
        {},
        optional={"tags": st.lists(TEXT, min_size=1, max_size=3), "model": TEXT, "resource": TEXT},
    )
    labelled = draw(st.sets(st.integers(0, rows - 1))) if rows else set()
    priced = draw(st.sets(st.integers(0, rows - 1))) if rows else set()
    return VerificationsCounted(
        instance="test",
        at_us=column(st.integers(0, 4_000_000_000_000_000)),
        judged_at=[(first, draw(st.integers(0, 2**53))) for first in sorted({0} | starts)],
        keys=keys,
        accounts=accounts,
        key=column(st.integers(-1, len(keys) - 1)),
        account=column(st.integers(-1, len(accounts) - 1)),
        code=column(st.sampled_from(CODES)),
        cost=column(st.integers(0, 2**53)),
        takes=[number for row in sorted(priced) for number in (row, 2, row * 50)],
        counters=[7, 8],
        kinds=[0, 2],
        operations={str(row): draw(TEXT.filter(bool)) for row in priced},
        labels={str(row): draw(labels) for row in labelled},
        refused=refused,
        refused_by=[draw(st.sampled_from([-1, 1, 2])) for _ in refused],
    )


def recorded(
    event: Event, position: int = 1, version: int = 1, stream: str = "usage_a"
) -> Recorded:
    return Recorded(position, stream, version, event, METADATA, "acct_1")


def read_back(kind: Kind, lines: list[Line], day: date | None = None) -> list[dict[str, Any]]:
    """What stands in the Parquet file that DuckDB makes of these lines."""
    with tempfile.TemporaryDirectory() as folder, duckdb.connect(":memory:") as engine:
        source, target = Path(folder) / "lines.ndjson", Path(folder) / "rows.parquet"
        source.write_bytes(b"".join(line.json for line in lines))
        longest = max(len(line.json) for line in lines) + 1024
        engine.execute(write_day(kind, str(source), longest, str(target), day))
        found = engine.execute("SELECT * FROM read_parquet(?)", [str(target)])
        assert found.description is not None
        names = [each[0] for each in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def expected(each: Recorded) -> list[dict[str, Any]]:
    """The rows of a flush, by the domain's functions."""
    event = each.event
    assert isinstance(event, VerificationsCounted)
    rows = []
    for row, outcome in enumerate(outcomes(event)):
        if outcome == "RETRIED":
            continue
        at = EPOCH + timedelta(microseconds=event.at_us[row])
        labels = event.labels.get(str(row), {})
        rows.append(
            {
                "verification_id": verification_id(each.stream, each.version, row),
                "verified_at": at,
                "date": at.date(),
                "account_id": event.accounts[event.account[row]]
                if event.account[row] >= 0
                else None,
                "key_id": event.keys[event.key[row]] if event.key[row] >= 0 else None,
                "outcome": outcome,
                "valid": outcome == "VALID",
                "cost": event.cost[row],
                "tags": labels.get("tags"),
                "resource": labels.get("resource") or None,
                "model": labels.get("model") or None,
                "operation": event.operations.get(str(row)),
                "credits": row * 50
                if str(row) in event.operations and row not in event.refused
                else None,
                "judged_at": max(run for run in event.judged_at if run[0] <= row)[1],
                "position": each.position,
                "row": row,
            }
        )
    return rows


def by_id(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: str(row["verification_id"]))


@hypothesis_settings(max_examples=examples(60))
@given(st.lists(flushes(), min_size=1, max_size=3))
def test_every_row_of_every_flush_is_there_once_with_its_final_outcome(
    events: list[VerificationsCounted],
) -> None:
    log = [recorded(event, number + 10, number) for number, event in enumerate(events, 1)]
    wanted = [row for each in log for row in expected(each)]
    assert by_id(read_back("usage", [usage_line(each) for each in log])) == by_id(wanted)


@hypothesis_settings(max_examples=examples(30))
@given(flushes())
def test_days_of_a_line_are_those_of_its_rows_and_split_them_without_loss(
    event: VerificationsCounted,
) -> None:
    each = recorded(event)
    line = usage_line(each)
    wanted = expected(each)
    assert {row["date"] for row in wanted} <= line.days
    assert line.rows == len(event.code)
    split = [row for day in line.days for row in read_back("usage", [line], day)]
    assert by_id(split) == by_id(wanted)


@pytest.mark.parametrize("event", DECISIONS, ids=lambda event: type(event).__name__)
def test_a_decision_is_one_row_with_what_may_be_told(event: Event) -> None:
    each = recorded(event, 7, 3, "key_1")
    [row] = read_back("events", [event_line(each)])
    told = msgspec.json.decode(msgspec.json.encode(disclosed(event)))
    assert msgspec.json.decode(row.pop("data")) == told
    name = event.__struct_config__.tag
    assert row == {
        "position": 7,
        "recorded_at": METADATA.at,
        "date": METADATA.at.date(),
        "type": name,
        "noun": str(name).split(".")[0],
        "fact": str(name).split(".")[1],
        "stream": "key_1",
        "version": 3,
        "account_id": "acct_1",
        "actor": METADATA.actor,
        "request_id": METADATA.request_id,
    }


@pytest.mark.parametrize("event", DECISIONS, ids=lambda event: type(event).__name__)
def test_nothing_personal_or_internal_is_in_a_line(event: Event) -> None:
    line = event_line(recorded(event)).json
    assert b"GOLDEN-PERSONAL" not in line
    document = msgspec.json.decode(line)
    assert not set(document["data"]) & {*personal_fields(type(event)), "digest", "pepper_id"}
    assert b"command_id" not in line
    assert "reason" not in document


def test_a_day_is_the_utc_day_whatever_the_zone_of_the_instant() -> None:
    at = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
    event = DECISIONS[0]
    for zone in (UTC, datetime.fromisoformat("2026-01-01T00:00:00+09:00").tzinfo):
        metadata = Metadata(at=at.astimezone(zone), actor="operator", command_id="c")
        line = event_line(Recorded(1, "x", 1, event, metadata, None))
        assert line.days == {date(2026, 3, 1)}
        [row] = read_back("events", [line])
        assert row["date"] == date(2026, 3, 1)
        assert row["recorded_at"] == at


def test_files_have_the_columns_that_the_tables_promise() -> None:
    with tempfile.TemporaryDirectory() as folder, duckdb.connect(":memory:") as engine:
        flush = usage_line(
            recorded(
                VerificationsCounted(
                    instance="t",
                    at_us=[1],
                    judged_at=[(0, 1)],
                    keys=["k"],
                    accounts=["a"],
                    key=[0],
                    account=[0],
                    code=["VALID"],
                    cost=[1],
                    takes=[],
                    counters=[],
                )
            )
        )
        decision = DECISIONS[0]
        made: list[tuple[Kind, Line, Any]] = [
            ("usage", flush, VERIFICATIONS),
            ("events", event_line(recorded(decision)), EVENTS),
        ]
        for kind, line, table in made:
            source, target = Path(folder) / "lines", f"{folder}/it's {kind}.parquet"
            source.write_bytes(line.json)
            engine.execute(write_day(kind, str(source), 9999, target, None))
            again = f"{folder}/merged.parquet"
            engine.execute(merge(kind, [target, target], again))
            for file, count in ((target, 1), (again, 2)):
                described = engine.execute("DESCRIBE SELECT * FROM read_parquet(?)", [file])
                columns = [(row[0], row[1]) for row in described.fetchall()]
                promised = [
                    (each.name, each.type.replace("TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE"))
                    for each in table.columns
                ]
                assert columns == promised
                rows = engine.execute("SELECT count(*) FROM read_parquet(?)", [file]).fetchall()
                assert rows == [(count,)]


def test_every_table_and_column_says_what_it_means() -> None:
    for table in TABLES:
        assert table.comment.endswith(".")
        for column in table.columns:
            assert column.comment.endswith("."), (table.name, column.name)
    names = {column.name for column in KEYS.columns}
    assert not names & {"digest", "secret", "hint", "pepper_id"}
