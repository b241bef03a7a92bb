"""What runs on a data folder now, as `up` wrote it down."""

import json
import os
from pathlib import Path

from infra.embedded.child import StartError


def running(data_dir: Path) -> dict[str, str]:
    """The addresses of the `up` that runs on this folder. Raises StartError if none does."""
    try:
        found = json.loads((data_dir / "up.json").read_text())
        os.kill(int(found["pid"]), 0)  # one that was killed leaves the file behind
    except (OSError, ValueError, KeyError, TypeError):
        raise StartError(
            f"no server runs on {data_dir}: start one with `./tollhouse up`, or set "
            "TOLLHOUSE_DATABASE_URL and TOLLHOUSE_PUBLIC_URL to reach another."
        ) from None
    return {name: str(found[name]) for name in ("http_url", "nats_url", "database_url")}
