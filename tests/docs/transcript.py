"""Transcripts in Markdown: ```console blocks, read as commands with what they print.

A command begins with `$ ` and goes on in lines that begin with `> `. In what it prints, `…`
stands for any text within a line, and a line that is only `…` for any number of lines.
"""

import difflib
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

ANY = "…"
INTERRUPT = "^C"
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Command(NamedTuple):
    """What is typed, and the lines that follow."""

    text: str
    prints: list[str]


def commands(markdown: str) -> list[Command]:
    """Every command of every console block, in order. `^C` counts as one."""
    found: list[Command] = []
    for block in _BLOCK.findall(markdown):
        begun = False
        for line in block.splitlines():
            if line.startswith("$ ") or line == INTERRUPT:
                found.append(Command(line.removeprefix("$ "), []))
                begun = True
            elif not begun:
                raise ValueError(f"a console block begins with what is no command: {line}")
            elif line.startswith("> ") and not found[-1].prints:
                found[-1] = Command(f"{found[-1].text}\n{line[2:]}", [])
            else:
                found[-1].prints.append(line)
    return found


def difference(expected: Sequence[str], printed: Sequence[str]) -> str:
    """How what was printed differs from what the transcript says; empty if it doesn't."""
    wanted = [line.rstrip() for line in expected]
    got = [line.rstrip() for line in printed]
    if re.fullmatch("".join(map(_pattern, wanted)), "".join(f"{line}\n" for line in got)):
        return ""
    # Lines that agree are shown as the transcript has them, so that only the others stand out.
    shown = [next((each for each in wanted if _agree(each, line)), line) for line in got]
    lines = difflib.unified_diff(wanted, shown, "the transcript", "what it printed", lineterm="")
    return "\n".join([*lines, "", "All that it printed:", *got])


def _pattern(line: str) -> str:
    if line.strip() == ANY:
        return r"(?:.*\n)*?"
    return ".*?".join(map(re.escape, line.split(ANY))) + r"\n"


def _agree(wanted: str, line: str) -> bool:
    return wanted.strip() != ANY and re.fullmatch(_pattern(wanted), f"{line}\n") is not None


def table_rows(markdown: str, heading: str) -> Iterator[list[str]]:
    """The cells of each row of the first table under this heading, without its head."""
    section = markdown.partition(f"\n{heading}\n")[2]
    section = re.split(r"^#", section, maxsplit=1, flags=re.MULTILINE)[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    for row in rows[2:]:
        yield [cell.strip() for cell in row.strip("|").split("|")]
