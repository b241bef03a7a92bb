"""What follows the logs stays whole: faults 2, 4, 5, 10 and 11 on a real `up`, under traffic."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest

from tests.faults.invariants import violations
from tests.faults.running import ROOT, Up, issue_key, verify, wait_for
from tests.faults.traffic import Traffic

REPAIR_SECONDS = 30


def whole(up: Up, traffic: Traffic) -> None:
    """Fail unless every invariant holds, for what was acknowledged."""
    found = violations(
        up.facts["database_url"],
        up.facts["nats_url"],
        up.data_dir / "lake",
        valid_by_key=traffic.valid,
        asked_by_key=dict.fromkeys(traffic.valid, traffic.asked),
        positions=traffic.commands,
    )
    assert not found, "\n".join([*found, up.words()])
    assert traffic.valid.total() > 0
    assert traffic.commands


def child(up: Up, *words: str) -> psutil.Process:
    """The child of `up` whose command line has these words."""

    def fits(process: psutil.Process) -> bool:
        try:
            said = process.cmdline()
        except psutil.NoSuchProcess:  # it was killed, and nobody has heard of it yet
            return False
        return all(any(word in each for each in said) for word in words)

    found: list[psutil.Process] = []

    def there() -> bool:
        children = psutil.Process(up.process.pid).children()
        found[:] = [each for each in children if fits(each)]
        return bool(found)

    wait_for(there, 20, up.words)
    return found[0]


def test_postgres_killed_under_load_everything_that_follows_goes_on(folder: Path) -> None:
    with Up(folder) as up:
        with Traffic(up) as traffic:
            for _ in range(2):
                postmaster = up.postgres()
                postmaster.kill()
                psutil.wait_procs([postmaster], 10)
                traffic.more()
        whole(up, traffic)


@pytest.mark.long
def test_work_killed_again_and_again_beside_a_second_one(folder: Path) -> None:
    with Up(folder) as up:
        environment = {
            **up.environment(),
            "TOLLHOUSE_DATABASE_URL": up.facts["database_url"],
            "TOLLHOUSE_NATS_URL": up.facts["nats_url"],
        }
        with (folder.parent / "second.log").open("wb") as log:
            second = subprocess.Popen(
                [sys.executable, str(ROOT / "main.py"), "work"],
                env=environment,
                stdout=log,
                stderr=log,
                cwd=ROOT,
            )
        try:
            with Traffic(up) as traffic:
                for _ in range(3):
                    child(up, "main.py", "work").kill()
                    traffic.more(200)
        finally:
            second.kill()
            second.wait(10)
        whole(up, traffic)


@pytest.mark.long
@pytest.mark.parametrize("place", ["followers.written:3", "lake.written", "lake.planned"])
def test_work_that_dies_in_mid_batch_writes_nothing_twice(folder: Path, place: str) -> None:
    with Up(folder, FAILPOINT=place) as up:
        with Traffic(up) as traffic:
            wait_for(lambda: up.words().count("work ended (SIGKILL)") >= 2, 60, up.words)
        up.stop()
        up.start(FAILPOINT="")
        whole(up, traffic)


def _stopped(nats: psutil.Process) -> Callable[[], None]:
    nats.suspend()
    return lambda: nats.resume()


def _killed(nats: psutil.Process) -> Callable[[], None]:
    nats.kill()
    return lambda: None


@pytest.mark.parametrize("fault", [_stopped, pytest.param(_killed, marks=pytest.mark.long)])
def test_without_nats_nothing_but_publication_waits(
    folder: Path, fault: Callable[[psutil.Process], Callable[[], None]]
) -> None:
    with Up(folder) as up:
        with Traffic(up) as traffic:
            mend = fault(child(up, "nats-server"))
            traffic.more(200)
            with up.client() as client:
                assert client.get("/health/ready").status_code == 200
            mend()
            traffic.more()
        whole(up, traffic)


def test_nats_store_wiped_the_streams_are_whole_again(folder: Path) -> None:
    with Up(folder) as up:
        with Traffic(up) as traffic:
            store = folder / "nats" / "jetstream"
            before = folder / "before"
            nats = child(up, "nats-server")
            nats.suspend()
            shutil.copytree(store, before)
            nats.resume()
            traffic.more()
            _replaced(up, store, None)
            traffic.more()
            _replaced(up, store, before)  # rolled back
            traffic.more()
        whole(up, traffic)


def _replaced(up: Up, store: Path, with_copy: Path | None) -> None:
    """Kill NATS and give it another store before the supervisor has it back."""
    supervisor = psutil.Process(up.process.pid)
    nats = child(up, "nats-server")
    supervisor.suspend()
    try:
        nats.kill()
        wait_for(lambda: nats.status() == psutil.STATUS_ZOMBIE, 30)
        shutil.rmtree(store)
        if with_copy is not None:
            shutil.copytree(with_copy, store)
    finally:
        supervisor.resume()
    wait_for(lambda: child(up, "nats-server").pid != nats.pid, 20, up.words)


def test_an_event_that_nobody_knows_stops_its_followers_and_nothing_else(folder: Path) -> None:
    with Up(folder) as up, up.client() as client:
        key = issue_key(client)
        with up.database() as database:
            position = _poison(database)
        wait_for(lambda: _followers(up)["history"]["status"] == "stopped", 30, up.words)
        found = _followers(up)
        assert found["history"]["stopped_at"] == position
        assert "unknown event type" in found["history"]["problem"]
        assert found["keys"]["status"] == found["accounts"]["status"] == "ok"
        assert found["keys"]["position"] >= position
        assert up.run("followers").returncode == 1

        shown = up.run("events", "show", str(position))
        assert shown.returncode == 0, shown.stderr
        assert "future.happened.v9" in shown.stdout
        assert "unknown event type" in shown.stdout
        assert "history is stopped here" in shown.stdout

        health = client.get("/health").json()
        assert (health["status"], client.get("/health/ready").status_code) == ("degraded", 200)
        assert health["checks"]["projections"]["detail"] == f"history is stopped at {position}"
        assert verify(client, key).json()["code"] == "VALID"
        another = issue_key(client)
        assert verify(client, another).json()["code"] == "VALID"

        with up.database() as database:  # as if a process came that knows it
            database.execute("DELETE FROM decisions WHERE notification_id = %s", (position,))
        wait_for(lambda: _healthy(client), 40, up.words)
        assert up.run("followers").returncode == 0


def _poison(database: psycopg.Connection) -> int:
    row = database.execute(
        "INSERT INTO decisions (originator_id, originator_version, topic, state) "
        "VALUES ('future_1', 1, 'future.happened.v9', '{}') RETURNING notification_id"
    ).fetchone()
    assert row is not None
    return int(row[0])


def _followers(up: Up) -> dict[str, dict[str, Any]]:
    done = up.run("followers", "--json")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {each["name"]: each for each in found}


def _healthy(client: httpx.Client) -> bool:
    return bool(client.get("/health").json()["status"] == "ok")


@pytest.mark.long
def test_ctrl_c_ends_work_with_everything_else(folder: Path) -> None:
    with Up(folder) as up:
        work = child(up, "main.py", "work")
        assert up.stop(signal.SIGINT) == 0
        assert not work.is_running()
