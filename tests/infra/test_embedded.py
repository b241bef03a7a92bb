"""Real servers: they keep what they were told, die with their parent, and explain refusals."""

import asyncio
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import nats
import psutil
import psycopg
import pytest

from infra.embedded import StartError, start_nats, start_postgres
from infra.embedded.place import SHARED, hold, kept_secret, prepare_data_dir
from tests.infra.compose_nats import ComposeNats

ROOT = Path(__file__).parents[2]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to change the user")


def quiet(line: str) -> None:
    pass


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A folder that Postgres's user can enter (pytest's own are closed to others)."""
    with tempfile.TemporaryDirectory(prefix="tollhouse-") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder) / "data"


@pytest.fixture
def closed_data_dir(data_dir: Path) -> Iterator[Path]:
    """A folder that only its owner can enter; what was put elsewhere for it goes, too."""
    closed = data_dir.parent / "closed"
    closed.mkdir(mode=0o700)
    yield closed / "data"
    if (link := closed / "data" / "postgres").is_symlink():
        shutil.rmtree(link.resolve(), ignore_errors=True)


def ask(url: str, statement: str) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(statement.encode()).fetchone()
    return row[0] if row else None


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_postgres_keeps_its_data_and_address_over_a_clean_restart(data_dir: Path) -> None:
    first = start_postgres(data_dir, quiet)
    try:
        with psycopg.connect(first.url, autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        assert ask(first.url, "SHOW data_checksums") == "on"
        assert ask(first.url, "SHOW server_encoding") == "UTF8"
        assert ask(first.url, "SHOW synchronous_commit") == "on"
        first.restart()
        assert ask(first.url, "SELECT answer FROM kept") == 42
    finally:
        first.stop()
    assert not psutil.pid_exists(first.process.pid)
    second = start_postgres(data_dir, quiet)
    try:
        assert ask(second.url, "SELECT answer FROM kept") == 42
        assert urlsplit(second.url).port == urlsplit(first.url).port
    finally:
        second.stop()


def test_postgres_comes_back_after_kill_9(data_dir: Path) -> None:
    postgres = start_postgres(data_dir, quiet)
    try:
        with psycopg.connect(postgres.url, autocommit=True) as session:
            session.execute("CREATE TABLE kept AS SELECT 42 AS answer")
            os.kill(postgres.process.pid, signal.SIGKILL)
            until(lambda: not postgres.process.running())
            postgres.restart()
        assert ask(postgres.url, "SELECT answer FROM kept") == 42
    finally:
        postgres.stop()


def test_postgres_lets_nobody_in_without_the_password(data_dir: Path) -> None:
    postgres = start_postgres(data_dir, quiet)
    try:
        parts = urlsplit(postgres.url)
        assert parts.password
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(postgres.url.replace(parts.password, "wrong"))
        assert stat.S_IMODE((data_dir / "secrets").stat().st_mode) == 0o700
    finally:
        postgres.stop()


def test_second_postgres_on_the_same_data_is_refused(data_dir: Path) -> None:
    postgres = start_postgres(data_dir, quiet)
    try:
        with pytest.raises(StartError, match="another process"):
            start_postgres(data_dir, quiet)
        assert ask(postgres.url, "SELECT 1") == 1
    finally:
        postgres.stop()


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.long)]
)
def test_servers_die_with_their_parent_and_start_again(data_dir: Path, number: int) -> None:
    program = (
        "import sys, time; from pathlib import Path; from infra.embedded import *\n"
        "data = Path(sys.argv[1])\n"
        "servers = start_postgres(data, print), start_nats(data, print)\n"
        "print(*(s.process.pid for s in servers), flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, data_dir], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 2
        parent.send_signal(number)
    postgres = start_postgres(data_dir, quiet)  # at once: the old one may still be in shutdown
    try:
        assert ask(postgres.url, "SELECT 1") == 1
        until(lambda: not any(psutil.pid_exists(pid) for pid in pids))
    finally:
        postgres.stop()


def test_taken_port_is_passed_over_at_the_start_and_told_at_a_restart(data_dir: Path) -> None:
    postgres = start_postgres(data_dir, quiet)
    postgres.stop()
    with socket.create_server(("127.0.0.1", urlsplit(postgres.url).port or 0)):
        with pytest.raises(StartError, match="taken"):
            postgres.restart()
        other = start_postgres(data_dir, quiet)
        other.stop()
    assert urlsplit(other.url).port != urlsplit(postgres.url).port


def test_data_of_another_postgres_is_refused(data_dir: Path) -> None:
    start_postgres(data_dir, quiet).stop()
    for major, age in (("19", "newer"), ("16", "older")):
        (data_dir / "postgres" / "data" / "PG_VERSION").write_text(f"{major}\n")
        with pytest.raises(StartError, match=f"Postgres {major}, which is {age}"):
            start_postgres(data_dir, quiet)


def test_half_made_cluster_is_made_anew(data_dir: Path) -> None:
    start_postgres(data_dir, quiet).stop()
    home = data_dir / "postgres"
    (home / "data").rename(home / "new")  # as if killed before the rename
    postgres = start_postgres(data_dir, quiet)
    try:
        assert ask(postgres.url, "SELECT 1") == 1
    finally:
        postgres.stop()
    assert not (home / "new").exists()


@as_root
def test_folder_that_postgres_cannot_enter_is_served_from_elsewhere(closed_data_dir: Path) -> None:
    said: list[str] = []
    postgres = start_postgres(closed_data_dir, said.append)
    try:
        assert len(said) == 1
        assert str(SHARED) in said[0]
        assert (closed_data_dir / "postgres").resolve().is_relative_to(SHARED)
        assert psutil.Process(postgres.process.pid).uids().effective != 0
        assert ask(postgres.url, "SELECT 1") == 1
    finally:
        postgres.stop()
    start_postgres(closed_data_dir, quiet).stop()


@as_root
def test_data_that_postgres_can_no_longer_enter_is_explained(data_dir: Path) -> None:
    start_postgres(data_dir, quiet).stop()
    data_dir.chmod(0o700)
    with pytest.raises(StartError, match=r"can't enter.*chmod"):
        start_postgres(data_dir, quiet)


def test_nats_keeps_its_stream_over_a_restart_and_kill_9(data_dir: Path) -> None:
    async def publish(url: str) -> int:
        client = await nats.connect(url)
        jetstream = client.jetstream()
        await jetstream.add_stream(name="S", subjects=["s"])
        number = (await jetstream.publish("s", b"fact")).seq
        await client.close()
        return number

    server = start_nats(data_dir, quiet)
    try:
        assert asyncio.run(publish(server.url)) == 1
        os.kill(server.process.pid, signal.SIGKILL)
        until(lambda: not server.process.running())
        server.restart()
        assert asyncio.run(publish(server.url)) == 2
    finally:
        server.stop()
    assert "sync_interval: always" in (data_dir / "secrets" / "nats.conf").read_text()
    again = start_nats(data_dir, quiet)
    try:
        assert again.url == server.url
        assert asyncio.run(publish(again.url)) == 3
    finally:
        again.stop()


@pytest.mark.parametrize("which", ["embedded", "compose"])
def test_nats_takes_messages_of_eight_megabytes(data_dir: Path, tmp_path: Path, which: str) -> None:
    async def limit(url: str) -> int:
        client = await nats.connect(url)
        most: int = client.max_payload
        await client.close()
        return most

    if which == "compose":
        with ComposeNats(tmp_path) as compose:
            assert asyncio.run(limit(compose.url("tollhouse"))) == 8 * 1024 * 1024
        return
    server = start_nats(data_dir, quiet)
    try:
        assert asyncio.run(limit(server.url)) == 8 * 1024 * 1024
    finally:
        server.stop()


def test_second_nats_on_the_same_data_is_refused(data_dir: Path) -> None:
    server = start_nats(data_dir, quiet)
    try:
        with pytest.raises(StartError, match="another process"):
            start_nats(data_dir, quiet)
    finally:
        server.stop()


def test_data_of_a_newer_tollhouse_is_refused(data_dir: Path) -> None:
    prepare_data_dir(data_dir)
    (data_dir / "format").write_text("999\n")
    with pytest.raises(StartError, match="newer Tollhouse"):
        start_postgres(data_dir, quiet)
    assert not (data_dir / "postgres").exists()


def test_data_dir_that_is_a_file_or_closed_is_one_sentence(data_dir: Path) -> None:
    data_dir.write_text("a file")
    with pytest.raises(StartError, match="the data folder"):
        prepare_data_dir(data_dir)
    if os.geteuid() != 0:
        data_dir.parent.chmod(0o500)
        with pytest.raises(StartError, match="permission denied"):
            prepare_data_dir(data_dir.parent / "other")
        data_dir.parent.chmod(0o700)


def test_full_disk_is_one_sentence_and_leaves_no_half(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", str(data_dir))

    monkeypatch.setattr("infra.embedded.postgres.subprocess.run", full)
    with pytest.raises(StartError, match="no disk space is left"):
        start_postgres(data_dir, quiet)
    monkeypatch.undo()
    start_postgres(data_dir, quiet).stop()


def test_kept_secret_stays_the_same(data_dir: Path) -> None:
    assert kept_secret(data_dir, "one") == kept_secret(data_dir, "one")
    assert kept_secret(data_dir, "one") != kept_secret(data_dir, "two")


def test_lock_is_free_again_when_its_holder_is_gone(data_dir: Path) -> None:
    prepare_data_dir(data_dir)
    first = hold(data_dir / "lock", "held")
    with pytest.raises(StartError, match="held"):
        hold(data_dir / "lock", "held")
    os.close(first)
    os.close(hold(data_dir / "lock", "held"))
