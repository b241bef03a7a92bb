"""The README's transcript is run, line for line, against a real `up`: it can't rot."""

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import typer

from api.cli.app import build
from application.counting import FLUSH_BEHIND_SECONDS
from tests.docs.transcript import INTERRUPT, Command, commands, difference, table_rows

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
UP = "./tollhouse up"
PORT = "8080"
START_SECONDS = 90.0
COMMAND_SECONDS = 60.0
# What the transcript uses of curl, for a bare machine that has none.
CURL = """\
import argparse, urllib.error, urllib.request
options = argparse.ArgumentParser()
options.add_argument("url")
options.add_argument("-sS", action="store_true")
options.add_argument("-X")
options.add_argument("-H", action="append", default=[])
options.add_argument("-d")
options.add_argument("-w", default="")
given = options.parse_args()
request = urllib.request.Request(
    given.url,
    None if given.d is None else given.d.encode(),
    dict(header.split(": ", 1) for header in given.H),
    method=given.X,
)
try:
    answer = urllib.request.urlopen(request)
except urllib.error.HTTPError as error:
    answer = error
end = given.w.replace("%{http_code}", str(answer.status)).replace("\\\\n", "\\n")
print(answer.read().decode() + end, end="")
"""
# One more line, where Postgres's user can't enter the folder of the tests.
ELSEWHERE = "Postgres can't run as root, nor its user enter here"


class Shell:
    """One `sh` that runs command after command and keeps its variables."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._output = folder / "shell.out"
        self._read = 0
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                ["sh"],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=environment,
                start_new_session=True,
            )

    def run(self, command: str) -> list[str]:
        """The lines that it prints. Fails the test when it takes too long."""
        assert self._process.stdin is not None
        mark = f"--- done {os.urandom(6).hex()} ---"
        # A group runs in this shell itself; its exit code is there for a following `echo $?`.
        text = f"{{ {command}\n}} </dev/null; code=$?; echo; echo '{mark}'; (exit $code)\n"
        self._process.stdin.write(text.encode())
        self._process.stdin.flush()
        deadline = time.monotonic() + COMMAND_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            printed = self._output.read_bytes()[self._read :].decode("utf-8", "replace")
            if printed.endswith(f"\n{mark}\n"):
                self._read = self._output.stat().st_size
                return printed.removesuffix(f"\n{mark}\n").splitlines()
            time.sleep(0.02)
        pytest.fail(f"$ {command}\ntook longer than {COMMAND_SECONDS:.0f} s, or ended the shell")

    def close(self) -> None:
        """End it, with whatever it runs."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()


class Server:
    """`up` as the transcript starts it, on a folder and a port of the test's own."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._output = folder / "up.out"
        self._announced = folder / "data/up.json"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, ROOT / "main.py", "up"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=environment,
                start_new_session=True,
            )

    def lines(self) -> list[str]:
        """What it said so far, without the request log."""
        text = self._output.read_text("utf-8", "replace")
        return [
            line
            for line in text.splitlines()
            if line.startswith("tollhouse: ") and ELSEWHERE not in line
        ]

    def wait_until_ready(self) -> None:
        """Returns when it is; fails the test when it ends or takes too long."""
        deadline = time.monotonic() + START_SECONDS
        while not (self._announced.exists() and any("is ready: " in line for line in self.lines())):
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"`up` did not start:\n{self._output.read_text('utf-8', 'replace')}")
            time.sleep(0.05)

    def interrupted(self) -> list[str]:
        """Ctrl-C: what it says then. Nothing that it started is left."""
        serving: list[int] = json.loads(self._announced.read_text())["serve_pids"]
        before = len(self.lines())
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(60) == 0
        assert not [pid for pid in serving if Path(f"/proc/{pid}").exists()]
        return self.lines()[before:]

    def close(self) -> None:
        """Stop it if the transcript didn't; its children die with it."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@contextmanager
def _place() -> Iterator[tuple[Path, dict[str, str], str]]:
    """A folder, an environment and a port for one run of the transcript."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TOLLHOUSE_")}
    with tempfile.TemporaryDirectory(prefix="tollhouse-readme-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # Postgres's user has to enter it
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = str(probe.getsockname()[1])
        tools = folder / "bin"
        tools.mkdir()
        kept["PATH"] = f"{kept.get('PATH', os.defpath)}:{tools}"
        (tools / "python3").symlink_to(sys.executable)
        (tools / "curl").write_text(f"#!{sys.executable}\n{CURL}")
        (tools / "curl").chmod(0o755)
        own = {"TOLLHOUSE_DATA_DIR": str(folder / "data"), "TOLLHOUSE_HTTP_PORT": port}
        yield folder, {**kept, **own}, port


def _away_from_midnight() -> None:
    """The transcript counts in one day of UTC, and must not begin it in another."""
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    if midnight - now < timedelta(seconds=60):
        time.sleep((midnight - now).total_seconds() + 1)


def _by_up(prints: list[str], port: str) -> list[str]:
    """What of the first lines is said by `up` itself: the starter's are checked here."""
    starter = (ROOT / "tollhouse").read_text("utf-8")
    said = [line.removeprefix("tollhouse: ") for line in prints]
    first = next(number for number, line in enumerate(said) if line == "Postgres is ready")
    for line in said[:first]:
        assert line.partition("…")[0].rstrip() in starter, f"the starter doesn't say: {line}"
    return [line.replace(PORT, port) for line in prints[first:]]


