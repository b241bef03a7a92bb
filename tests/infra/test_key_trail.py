"""The trail of one key: what the lake knows of its uses, and of nobody else's."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from application.errors import AnalyticsUnavailable
from application.ports import KeyTrail
from infra.analytics.queries import SandboxedQueries
from tests.analytics_lake import FIRST_DAY, write_lake

pytestmark = pytest.mark.anyio


async def test_trail_is_of_one_key_from_an_instant_on(tmp_path: Path) -> None:
    queries = SandboxedQueries(write_lake(tmp_path / "lake"), str(tmp_path / "lake"))
    try:
        whole = await queries.key_trail("key_ada1", FIRST_DAY)
        later = await queries.key_trail("key_ada1", FIRST_DAY + timedelta(days=1))
        nobody = await queries.key_trail("key_nobody", FIRST_DAY)
    finally:
        queries.close()
    assert days(whole) == {"2026-03-01": 4, "2026-03-02": 4, "2026-03-03": 4}
    assert days(later) == {"2026-03-02": 4, "2026-03-03": 4}
    assert nobody.traces == []
    assert whole.complete_until == datetime(2026, 3, 4, 5, 6, 6, 500_000, UTC)
    assert {trace.outcome for trace in whole.traces} == {"VALID", "QUOTA_EXCEEDED"}
    for trace in whole.traces:
        assert FIRST_DAY <= trace.first_at <= trace.last_at < FIRST_DAY + timedelta(days=3)
        assert trace.first_at.tzinfo is not None
    for kind, named in (("tag", 12), ("resource", 0), ("model", 12)):
        found = [trace.verifications for trace in whole.traces if trace.kind == kind]
        assert sum(found) == named, kind


async def test_lake_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    queries = SandboxedQueries(tmp_path / "analytics.duckdb", str(tmp_path))
    try:
        with pytest.raises(AnalyticsUnavailable):
            await queries.key_trail("key_ada1", datetime(2026, 1, 1, tzinfo=UTC))
    finally:
        queries.close()


def days(trail: KeyTrail) -> dict[str, int]:
    found: dict[str, int] = {}
    for trace in trail.traces:
        if trace.kind == "day":
            found[trace.value] = found.get(trace.value, 0) + trace.verifications
    return found
