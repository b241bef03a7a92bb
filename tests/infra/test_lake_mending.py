"""What the lake loses comes back, what is not its own it leaves alone, and it ends in time."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from domain.plans import SHIPPED
from infra.event_mapper import EventMapper
from infra.followers import keep, taken
from infra.lake import compaction, snapshot
from infra.lake.place import FolderPlace
from infra.lake.scratch import Scratch
from infra.postgres.connection import conninfo
from tests.faults.lake_rows import lake_agrees
from tests.infra.lake_logs import append, caught_up, flush, following, jobs_of, shown

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]


def rows_of(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(conninfo(url), autocommit=True) as connection:
        return connection.execute(query.encode()).fetchall()


def live(url: str, where: str = "true") -> list[str]:
    query = "SELECT path FROM lake_files WHERE placed_at IS NOT NULL AND replaced_at IS NULL AND "
    return [path for (path,) in rows_of(url, query + where)]


async def test_lost_files_are_made_again_from_the_log(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(snapshot, "EVERY_SECONDS", 0.1)
    monkeypatch.setattr(compaction, "SMALL_ROWS", 50)
    append(database_url, "decisions", "plan_x", SHIPPED)
    for seed, rows in enumerate((20, 20, 200, 20)):  # merges go around the large one
        append(database_url, "usage", "usage_a", [flush(rows, seed=seed)])
        await following(
            database_url, jobs_of(database_url, tmp_path), caught_up(database_url, tmp_path)
        )

    async def merged() -> bool:
        return len(live(database_url, "kind = 'usage'")) == 2

    await following(database_url, jobs_of(database_url, tmp_path), merged)
    await following(
        database_url, jobs_of(database_url, tmp_path), caught_up(database_url, tmp_path)
    )
    query = "SELECT * FROM verifications ORDER BY verification_id"
    before = shown(tmp_path, query)
    assert len(before) > 200
    root = tmp_path / "lake"
    lost = live(database_url, "(level > 0 OR kind = 'events')")
    assert len(lost) == 2
    for path in lost:
        (root / path).unlink()

    async def back() -> bool:
        return all((root / path).exists() for path in lost)

    await following(database_url, jobs_of(database_url, tmp_path), back)
    append(database_url, "usage", "usage_a", [flush(20, seed=9)])
    await following(
        database_url, jobs_of(database_url, tmp_path), caught_up(database_url, tmp_path)
    )
    assert lake_agrees(database_url, root) == []
    after = shown(tmp_path, query)
    assert [row for row in after if row in before] == before


async def test_a_lost_file_that_the_log_cant_supply_stops_the_follower(
    database_url: str, tmp_path: Path
) -> None:
    append(database_url, "usage", "usage_a", [flush(20, seed=seed) for seed in range(3)])
    jobs = jobs_of(database_url, tmp_path)
    await following(database_url, jobs, caught_up(database_url, tmp_path))
    [lost] = live(database_url)
    (tmp_path / "lake" / lost).unlink()
    rows_of(database_url, "DELETE FROM usage WHERE notification_id = 1 RETURNING 1")

    async def stopped() -> bool:
        query = "SELECT problem FROM followers WHERE name = 'lake_usage'"
        [[problem]] = rows_of(database_url, query)
        return problem is not None and lost in problem

    await following(database_url, jobs_of(database_url, tmp_path), stopped)


async def test_the_lake_of_another_installation_is_left_alone(
    database_url: str, tmp_path: Path
) -> None:
    append(database_url, "usage", "usage_a", [flush(20)])
    root = tmp_path / "lake"
    root.mkdir()
    (root / "log_id").write_text("log_of_others")

    async def stopped() -> bool:
        problems = rows_of(database_url, "SELECT problem FROM followers WHERE name LIKE 'lake_%'")
        return len(problems) == 2 and all("log_of_others" in (each or "") for (each,) in problems)

    await following(database_url, jobs_of(database_url, tmp_path), stopped)
    assert [each.name for each in root.iterdir()] == ["log_id"]
    (root / "log_id").unlink()
    await following(
        database_url, jobs_of(database_url, tmp_path), caught_up(database_url, tmp_path)
    )
    assert shown(tmp_path, "SELECT log_id FROM snapshot") == [((root / "log_id").read_text(),)]


async def test_a_lost_base_of_the_snapshot_is_made_again(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "EVERY_SECONDS", 0.1)
    append(database_url, "usage", "usage_a", [flush(20)])
    first = caught_up(database_url, tmp_path)
    second: Callable[[], Awaitable[bool]] | None = None

    async def published_again() -> bool:
        nonlocal second
        if second is None:
            if not await first():
                return False
            [base] = (tmp_path / "lake-spool").glob("process-*/snapshot/base.duckdb")
            base.unlink()
            append(database_url, "usage", "usage_a", [flush(20, seed=1)])
            second = caught_up(database_url, tmp_path)
        return await second()

    await following(database_url, jobs_of(database_url, tmp_path), published_again, 20)


class HangingPlace(FolderPlace):
    """A folder where reading a file never ends."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.reading = threading.Event()
        self.end = threading.Event()

    def fetch(self, name: str, folder: Path) -> Path:
        self.reading.set()
        self.end.wait(60)
        return super().fetch(name, folder)


