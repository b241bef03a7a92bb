"""Failpoints: named places where a fault test may end the process, as if by -9."""

import os
import signal
from collections.abc import Callable


def failpoint(setting: str | None, name: str) -> Callable[[], None] | None:
    """What to call at the place of this name; None where the setting doesn't name it.

    `name` dies at the first time, `name:N` at the Nth.
    """
    wanted, _, count = (setting or "").partition(":")
    if wanted != name:
        return None
    left = int(count or 1)

    def reached() -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return reached
