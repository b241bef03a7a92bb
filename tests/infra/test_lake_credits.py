"""The lake's view of credits: every movement once, of commands and of verifications."""

from pathlib import Path

import msgspec
import pytest

from tests.infra.golden_events import EXAMPLES
from tests.infra.lake_logs import NOON, append, caught_up, flush, following, jobs_of, shown

pytestmark = pytest.mark.anyio


async def test_each_movement_is_there_once_and_changes_add_up(
    database_url: str, tmp_path: Path
) -> None:
    entries = [each for each in EXAMPLES if type(each).__module__ == "domain.credit_events"]
    append(database_url, "decisions", "credit_1", entries)
    spending = msgspec.structs.replace(
        flush(2, NOON),
        code=["VALID", "VALID"],
        key=[0, 0],
        account=[0, 0],
        refused=[],
        refused_by=[],
        counters=[7],
        kinds=[2],
        takes=[0, 1, 1_50, 1, 1, 0],
        operations={"0": "post", "1": "ping"},
        opening=[0],
        limits=[5_00],
        entry_no=[1],
    )
    append(database_url, "usage", "usage_a", [spending])
    await following(
        database_url, jobs_of(database_url, tmp_path), caught_up(database_url, tmp_path)
    )
    found = shown(
        tmp_path,
        "SELECT kind, amount, change, operation FROM credits ORDER BY entry_no NULLS LAST",
    )
    assert found == [
        ("granted", 5_00, 5_00, None),
        ("begun", 1_00, 1_00, None),
        ("spent", 1_50, -1_50, "post_with_media"),
        ("held", 1_00, -1_00, "post"),
        ("captured", 75, 0, None),
        ("released", 25, 25, None),
        ("withdrawn", 1_00, 0, None),
        ("expired", 1_25, -1_25, None),
        ("verification", 1_50, -1_50, "post"),
    ]
