"""The lake has every row once, whatever is killed, full, or away (faults 5 and 7)."""

import asyncio
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import boto3
import duckdb
import httpx
import psycopg
import pytest
from moto.server import ThreadedMotoServer

from domain.plans import SHIPPED
from infra.lake import compaction, mending, placing, snapshot
from infra.lake import place as places
from infra.lake.place import FolderPlace, Place, lake_place
from infra.postgres.connection import conninfo
from tests.faults.lake_rows import lake_agrees
from tests.infra.lake_logs import append, caught_up, flush, following, jobs_of

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]
POINTS = ("lake.written", "lake.planned", "lake.placed", "lake.merged")
# The others have their turn in the long run.
OFTEN = ("lake.placed", "lake.merged")
# A merge that was given up is named as well, until it is removed.
UNPLACED = "SELECT 1 FROM lake_files WHERE placed_at IS NULL AND level = 0"


def rows_of(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(conninfo(url), autocommit=True) as connection:
        return connection.execute(query.encode()).fetchall()


def run_lake(url: str, data_dir: Path, failpoint: str) -> int:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.lake_process", url, str(data_dir), failpoint],
        cwd=ROOT,
        timeout=60,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


@pytest.mark.parametrize(
    "point",
    [pytest.param(each, marks=() if each in OFTEN else pytest.mark.long) for each in POINTS],
)
def test_killed_at_any_point_it_has_every_row_once(
    point: str, database_url: str, tmp_path: Path
) -> None:
    for round_number, failpoint in enumerate(("", point, f"{point}:2", "")):
        append(database_url, "usage", "usage_a", [flush(30, seed=round_number)] * 3)
        append(database_url, "decisions", "plan_x", SHIPPED)
        ended = run_lake(database_url, tmp_path, failpoint)
        assert (ended == -signal.SIGKILL) == bool(failpoint)
    assert lake_agrees(database_url, tmp_path / "lake") == []
    named = {row[0] for row in rows_of(database_url, "SELECT path FROM lake_files")}
    root = tmp_path / "lake"
    assert {str(file.relative_to(root)) for file in root.glob("*/*/*")} == named
    assert rows_of(database_url, UNPLACED) == []


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of this size, and a ballast file that fills what is left of it."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"mount isn't permitted here: {mounted.stderr.strip()}")
    try:
        ballast = folder / "ballast"
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        yield ballast
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True)


@pytest.mark.parametrize("full", ["lake", pytest.param("lake-spool", marks=pytest.mark.long)])
async def test_full_disk_shows_no_half_file_and_loses_nothing(
    full: str, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placing, "LONGEST_PAUSE_SECONDS", 0.3)
    monkeypatch.setattr(snapshot, "EVERY_SECONDS", 0.1)
    append(database_url, "usage", "usage_a", [flush(200, seed=seed) for seed in range(20)])
    lake = tmp_path / "lake"
    with small_disk(tmp_path / full, "8m") as ballast:
        tries = 0

        async def tried_for_a_while() -> bool:
            nonlocal tries
            tries += 1
            for file in lake.glob("*/*/*.parquet"):
                duckdb.sql(f"SELECT count(*) FROM read_parquet('{file}')").fetchall()
            return tries > 60

        await following(database_url, jobs_of(database_url, tmp_path), tried_for_a_while)
        assert list(lake.glob("usage/*/*.parquet")) == []
        assert not list(lake.glob("*/*/.*")), "a part was left"
        ballast.unlink()
        await following(
            database_url, jobs_of(database_url, tmp_path), caught_up(database_url, tmp_path)
        )
        assert lake_agrees(database_url, lake) == []