@pytest.mark.slow
def test_the_transcript_of_the_readme_is_what_happens() -> None:
    """Every command of every console block, in order, prints what the README says.

    Where there is no Node, or npm can't reach its registry, the lines that need it are left
    out, with a warning: a machine without it can still check the rest.
    """
    transcript = commands(README)
    assert transcript[0].text == UP
    assert transcript[-1].text == INTERRUPT
    _away_from_midnight()
    with _place() as (folder, environment, port):
        shell = Shell(folder, environment)
        server = None
        left_out = _without_node(folder)
        try:
            for command in transcript:
                if command.text == UP:
                    server = Server(folder, environment)
                    server.wait_until_ready()
                    said, expected = server.lines(), _by_up(command.prints, port)
                elif command.text == INTERRUPT:
                    assert server is not None
                    said, expected = server.interrupted(), command.prints
                elif any(word in command.text for word in left_out):
                    continue
                else:
                    program = f"{shlex.quote(sys.executable)} {shlex.quote(str(ROOT / 'main.py'))}"
                    text = command.text.replace("./tollhouse", program).replace(PORT, port)
                    if "consumer.mjs" in text:
                        _wait_until_published(port)
                    said = [line.replace(port, PORT) for line in shell.run(text)]
                    expected = command.prints
                diff = difference(expected, said)
                assert not diff, f"\n$ {command.text}\n{diff}"
        finally:
            shell.close()
            if server is not None:
                server.close()


def _wait_until_published(port: str) -> None:
    """What was counted is on NATS. A person needs longer for the next line than a flush takes and
    the publisher; this shell doesn't."""
    deadline = time.monotonic() + COMMAND_SECONDS
    still = time.monotonic()
    while time.monotonic() - still < 2 * FLUSH_BEHIND_SECONDS:
        health = httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).json()
        if any(health["checks"]["publisher"]["lag"].values()):
            still = time.monotonic()
        assert time.monotonic() < deadline, "the publisher does not come to the end of the logs"
        time.sleep(0.05)


def _without_node(folder: Path) -> tuple[str, ...]:
    """What can't be run here; the example is installed where the transcript expects it."""
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("node_*"))
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True)
        if int(version.stdout.strip("v\n").partition(".")[0]) >= 20:
            install = [npm, "install", "--silent", "--prefix", str(folder / "examples/node")]
            with (folder / "npm.out").open("wb") as output, suppress(subprocess.TimeoutExpired):
                done = subprocess.run(install, stdout=output, stderr=output, timeout=120)
                if done.returncode == 0:
                    return ()
    warnings.warn(
        "no Node 20, or npm reaches no registry: left out of the transcript", stacklevel=1
    )
    return ("npm ", "node ", "NATS=", "seen.txt", "again.txt")


def test_every_command_of_the_readme_exists_and_every_command_is_in_the_readme() -> None:
    """The table of the command line is complete and true."""
    written = {row[0].strip("`") for row in table_rows(README, "## Command line")}
    assert written == {f"./tollhouse {path}" for path in _paths(typer.main.get_command(build()))}


def _paths(command: object, before: str = "") -> Iterator[str]:
    inner: dict[str, object] | None = getattr(command, "commands", None)
    if inner is None:
        yield before
        return
    for name, each in inner.items():
        yield from _paths(each, f"{before} {name}".strip())


def test_a_difference_is_found_and_shown() -> None:
    """The comparison can fail: it is not wider than it says."""
    assert difference(["a … c", "…", "end"], ["a b c", "more", "and more", "end "]) == ""
    assert difference(["…", "end"], ["end"]) == ""
    for expected, printed in (
        (["VALID"], ["REVOKED"]),
        (["VALID"], []),
        (["VALID"], ["VALID", "more"]),
        (["a … c"], ["a b", "c"]),
        (["…", "end"], ["end", "more"]),
    ):
        assert "what it printed" in difference(expected, printed)


def test_a_command_over_several_lines_is_one() -> None:
    """A block is read as a shell would read it."""
    text = "```console\n$ a \\\n>   b\nx\n> y\n$ c\n```\n"
    assert commands(text) == [Command("a \\\n  b", ["x", "> y"]), Command("c", [])]
