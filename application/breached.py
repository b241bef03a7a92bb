"""Lists of passwords from breaches, as they are published: SHA-1 hashes, whole or by range."""

import re
from typing import NamedTuple

_WHOLE = re.compile(r"([0-9A-Fa-f]{40})(?::\d+)?")
_SUFFIX = re.compile(r"([0-9A-Fa-f]{35})(?::\d+)?")
_PREFIX = re.compile(r"[0-9A-Fa-f]{5}")


class BreachedLine(NamedTuple):
    """The hash of a line; neither hash nor fault where the line is empty, or only padding."""

    sha1: bytes | None = None
    fault: bool = False


def read_line(text: str, file_stem: str = "") -> BreachedLine:
    """One line of a list; of a range where its file is named by the first five digits."""
    plain = text.strip()
    if not plain or plain.endswith(":0"):  # padding, which hides how long a range is
        return BreachedLine()
    found = _WHOLE.fullmatch(plain)
    if found is not None:
        return BreachedLine(bytes.fromhex(found[1]))
    found = _SUFFIX.fullmatch(plain)
    if found is not None and _PREFIX.fullmatch(file_stem) is not None:
        return BreachedLine(bytes.fromhex(file_stem + found[1]))
    return BreachedLine(fault=True)
