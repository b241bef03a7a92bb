"""The load generator: wrk, from the system's packages, so that no Python is in its way."""

import shutil
import subprocess
from pathlib import Path

import msgspec

from bench.machine import on_cores

SCRIPT = Path(__file__).with_name("load.lua")
MISSING = "wrk, the load generator, is not installed: apt-get install -y wrk"


class WrkMissing(Exception):
    """There is no wrk on PATH."""


class Measured(msgspec.Struct, frozen=True):
    """What one run of wrk saw. `refused` are statuses of 400 and more, `broken` connections."""

    requests: int
    duration_us: int
    refused: int
    broken: int
    p50_us: int
    p99_us: int
    max_us: int
    answered: int
    valid: int

    @property
    def per_second(self) -> float:
        """Requests that were answered in a second."""
        return self.requests / self.duration_us * 1_000_000


def require_wrk() -> str:
    """Where wrk is. Raises WrkMissing."""
    found = shutil.which("wrk")
    if found is None:
        raise WrkMissing(MISSING)
    return found


def load(
    url: str,
    keys: Path,
    caller: str,
    connections: int,
    seconds: float,
    cores: set[int],
    *,
    check: bool = False,
    operation: str = "",
) -> Measured:
    """Verify the keys of this file over and over, each connection as fast as it is answered.

    With an `operation` each verification names it. `check` reads every answer.
    """
    argv = [
        require_wrk(),
        *("-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency"),
        *("-s", str(SCRIPT), url, "--", str(keys), caller, "check" if check else "measure"),
        operation,
    ]
    with on_cores(cores):
        done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds + 30)
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        raise RuntimeError(f"wrk failed: {done.stderr.strip() or done.stdout.strip()}")
    return msgspec.json.decode(lines[-1], type=Measured)
