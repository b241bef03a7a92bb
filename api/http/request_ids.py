"""Ids of requests: what a client may choose, and ours where it chooses none."""

import os
import re
from collections.abc import Iterator

SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")


def _fresh_ids() -> Iterator[str]:
    # 96 random bits each, without a system call each.
    while True:
        pool = os.urandom(12 * 256).hex()
        for start in range(0, len(pool), 24):
            yield f"req_{pool[start : start + 24]}"


FRESH_IDS = _fresh_ids()
