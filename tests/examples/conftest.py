"""The examples as a stranger runs them: as programs, with the rights of `reader` alone.

nats_server  the NATS of compose.yaml with its two users
consumer     each example in turn, on a state of its own
"""

import json
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.examples.logs import Totals
from tests.infra.compose_nats import ComposeNats

# Both examples count in every run; of the rest Node has its turn in the long one.
ALWAYS_ON_NODE = ("count_once_and_say",)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave most of Node's share of the same tests to `-m long`."""
    for item in items:
        mine = item.path.parent == Path(__file__).parent
        if mine and "[node" in item.name and not any(n in item.name for n in ALWAYS_ON_NODE):
            item.add_marker(pytest.mark.long)


EXAMPLES = Path(__file__).parents[2] / "examples"


class Consumer:
    """One example on one state file."""

    def __init__(
        self, argv: list[str], url: str, state: Path, read: Callable[[Path], Totals]
    ) -> None:
        self.argv = [*argv, "--nats", url, "--state", str(state)]
        self.state = state
        self._read = read
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        """Follow until told to stop."""
        process = subprocess.Popen(
            self.argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        self._running.append(process)
        return process

    def catch_up(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Follow until there is nothing more."""
        return subprocess.run(
            [*self.argv, "--once", *options], capture_output=True, text=True, timeout=60
        )

    def totals(self) -> Totals:
        """What its state says."""
        return self._read(self.state)

    def wait_for(self, expected: Totals, seconds: float = 30) -> None:
        """Until its state says this."""
        deadline = time.monotonic() + seconds
        while not self.state.exists() or self.totals() != expected:
            assert time.monotonic() < deadline, "the consumer did not get there"
            time.sleep(0.05)

    def wait_while(self, known: Totals, seconds: float = 30) -> None:
        """Until its state says anything else."""
        deadline = time.monotonic() + seconds
        while not self.state.exists() or self.totals() == known:
            assert time.monotonic() < deadline, "the consumer does not go on"
            time.sleep(0.005)

    def stop(self) -> None:
        """End what runs."""
        for process in self._running:
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComposeNats]:
    """One server for all; each test makes its streams anew."""
    with ComposeNats(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture(scope="session")
def node_example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Node example with its packages, in a copy; skipped where Node or npm can't be had."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("the Node example needs node and npm, and they are not installed")
    version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout.strip()
    if int(version.lstrip("v").partition(".")[0]) < 20:
        pytest.skip(f"the Node example needs Node 20, and this is {version}")
    folder = tmp_path_factory.mktemp("node") / "example"
    shutil.copytree(EXAMPLES / "node", folder, ignore=shutil.ignore_patterns("node_modules"))
    words = ["install", "--no-audit", "--no-fund", "--no-package-lock", "--fetch-retries=1"]
    try:
        done = subprocess.run(
            [npm, *words], cwd=folder, capture_output=True, text=True, timeout=180
        )
    except subprocess.TimeoutExpired:
        pytest.skip("the Node example needs its packages, and npm did not end within 3 minutes")
    if done.returncode:
        pytest.skip(f"the Node example needs its packages, and npm says: {done.stderr[-300:]}")
    return folder


@pytest.fixture(params=["python", "node"])
def consumer(
    request: pytest.FixtureRequest, nats_server: ComposeNats, tmp_path: Path
) -> Iterator[Consumer]:
    """The example in one of its languages; what it started is ended after the test."""
    if request.param == "python":
        argv, read = [sys.executable, str(EXAMPLES / "python/consumer.py")], from_sqlite
    else:
        folder: Path = request.getfixturevalue("node_example")
        argv, read = ["node", str(folder / "consumer.mjs")], from_json
    example = Consumer(argv, nats_server.url("reader"), tmp_path / "state", read)
    yield example
    example.stop()


def from_sqlite(state: Path) -> Totals:
    """The state of the Python example."""
    with closing(sqlite3.connect(state)) as db:
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'revoked'").fetchone():
            return {}, set()
        counts = db.execute("SELECT account, outcome, verifications, cost FROM counts").fetchall()
        revoked = {key for (key,) in db.execute("SELECT key FROM revoked")}
    return {(account, outcome): (number, cost) for account, outcome, number, cost in counts}, (
        revoked
    )


def from_json(state: Path) -> Totals:
    """The state of the Node example."""
    kept = json.loads(state.read_text("utf-8"))
    counts = {
        (account, outcome): (counted["verifications"], counted["cost"])
        for account, outcomes in kept["counts"].items()
        for outcome, counted in outcomes.items()
    }
    return counts, set(kept["revoked"])