class StoreProxy:
    """A TCP proxy in front of an S3-compatible store, which can fail in its ways.

    - `error`: every request is answered with 500.
    - `slow`: nothing is ever answered.
    - `cut`: the connection ends after the first kilobytes of what is sent.
    - `gone`: nobody is at home.
    """

    def __init__(self, port: int) -> None:
        self.mode: Literal["pass", "error", "slow", "cut", "gone"] = "pass"
        self.failed = 0
        self._server = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(self._server) as server:
            mode = self.mode
            if mode == "gone":
                self.failed += 1
                return
            if mode in ("pass", "cut"):
                back = threading.Thread(target=_pump, args=(server, client), daemon=True)
                back.start()
            sent = 0
            while data := client.recv(4096):
                if self.mode == "pass":
                    server.sendall(data)
                elif self.mode == "error":
                    self.failed += 1
                    client.sendall(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n"
                                   b"Connection: close\r\n\r\n")  # fmt: skip
                    return
                elif self.mode == "cut":
                    server.sendall(data)
                    sent += len(data)
                    if sent > 8_000:
                        self.failed += 1
                        server.shutdown(socket.SHUT_RDWR)
                        return
                else:
                    self.failed += 1
                    time.sleep(1.5)
                    return


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[StoreProxy]:
    """An S3-compatible store with the bucket `lake`, behind a proxy."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setattr(places, "CONNECT_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(places, "READ_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(placing, "LONGEST_PAUSE_SECONDS", 0.3)
    monkeypatch.setattr(snapshot, "EVERY_SECONDS", 0.1)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    proxy = None
    try:
        _, port = server.get_host_and_port()
        httpx.post(f"http://127.0.0.1:{port}/moto-api/reset")  # all servers share one state
        boto3.client(
            "s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="eu-central-1"
        ).create_bucket(
            Bucket="lake", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )
        proxy = StoreProxy(port)
        yield proxy
    finally:
        if proxy is not None:
            proxy.close()
        server.stop()


def s3_place(store: StoreProxy, data_dir: Path) -> Place:
    return lake_place("s3://lake/some/where", data_dir, store.url, "eu-central-1")


async def test_a_lake_in_s3_is_read_through_its_snapshot(
    store: StoreProxy, database_url: str, tmp_path: Path
) -> None:
    place = s3_place(store, tmp_path)
    append(database_url, "usage", "usage_a", [flush(100, seed=seed) for seed in range(10)])
    append(database_url, "decisions", "plan_x", SHIPPED)
    jobs = jobs_of(database_url, tmp_path, place)
    await following(database_url, jobs, caught_up(database_url, tmp_path))
    opening = tuple(place.opening())
    assert await asyncio.to_thread(lake_agrees, database_url, tmp_path / "lake", opening) == []
    assert not list((tmp_path / "lake").glob("*/*"))  # nothing but the snapshot is local
    (path, rows, sha256), *_ = rows_of(database_url, "SELECT path, rows, sha256 FROM lake_files")
    client = boto3.client("s3", endpoint_url=store.url, region_name="eu-central-1")
    found = client.head_object(Bucket="lake", Key=f"some/where/{path}")
    assert found["Metadata"] == {"sha256": sha256}
    assert rows > 0

    async def copied() -> bool:
        listed = client.list_objects_v2(Bucket="lake", Prefix="some/where/analytics.duckdb")
        return bool(listed["KeyCount"])

    await following(database_url, jobs_of(database_url, tmp_path, place), copied)


@pytest.mark.parametrize(
    "mode",
    ["error", *(pytest.param(each, marks=pytest.mark.long) for each in ("slow", "cut", "gone"))],
)
async def test_a_store_that_fails_costs_time_and_no_rows(
    mode: Literal["error", "slow", "cut", "gone"],
    store: StoreProxy,
    database_url: str,
    tmp_path: Path,
) -> None:
    place = s3_place(store, tmp_path)
    append(database_url, "usage", "usage_a", [flush(500, seed=seed) for seed in range(3)])
    jobs = jobs_of(database_url, tmp_path, place)
    await following(database_url, jobs, caught_up(database_url, tmp_path))
    store.mode = mode
    sent = 0

    async def failed_and_went_on() -> bool:
        nonlocal sent
        if sent < 5:
            sent += 1
            await asyncio.to_thread(
                append, database_url, "usage", "usage_b", [flush(500, seed=sent)]
            )
        query = "SELECT position, (SELECT max(notification_id) FROM usage) FROM followers "
        [[position, end]] = rows_of(database_url, query + "WHERE name = 'lake_usage'")
        # The log is followed to its end meanwhile: what is written waits in the spool.
        return store.failed >= 3 and sent == 5 and position == end

    await following(database_url, jobs, failed_and_went_on)
    waiting = rows_of(database_url, UNPLACED)
    assert waiting
    store.mode = "pass"
    await following(database_url, jobs, caught_up(database_url, tmp_path))
    opening = tuple(place.opening())
    assert await asyncio.to_thread(lake_agrees, database_url, tmp_path / "lake", opening) == []
    assert rows_of(database_url, UNPLACED) == []


async def test_what_a_store_lost_is_put_there_again(
    store: StoreProxy, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mending, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(compaction, "SMALL_ROWS", 1)  # nothing is merged
    place = s3_place(store, tmp_path)
    for seed in range(3):
        append(database_url, "usage", "usage_a", [flush(20, seed=seed)])
        jobs = jobs_of(database_url, tmp_path, place)
        await following(database_url, jobs, caught_up(database_url, tmp_path))
    client = boto3.client("s3", endpoint_url=store.url, region_name="eu-central-1")
    # The last one: DuckDB looks at the first only when it makes a view.
    [(lost,)] = rows_of(
        database_url, "SELECT path FROM lake_files ORDER BY first_position DESC LIMIT 1"
    )
    client.delete_object(Bucket="lake", Key=f"some/where/{lost}")

    async def back() -> bool:
        return bool(client.list_objects_v2(Bucket="lake", Prefix=f"some/where/{lost}")["KeyCount"])

    await following(database_url, jobs_of(database_url, tmp_path, place), back)
    opening = tuple(place.opening())
    assert await asyncio.to_thread(lake_agrees, database_url, tmp_path / "lake", opening) == []


async def test_the_bucket_of_another_installation_is_left_alone(
    store: StoreProxy, database_url: str, tmp_path: Path
) -> None:
    place = s3_place(store, tmp_path)
    assert place.claim("log_of_others") == "log_of_others"
    append(database_url, "usage", "usage_a", [flush(20)])

    async def stopped() -> bool:
        query = "SELECT problem FROM followers WHERE name = 'lake_usage'"
        return any(
            "log_of_others" in (problem or "") for (problem,) in rows_of(database_url, query)
        )

    await following(database_url, jobs_of(database_url, tmp_path, place), stopped)
    client = boto3.client("s3", endpoint_url=store.url, region_name="eu-central-1")
    assert client.list_objects_v2(Bucket="lake")["KeyCount"] == 1


@pytest.mark.long
def test_duckdb_gives_up_on_a_store_that_never_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with socket.create_server(("127.0.0.1", 0)) as silent, duckdb.connect() as database:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        for statement in lake_place("s3://lake/x", tmp_path, url, "eu-central-1").opening():
            database.execute(statement)
        with pytest.raises(duckdb.Error):
            database.execute("FROM read_parquet('s3://lake/x/1.parquet')")


def test_a_part_that_a_crash_left_is_removed(tmp_path: Path) -> None:
    parts = []
    for kind in ("usage", "events"):
        folder = tmp_path / kind / "date=2026-03-01"
        folder.mkdir(parents=True)
        parts.append(folder / ".1-2.parquet.a1b2.part")
        parts[-1].write_bytes(b"half")
        (folder / "1-2.parquet").write_bytes(b"whole")
    FolderPlace(tmp_path).tidy("usage")
    assert [part.exists() for part in parts] == [False, True]  # the other is another job's
    assert len(list(tmp_path.glob("*/*/*.parquet"))) == 2
