"""`up` as an operator meets it: it starts, stops, starts again, and leaves nothing behind."""

import os
import signal
import socket
import subprocess
import sys
from base64 import b64encode
from pathlib import Path

import psutil
import pytest

from tests.faults.running import ROOT, Up, all_gone, issue_key, verify, wait_for


@pytest.mark.parametrize(
    "ending", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)]
)
def test_stopped_and_started_again_it_has_lost_nothing_and_left_nothing(
    folder: Path, ending: signal.Signals
) -> None:
    with Up(folder) as up:
        with up.client() as client:
            key = issue_key(client, quota={"limit": 3, "period": "lifetime"})
            assert [verify(client, key).json()["code"] for _ in range(2)] == ["VALID"] * 2
        processes = up.tree()
        assert up.stop(ending) == 0
        all_gone(processes)
        assert not (folder / "up.json").exists()
        up.start()
        with up.client() as client:
            codes = [verify(client, key).json()["code"] for _ in range(2)]
        assert codes == ["VALID", "USAGE_EXCEEDED"]


def test_killed_it_takes_everything_along_and_starts_again(folder: Path) -> None:
    """Without the Redis of its settings, too: it limits by itself, and says so."""
    with Up(folder, RATE_LIMIT_PER_MINUTE="3", RATE_LIMIT_STORAGE="redis://127.0.0.1:1/0") as up:
        processes = up.tree()
        up.process.kill()
        all_gone(processes)
        up.start()
        with up.client() as client:
            assert client.get("/health/ready").status_code == 200
            assert client.get("/health").json()["checks"]["rate_limits"]["status"] == "down"
            replies = [client.get("/v1/plans") for _ in range(4)]
        assert [each.status_code for each in replies] == [200, 200, 200, 429]
        assert replies[0].headers["ratelimit-policy"] == '"public";q=3;w=60'


def test_unmetered_usage_of_the_last_moment_is_flushed_by_an_orderly_stop(folder: Path) -> None:
    with Up(folder) as up:
        with up.client() as client:
            key = issue_key(client)
            for _ in range(5):
                assert verify(client, key).json()["code"] == "VALID"
        up.stop()
        up.start()
        with up.database() as database:
            rows = database.execute(
                "SELECT sum(jsonb_array_length(convert_from(state, 'UTF8')::jsonb"
                "->'event'->'code')) FROM usage"
            ).fetchone()
        assert rows is not None
        assert rows[0] == 5


def test_a_second_up_on_the_same_folder_is_refused_in_one_sentence(folder: Path) -> None:
    with Up(folder) as up:
        second = up.run("up")
        assert second.returncode == 1
        assert "running already" in second.stderr
        assert "Traceback" not in second.stderr


def test_a_taken_port_is_one_sentence_and_nothing_is_half_started(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = _up(folder, HTTP_PORT=str(port))
    assert result.returncode == 1
    assert f"{port} is taken" in result.stderr
    assert "Traceback" not in result.stderr
    assert not [each for each in psutil.process_iter(["cmdline"]) if _uses(each, folder)]


@pytest.mark.parametrize("name", ["MASTER_KEY", "KEY_PEPPER"])
def test_a_missing_secret_outside_development_stops_the_start_and_says_how(
    folder: Path, name: str
) -> None:
    keys = {each: b64encode(os.urandom(32)).decode() for each in ("MASTER_KEY", "KEY_PEPPER")}
    del keys[name]
    result = _up(folder, ENVIRONMENT="production", **keys)
    assert result.returncode == 1
    assert f"TOLLHOUSE_{name}" in result.stderr
    assert "python3 -c" in result.stderr
    assert not (folder / "up.json").exists()


def test_a_database_of_a_newer_version_is_refused_in_one_sentence(folder: Path) -> None:
    with Up(folder) as up:
        with up.database() as database:
            database.execute("INSERT INTO migrations (number, name) VALUES (9999, '9999_new.sql')")
        up.stop()
        result = up.run("up")
        assert result.returncode == 1
        assert "newer Tollhouse" in result.stderr
        assert "Traceback" not in result.stderr
        up.process = subprocess.Popen([sys.executable, "-c", ""])  # nothing is left to stop


def test_a_service_that_dies_is_started_again(folder: Path) -> None:
    with Up(folder) as up:
        [pid] = up.facts["serve_pids"]
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: up.facts["serve_pids"] != [pid], 30)
        with up.client() as client:
            wait_for(lambda: client.get("/health/ready").status_code == 200, 30)


def test_the_command_line_speaks_json_and_exit_codes(folder: Path) -> None:
    with Up(folder) as up:
        with up.client() as client:
            key = issue_key(client, quota={"limit": 1, "period": "day"})
        first, second = up.run("verify", key, "--json"), up.run("verify", key, "--json")
        assert (first.returncode, second.returncode) == (0, 3)
        assert '"code":"USAGE_EXCEEDED"' in second.stdout
        assert up.run("keys", "show", "key_none").returncode == 1
        assert up.run("keys", "sho").returncode == 2
        tail = up.run("tail", "--no-follow", "--after", "0", "--json")
        assert "api_key.issued.v1" in tail.stdout
        assert "admin@example.com" not in tail.stdout
        made = subprocess.run(
            [sys.executable, str(ROOT / "main.py"), "accounts", "create", "ada@example.com"],
            env=up.environment(),
            input="correct horse battery\ncorrect horse battery\n",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert made.returncode == 0, made.stderr
        listed = up.run("accounts", "list", "--json")
        assert listed.returncode == 0
        assert '"plan":"internal"' in listed.stdout


def _up(folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    return Up(folder, **settings).run("up")


def _uses(process: psutil.Process, folder: Path) -> bool:
    return any(str(folder) in word for word in process.info["cmdline"] or [])
