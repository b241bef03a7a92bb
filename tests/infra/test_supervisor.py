"""What `up` starts is restarted when it dies, and is gone when `up` is gone."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from infra.embedded.child import ChildProcess, StartError
from infra.supervisor import Supervisor, answers, bind, http_url

ROOT = Path(__file__).parents[2]
SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)",
]
UP = """
import signal, sys
from pathlib import Path
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # or it is ignored where the tests run under nohup
from infra.embedded.child import ChildProcess
from infra.supervisor import Supervisor
data, words = Path(sys.argv[1]), sys.argv[2:]
with Supervisor(data, lambda line: print(line, flush=True)) as supervisor:
    children = [ChildProcess(f"child {n}", words, grace_seconds=30) for n in range(2)]
    supervisor.add(*children)
    supervisor.announce("http://h", "nats://n", "postgresql://d", children)
    print("ready", flush=True)
    supervisor.run()
print("stopped", flush=True)
"""


class Up:
    """A supervisor in a process of its own, with two children."""

    def __init__(self, data_dir: Path, words: list[str]) -> None:
        self.file = data_dir / "up.json"
        self.process = subprocess.Popen(
            [sys.executable, "-c", UP, str(data_dir), *words],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.line() == "ready"

    def line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def serve_pids(self) -> list[int]:
        pids = json.loads(self.file.read_text())["serve_pids"]
        assert isinstance(pids, list)
        return pids


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    started: list[Up] = []

    def start(words: list[str] = SLEEP) -> Up:
        started.append(Up(tmp_path, words))
        return started[-1]

    yield start
    for up in started:
        up.process.kill()
        with up.process:
            pass


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def gone(pids: list[int]) -> bool:
    return not any(psutil.pid_exists(pid) for pid in pids)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_stops_everything_and_ends_well(start: Callable[..., Up], number: int) -> None:
    up = start()
    pids = up.serve_pids()
    up.process.send_signal(number)
    assert up.process.wait(10) == 0
    assert up.line() == "stopped"
    assert gone(pids)
    assert not up.file.exists()


def test_killed_child_is_started_again_and_up_json_stays_true(start: Callable[..., Up]) -> None:
    up = start()
    first = up.serve_pids()
    os.kill(first[0], signal.SIGKILL)
    assert up.line() == "child 0 ended (SIGKILL); starting it again in 0.1 s."
    until(lambda: up.serve_pids() != first)
    second = up.serve_pids()
    assert second[1] == first[1]
    os.kill(second[0], signal.SIGKILL)
    assert "in 0.2 s" in up.line()
    until(lambda: up.serve_pids() != second)
    assert not gone(up.serve_pids()[:1])


def test_kill_9_of_up_leaves_nothing_behind(start: Callable[..., Up]) -> None:
    up = start()
    pids = up.serve_pids()
    up.process.kill()
    up.process.wait()
    until(lambda: gone(pids))
    assert start().serve_pids() != pids


def test_second_signal_kills_what_does_not_stop(start: Callable[..., Up]) -> None:
    up = start(STUBBORN)
    pids = up.serve_pids()
    time.sleep(0.3)  # until the children ignore the signal
    up.process.terminate()
    time.sleep(0.3)
    assert not gone(pids)
    up.process.terminate()
    assert up.process.wait(10) == 0
    assert gone(pids)


def test_second_up_on_the_same_data_is_one_sentence(
    start: Callable[..., Up], tmp_path: Path
) -> None:
    up = start()
    with (
        pytest.raises(StartError, match=rf"running already .*process {up.process.pid}"),
        Supervisor(tmp_path, print),
    ):
        pass
    assert len(up.serve_pids()) == 2


def test_up_json_says_where_everything_is_to_its_owner_only(start: Callable[..., Up]) -> None:
    up = start()
    assert stat.S_IMODE(up.file.stat().st_mode) == 0o600
    content = json.loads(up.file.read_text())
    assert content["pid"] == up.process.pid
    assert content["http_url"] == "http://h"
    assert content["nats_url"] == "nats://n"
    assert content["database_url"] == "postgresql://d"
    assert content["ready_at"].endswith("Z")


def test_child_that_ends_during_the_start_stops_it_all(tmp_path: Path) -> None:
    good = ChildProcess("good", SLEEP)
    with (
        pytest.raises(StartError, match=r"bad ended during the start \(exit code 3\)"),
        Supervisor(tmp_path, print) as supervisor,
    ):
        supervisor.add(good)
        supervisor.add(ChildProcess("bad", [sys.executable, "-c", "raise SystemExit(3)"]))
        supervisor.wait_until(lambda: False)
    assert not good.running()
    assert not (tmp_path / "up.json").exists()


def test_start_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    child = ChildProcess("slow", SLEEP)
    with (
        pytest.raises(StartError, match="longer than"),
        Supervisor(tmp_path, print) as supervisor,
    ):
        supervisor.add(child)
        supervisor.wait_until(lambda: False, seconds=0.1)
    assert not child.running()


def test_later_stages_are_stopped_before_earlier_ones(tmp_path: Path) -> None:
    log = tmp_path / "log"
    program = (
        "import signal, sys, time\n"
        "def stop(*_):\n"
        "    open(sys.argv[1], 'a').write(sys.argv[2]); sys.exit()\n"
        "signal.signal(signal.SIGTERM, stop); open(sys.argv[1] + sys.argv[2], 'w'); time.sleep(60)"
    )
    with Supervisor(tmp_path, print) as supervisor:
        for name in "abc":
            supervisor.add(ChildProcess(name, [sys.executable, "-c", program, str(log), name]))
        supervisor.wait_until(lambda: all((tmp_path / f"log{name}").exists() for name in "abc"))
    assert log.read_text() == "cba"


def test_taken_port_is_one_sentence_and_port_0_takes_a_free_one() -> None:
    with bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        assert http_url(listener) == f"http://127.0.0.1:{port}"
        with pytest.raises(StartError, match=rf"127\.0\.0\.1:{port} is taken.*TOLLHOUSE_HTTP_PORT"):
            bind("127.0.0.1", port)


def test_address_of_another_machine_is_one_sentence() -> None:
    with pytest.raises(StartError, match="TOLLHOUSE_HTTP_HOST"):
        bind("192.0.2.1", 0)
    with pytest.raises(StartError, match="TOLLHOUSE_HTTP_HOST"):
        bind("no such host", 0)


def test_processes_share_the_inherited_socket() -> None:
    program = (
        "import socket, sys\n"
        "listener = socket.socket(fileno=int(sys.argv[1]))\n"
        "while True:\n"
        "    peer, _ = listener.accept(); peer.recv(999)\n"
        "    peer.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n'); peer.close()"
    )
    with bind("127.0.0.1", 0) as listener:
        words = [sys.executable, "-c", program, str(listener.fileno())]
        children = [ChildProcess("serve", words, pass_fds=[listener.fileno()]) for _ in range(2)]
        try:
            for child in children:
                child.start()
            for child in children:
                until(lambda: answers(listener))
                child.stop()
        finally:
            for child in children:
                child.stop()
    assert isinstance(listener, socket.socket)
