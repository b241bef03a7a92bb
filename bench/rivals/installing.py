"""A rival's code, from its own registry, in an ignored folder: installed once for its versions.

The registries are those that npm and uv are set up with on this machine.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
INSTALLED = HERE.parent / "results" / "rivals"
INSTALL_SECONDS = 300
NODE_MAJOR = 20


class RivalMissing(Exception):
    """This rival can't be set up here. The message is a sentence that says why."""


def with_npm(name: str) -> Path:
    """The folder of this rival with its node_modules. Raises RivalMissing."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise RivalMissing(
                f"{name} is left out: {program} is not on PATH (it needs node {NODE_MAJOR} or newer"
                " with npm)."
            )
    version = _run(name, ["node", "--version"], HERE).strip()
    if int(version.lstrip("v").partition(".")[0]) < NODE_MAJOR:
        raise RivalMissing(f"{name} is left out: node {version} is older than {NODE_MAJOR}.")
    folder, done = _laid_out(name, "package.json")
    if not done.exists():
        argv = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock"]
        _run(name, argv, folder)
        done.touch()
    return folder


def with_pip(name: str) -> Path:
    """The folder of this rival with a venv of its own in it. Raises RivalMissing."""
    folder, done = _laid_out(name, "requirements.txt")
    if not done.exists():
        uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
        if uv is None:
            raise RivalMissing(f"{name} is left out: uv is not installed (`just setup` brings it).")
        _run(name, [uv, "venv", "--quiet", "--clear", "--python", sys.executable, "venv"], folder)
        python = str(folder / "venv/bin/python")
        _run(
            name,
            [uv, "pip", "install", "--quiet", "--python", python, "-r", "requirements.txt"],
            folder,
        )
        done.touch()
    return folder


def _laid_out(name: str, versions: str) -> tuple[Path, Path]:
    """Our files beside where its packages go, and the mark of a finished install."""
    folder = INSTALLED / name
    shutil.copytree(
        HERE / name,
        folder,
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns("__pycache__", "node_modules", "venv"),
    )
    digest = hashlib.sha256((folder / versions).read_bytes()).hexdigest()[:16]
    return folder, folder / f"installed-{digest}-{sys.version_info.major}.{sys.version_info.minor}"


def _run(name: str, argv: list[str], folder: Path) -> str:
    try:
        done = subprocess.run(
            argv, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise RivalMissing(
            f"{name} is left out: `{argv[0]}` took longer than {INSTALL_SECONDS} s."
        ) from None
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()[-500:]
        raise RivalMissing(f"{name} is left out: `{' '.join(argv[:2])}` failed: {said}")
    return done.stdout
