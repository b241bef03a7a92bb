"""How the command line speaks: tables and colours for people, JSON for programs.

What a command answers goes to standard output; progress and errors go to standard error.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

_err = Console(stderr=True, highlight=False, soft_wrap=True)
_out = Console(highlight=False, soft_wrap=True)
if not _out.is_terminal:
    _out.width = 240  # a file or a pipe has no edge to fold at


def say(line: str) -> None:
    """A line of progress."""
    _err.print(f"[dim]tollhouse:[/dim] {escape(line)}")


def complain(sentence: str) -> None:
    """Why it did not work."""
    _err.print(f"[red]tollhouse:[/red] {escape(sentence)}")


def progress_console() -> Console:
    """Where progress is drawn."""
    return _err


def show(line: str) -> None:
    """A line of the answer; rich markup is understood."""
    _out.print(line)


def show_json(value: object) -> None:
    """The answer as JSON, one line a value."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()


def show_fields(fields: Mapping[str, Any]) -> None:
    """One thing, a field a line."""
    width = max(map(len, fields))
    for name, value in fields.items():
        text = "-" if value in (None, "", (), [], {}) else str(value)
        _out.print(f"[dim]{name.ljust(width)}[/dim]  {escape(text)}")


def coloured(text: str, colour: str) -> Text:
    """A cell in a colour."""
    return Text(text, style=colour)


def show_text(line: str) -> None:
    """A line of the answer, as it is."""
    _out.print(escape(line))


def show_table(table: Table) -> None:
    """A table that was made elsewhere."""
    _out.print(table)


def show_rows(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Many things, as a table."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(_cell, row))
    _out.print(table)


def _cell(cell: Any) -> str | Text:
    if isinstance(cell, Text):
        return cell
    return "-" if cell in (None, "") else escape(str(cell))
