"""Taking rights away from this very process: files, network, memory, time.

The locks of DuckDB itself are in `engine`. These hold when those don't: they are the kernel's,
and nothing that runs later in the process can undo them. Standard library only.
"""

import ctypes
import os
import resource
import signal
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
# landlock(7); the same numbers on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_PATH_BENEATH = 1
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
# How many rights on files each version of Landlock knows, from the first.
_FILE_RIGHTS = (13, 14, 15, 15, 16)
_NETWORK_RIGHTS = 0b11  # TCP: bind, connect; since version 4
_NETWORK_SINCE = 4
_SCOPES = 0b11  # abstract sockets and signals of others; since version 6
_SCOPES_SINCE = 6


def die_with(parent: int) -> None:
    """From now on the kernel kills this process when `parent` ends; at once if it has."""
    if sys.platform == "linux":
        _libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def stay_small(cpu_seconds: int, address_bytes: int) -> None:
    """No file of any size, no core, little CPU time and memory, the lowest priority.

    The number of processes is not bounded here: the kernel counts those of the whole user, and
    threads with them. What is started could execute nothing (`see_only`).
    """
    os.nice(15)
    if sys.platform == "linux":
        # The first to go when memory runs out, long before the server.
        Path("/proc/self/oom_score_adj").write_text("1000")
    for limit, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_AS, address_bytes),
        (resource.RLIMIT_NOFILE, 512),
    ):
        _, hard = resource.getrlimit(limit)
        lower = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (lower, lower))


def see_only(paths: Iterable[str | Path], *, network: bool) -> bool:
    """Leave this thread, and those it starts, nothing of the file system but reading `paths`.

    Links out of them lead nowhere. Without `network`, no TCP either. False where the kernel
    can't do it (no Linux, or older than 5.13); then DuckDB's own locks are all there is.
    """
    if sys.platform != "linux":
        return False
    libc = _libc()
    version = libc.syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG)
    if version < 1:
        return False
    rights = _FILE_RIGHTS[min(version, len(_FILE_RIGHTS)) - 1]
    handled = struct.pack(
        "QQQ",
        (1 << rights) - 1,
        _NETWORK_RIGHTS if version >= _NETWORK_SINCE and not network else 0,
        _SCOPES if version >= _SCOPES_SINCE else 0,
    )
    size = 24 if version >= _SCOPES_SINCE else 16 if version >= _NETWORK_SINCE else 8
    ruleset = libc.syscall(_CREATE_RULESET, handled, size, 0)
    if ruleset < 0:
        return False
    for path in paths:
        _allow_reading(libc, ruleset, path)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    confined = bool(libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0)
    os.close(ruleset)
    return confined


def _allow_reading(libc: ctypes.CDLL, ruleset: int, path: str | Path) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what isn't there needs no right
    rights = _READ_FILE | _READ_DIR if os.path.isdir(path) else _READ_FILE
    libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, place), 0)
    os.close(place)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
