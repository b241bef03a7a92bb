"""`./tollhouse` says in one sentence what a bare machine lacks, and finds its own folder."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHELL_TOOLS = (
    "sh",
    "cat",
    "cut",
    "dirname",
    "flock",
    "head",
    "readlink",
    "rm",
    "sha256sum",
    "tail",
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout, in a folder with a space, without an environment."""
    folder = tmp_path / "a check out"
    folder.mkdir()
    for name in ("tollhouse", "requirements.lock", "requirements-dev.lock"):
        shutil.copy(ROOT / name, folder)
    (folder / "main.py").touch()
    return folder


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A PATH with the shell's own tools, and neither Python nor uv."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in SHELL_TOOLS:
        if found := shutil.which(name):
            (folder / name).symlink_to(found)
    return folder


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def python_that(tools: Path, *, is_new: bool, has_venv: bool) -> None:
    program(
        tools / "python3",
        f"""case "$*" in
-V) echo Python 3.9.2 ;;
*version_info*) exit {int(not is_new)} ;;
*ensurepip*) exit {int(not has_venv)} ;;
*fcntl*) ;;
"-m venv "*) echo "$INSTALLER_SAYS"; exit 1 ;;
esac""",
    )


def run(
    checkout: Path, tools: Path, *words: str, says: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [checkout / "tollhouse", *words],
        env={"PATH": str(tools), "INSTALLER_SAYS": says},
        capture_output=True,
        text=True,
        timeout=60,
    )


def made_environment(checkout: Path) -> None:
    program(checkout / ".venv/bin/python", 'printf "%s|" "$@"')
    for name in ("requirements", "requirements-dev"):
        digest = hashlib.sha256((checkout / f"{name}.lock").read_bytes()).hexdigest()
        (checkout / f".venv/.{name}.stamp").write_text(f"{digest}\n")


@pytest.mark.parametrize("shell", ["sh", "dash", "bash"])
def test_starter_is_sound_shell(shell: str) -> None:
    if not shutil.which(shell):
        pytest.skip(f"no {shell} here")
    subprocess.run([shell, "-n", ROOT / "tollhouse"], check=True)
    assert os.access(ROOT / "tollhouse", os.X_OK)


def test_python_too_old_is_one_sentence(checkout: Path, tools: Path) -> None:
    python_that(tools, is_new=False, has_venv=True)
    done = run(checkout, tools)
    assert done.returncode == 1
    assert "Python 3.11 or newer is needed, and Python 3.9.2 was found" in done.stderr
    assert done.stderr.count("\n") == 1


def test_no_python_is_one_sentence(checkout: Path, tools: Path) -> None:
    done = run(checkout, tools)
    assert done.returncode == 1
    assert "no Python 3 was found" in done.stderr
    assert done.stderr.count("\n") == 1


def test_missing_venv_names_the_one_line_to_type(checkout: Path, tools: Path) -> None:
    python_that(tools, is_new=True, has_venv=False)
    done = run(checkout, tools)
    assert done.returncode == 1
    assert "apt-get install -y python3-venv" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("says", "told"),
    [
        ("OSError: [Errno 28] No space left on device", "no disk space is left"),
        ("Read-only file system (os error 30)", "can't be written"),
        ("no such package", "no such package"),
    ],
)
def test_failed_install_is_explained_and_not_taken_for_complete(
    checkout: Path, tools: Path, says: str, told: str
) -> None:
    python_that(tools, is_new=True, has_venv=True)
    for _ in range(2):
        done = run(checkout, tools, says=says)
        assert done.returncode == 1
        assert told in done.stderr
        assert "happens once" in done.stderr


def test_made_environment_runs_at_once_with_the_arguments_as_given(
    checkout: Path, tools: Path, tmp_path: Path
) -> None:
    made_environment(checkout)
    assert run(checkout, tools, "keys", "two words").stdout == f"{checkout}/main.py|keys|two words|"
    link = tmp_path / "link"
    link.symlink_to(Path(checkout.name) / "tollhouse")
    done = subprocess.run(
        ["./link", "x"], cwd=tmp_path, env={"PATH": str(tools)}, capture_output=True, text=True
    )
    assert done.stdout == f"{checkout}/main.py|x|"


def test_another_lock_asks_for_another_environment(checkout: Path, tools: Path) -> None:
    made_environment(checkout)
    with (checkout / "requirements.lock").open("a") as lock:
        lock.write("# changed\n")
    assert "no Python 3 was found" in run(checkout, tools).stderr


def test_tests_with_arguments_are_only_pytest(checkout: Path, tools: Path) -> None:
    made_environment(checkout)
    assert run(checkout, tools, "test", "-k", "a b").stdout == "-m|pytest|-k|a b|"


def test_all_checks_run_under_their_headings(checkout: Path, tools: Path) -> None:
    made_environment(checkout)
    headings = [line for line in run(checkout, tools, "test").stdout.splitlines() if "== " in line]
    assert [line.rpartition("== ")[2] for line in headings] == [
        "lint",
        "format",
        "types",
        "imports",
        "tests",
    ]


def test_failing_check_fails_the_run(checkout: Path, tools: Path) -> None:
    made_environment(checkout)
    program(checkout / ".venv/bin/python", "exit 7")
    assert run(checkout, tools, "test").returncode == 7