async def test_a_place_that_hangs_does_not_keep_the_process_from_ending(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "LOOK_SECONDS", 0.1)
    for seed in range(2):
        append(database_url, "usage", "usage_a", [flush(20, seed=seed)])
        jobs = jobs_of(database_url, tmp_path, None, "lake_usage")
        await following(database_url, jobs, caught_up(database_url, tmp_path))
    place = HangingPlace(tmp_path / "lake")
    mapper = EventMapper()
    [job] = jobs_of(database_url, tmp_path, place, "lake_usage")
    running = asyncio.create_task(
        keep(job, lambda name, log: taken(database_url, name, log, mapper))
    )
    try:
        assert await asyncio.to_thread(place.reading.wait, 30)
        running.cancel()
        await asyncio.wait([running], timeout=50)  # the place hangs for a minute
        assert running.done()
    finally:
        place.end.set()


KEEPS = """
import sys; from pathlib import Path; from infra.lake.scratch import Scratch
scratch = Scratch(Path(sys.argv[1])); scratch.make(); print(scratch.folder, flush=True)
sys.stdin.read()
"""


def test_each_process_has_a_folder_which_goes_with_it(tmp_path: Path) -> None:
    def started() -> tuple[subprocess.Popen[str], Path]:
        process = subprocess.Popen(
            [sys.executable, "-c", KEEPS, str(tmp_path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
        assert process.stdout is not None
        return process, Path(process.stdout.readline().strip())

    lives, its = started()
    killed, left = started()
    try:
        assert its != left
        assert its.is_dir()
        assert left.is_dir()
        killed.kill()
        killed.wait(10)
        assert left.is_dir()
        Scratch(tmp_path).make()
        assert its.is_dir()
        assert not left.exists()
        lives.communicate("", timeout=10)
        assert not its.exists()
    finally:
        for process in (lives, killed):
            process.kill()
            process.wait()


SORTS = """
import sys; from pathlib import Path; from infra.lake.place import FolderPlace
from infra.lake.writer import Lake
root = Path(sys.argv[1])
lake = Lake(FolderPlace(root / "lake"), root, "", "log_1")
for _ in range(3):
    rows = "SELECT hash(i) AS h, repeat('x', 60) || i AS t FROM range(1500000) AS r(i)"
    lake.engine.run(f"COPY (FROM ({rows}) ORDER BY h) TO '{sys.argv[2]}' (FORMAT parquet)")
    lake.engine.close_if_idle(0)
"""


def test_two_processes_may_sort_in_one_data_folder_at_once(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SORTS, str(tmp_path), str(tmp_path / f"{n}.parquet")],
            stderr=subprocess.PIPE, text=True, cwd=ROOT,
        )
        for n in range(2)
    ]  # fmt: skip
    try:
        for process in processes:
            _, err = process.communicate(timeout=120)
            assert process.returncode == 0, err
    finally:
        for process in processes:
            process.kill()
            process.wait()
