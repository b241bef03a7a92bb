"""What must hold when parts of it are killed (faults 1, 2 and 14)."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import httpx
import psutil
import pytest

from tests.faults.running import ADMIN, ROOT, SERVICE_KEY, Up, issue_key, verify, wait_for

RECOVERY_SECONDS = 30  # so long a busy machine may take; `just exactness --postgres` measures it


def test_postgres_killed_refuses_what_it_must_count_and_recovers_alone(folder: Path) -> None:
    with Up(folder, DIRECTORY_MAX_STALENESS_MS="1000") as up, up.client() as client:
        metered = issue_key(client, quota={"limit": 1000, "period": "lifetime"})
        unmetered = issue_key(client)
        assert verify(client, metered).json()["code"] == "VALID"
        # Frozen first, so that the supervisor can't bring it back before we have looked.
        frozen = _freeze(up)
        refused = verify(client, metered)
        assert refused.status_code == 503
        assert refused.json()["code"] in ("STORE_UNAVAILABLE", "DIRECTORY_STALE")
        assert int(refused.headers["retry-after"]) >= 1
        wait_for(lambda: verify(client, unmetered).status_code == 503, RECOVERY_SECONDS)
        assert verify(client, unmetered).json()["code"] == "DIRECTORY_STALE"
        assert client.get("/health/ready").status_code == 503
        assert client.get("/health/live").status_code == 200
        for process in frozen:
            process.kill()
        wait_for(lambda: _answers(up), 30, up.words)
        wait_for(lambda: verify(client, metered).status_code == 200, RECOVERY_SECONDS, up.words)
        assert verify(client, unmetered).json()["code"] == "VALID"


def test_unmetered_keys_go_on_within_the_staleness_bound(folder: Path) -> None:
    with Up(folder, DIRECTORY_MAX_STALENESS_MS="20000") as up, up.client() as client:
        unmetered = issue_key(client)
        metered = issue_key(client, quota={"limit": 10, "period": "day"})
        assert verify(client, unmetered).json()["code"] == "VALID"
        frozen = _freeze(up)
        try:
            assert verify(client, metered).status_code == 503
            assert [verify(client, unmetered).json()["code"] for _ in range(20)] == ["VALID"] * 20
        finally:
            for process in reversed(frozen):
                process.resume()
        wait_for(lambda: verify(client, metered).status_code == 200, RECOVERY_SECONDS, up.words)


def test_frozen_postgres_refuses_reads_and_commands_and_keeps_nobody_waiting(
    folder: Path,
) -> None:
    with Up(folder, DIRECTORY_MAX_STALENESS_MS="1000") as up, up.client() as client:
        body = {"email": ADMIN[0], "password": ADMIN[1]}
        token = client.post("/v1/auth/login", json=body).json()["access_token"]
        headers = {"authorization": f"Bearer {token}"}
        made = client.post("/v1/keys", json={"name": "before"}, headers=headers).json()

        def asked(method: str, path: str) -> None:
            content = {"name": "while frozen"} if method == "POST" else None
            reply = client.request(method, path, json=content, headers=headers, timeout=60)
            assert reply.status_code == 503, (method, path, reply.text)

        frozen = _freeze(up)
        try:
            for _ in range(2):  # at once, and when the connections are known to be dead
                asked("GET", f"/v1/keys/{made['id']}")
                asked("POST", "/v1/keys")
                asked("GET", "/health/ready")
        finally:
            for process in reversed(frozen):
                process.resume()
        path = f"/v1/keys/{made['id']}"
        wait_for(
            lambda: client.get(path, headers=headers).status_code == 200,
            RECOVERY_SECONDS,
            up.words,
        )


@pytest.mark.long  # test_hot_key.py has the same of two processes in every run
@pytest.mark.parametrize("processes", ["1", "2"])
def test_64_at_once_on_50_left_are_50(folder: Path, processes: str) -> None:
    with Up(folder, SERVE_PROCESSES=processes) as up:
        with up.client() as client:
            key = issue_key(client, quota={"limit": 50, "period": "lifetime"})
        # Each process has to have followed the log so far: until then it knows no such key.
        wait_for(lambda: _known_everywhere(up, key), RECOVERY_SECONDS)
        codes = _at_once(up, key, 64)
        assert sorted(codes) == ["USAGE_EXCEEDED"] * 14 + ["VALID"] * 50
        assert _counted(up) == (50, 50)


def test_killed_after_the_commit_and_before_the_answer_nothing_is_granted_twice(
    folder: Path,
) -> None:
    with Up(folder, SERVE_PROCESSES="2", FAILPOINT="usage.committed:6") as up:
        with up.client() as client:
            key = issue_key(client, quota={"limit": 100, "period": "lifetime"})
        codes: list[str] = []
        for _ in range(6):  # every process dies at its sixth flush, some of them twice
            codes += _at_once(up, key, 32)
            wait_for(lambda: _answers(up), 20, up.words)
        assert up.words().count("SIGKILL") >= 1, up.words()
        valid = codes.count("VALID")
        used, limit = _counted(up)
        assert valid <= used <= limit == 100
        assert "USAGE_EXCEEDED" in codes
        # Denials stay denials.
        late = set(_at_once(up, key, 16))
        assert late <= {"USAGE_EXCEEDED", "gone", "DIRECTORY_STALE"}  # stale: on a busy machine


def test_killed_under_load_no_acknowledged_count_is_lost(folder: Path) -> None:
    with Up(folder, SERVE_PROCESSES="2") as up:
        with up.client() as client:
            key = issue_key(client, quota={"limit": 100_000, "period": "lifetime"})
        valid = 0
        for seconds in (0.0, 0.02, 0.05):
            answered = _killed_while_asked(up, key, seconds)
            assert 0 < answered < 64 * 30  # else nobody was under way when it was killed
            valid += answered
            wait_for(lambda: _answers(up), 20, up.words)
        used, _ = _counted(up)
        assert 0 < valid <= used


def test_sigterm_ends_a_serve_that_is_still_starting(folder: Path, tmp_path: Path) -> None:
    with Up(folder) as up:
        environment = {
            **up.environment(),
            "TOLLHOUSE_DATABASE_URL": up.facts["database_url"],
            "TOLLHOUSE_NATS_URL": up.facts["nats_url"],
        }
        for seconds in (0.3, 0.8, 1.3):
            said = tmp_path / f"serve-{seconds}.log"
            with said.open("wb") as log:
                serve = subprocess.Popen(
                    [sys.executable, str(ROOT / "main.py"), "serve"],
                    env=environment,
                    stdout=log,
                    stderr=log,
                    cwd=ROOT,
                )
            try:
                time.sleep(seconds)
                assert serve.poll() is None, said.read_text()
                serve.terminate()
                try:
                    serve.wait(5)
                except subprocess.TimeoutExpired:
                    pytest.fail(f"{seconds} s after its start SIGTERM didn't end it")
            finally:
                serve.kill()
                serve.wait(5)


def test_a_revoked_key_is_soon_refused_by_the_other_process(folder: Path) -> None:
    with Up(folder, SERVE_PROCESSES="2") as up:
        with up.client() as client:
            key = issue_key(client)
            key_id = verify(client, key).json()["key_id"]
        revoked = up.run("keys", "revoke", key_id)
        assert revoked.returncode == 0
        wait_for(lambda: set(_at_once(up, key, 20)) == {"REVOKED"}, 20)


def _freeze(up: Up) -> list[psutil.Process]:
    """Stop Postgres where it stands: connections stay open, and nothing answers."""
    postmaster = up.postgres()
    postmaster.suspend()
    frozen = [postmaster, *postmaster.children(recursive=True)]
    for process in frozen:
        process.suspend()
    return frozen


def _killed_while_asked(up: Up, key: str, seconds: float) -> int:
    """How many of 64 times 30 verifications were answered VALID, when all were sent before any
    answer was read, and the process that has most of them was killed so soon after
    the first answer."""
    host, _, port = up.facts["http_url"].removeprefix("http://").partition(":")
    body = json.dumps({"key": key})
    head = (
        f"POST /v1/keys/verify HTTP/1.1\r\nHost: {host}\r\nX-Api-Key: {SERVICE_KEY}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    )
    asked = f"{head}\r\n{body}" * 29 + f"{head}Connection: close\r\n\r\n{body}"
    connections = [socket.create_connection((host, int(port)), timeout=20) for _ in range(64)]
    time.sleep(0.1)  # one of the processes may well accept them all
    victim = max(
        up.facts["serve_pids"],
        key=lambda pid: sum(
            each.status == psutil.CONN_ESTABLISHED and each.laddr.port == int(port)
            for each in psutil.Process(pid).net_connections("tcp")
        ),
    )
    for connection in connections:
        connection.sendall(asked.encode())
    first = select.select(connections, [], [], 20)[0][0].recv(65536)
    time.sleep(seconds)
    os.kill(victim, signal.SIGKILL)
    return sum(
        answers.count(b'"code":"VALID"') for answers in (first, *map(_read_all, connections))
    )


def _read_all(connection: socket.socket) -> bytes:
    """What comes until the other end closes or breaks the connection."""
    found = b""
    with connection, suppress(ConnectionError):
        while piece := connection.recv(65536):
            found += piece
    return found


def _answers(up: Up) -> bool:
    try:
        with up.client() as client:
            return all(client.get("/health/ready").status_code == 200 for _ in range(3))
    except httpx.HTTPError:
        return False


def _known_everywhere(up: Up, key: str) -> bool:
    """Whether each process knows the key; asked often enough to have met them all."""
    url, headers = f"{up.facts['http_url']}/v1/keys/whoami", {"X-Api-Key": key}
    return all(httpx.get(url, headers=headers).status_code == 200 for _ in range(20))


def _at_once(up: Up, key: str, count: int) -> list[str]:
    """So many verifications, up to 64 at once, each on its own connection; `gone` for no
    answer."""
    address = up.facts["http_url"].removeprefix("http://")
    headers = {"X-Api-Key": SERVICE_KEY, "Content-Type": "application/json"}

    def one(_: int) -> str:
        connection = HTTPConnection(address, timeout=20)
        try:
            connection.request("POST", "/v1/keys/verify", json.dumps({"key": key}), headers)
            return str(json.loads(connection.getresponse().read())["code"])
        except (OSError, HTTPException):
            return "gone"
        finally:
            connection.close()

    with ThreadPoolExecutor(min(count, 64)) as threads:
        return list(threads.map(one, range(count)))


def _counted(up: Up) -> tuple[int, int]:
    """Used and limit of the key's own counter; the usage log must say the same."""
    with up.database() as database:
        used, limit = database.execute(
            "SELECT used, limit_amount FROM counters WHERE owner_id LIKE 'key_%'"
        ).fetchone() or (0, 0)
        logged = database.execute(
            "SELECT coalesce(sum((SELECT count(*) FROM jsonb_array_elements(e->'code') c "
            "WHERE c = '\"VALID\"') - jsonb_array_length(e->'refused')), 0) "
            "FROM (SELECT convert_from(state, 'UTF8')::jsonb->'event' AS e FROM usage) u"
        ).fetchone()
    assert logged is not None
    assert int(logged[0]) == used
    return used, limit
