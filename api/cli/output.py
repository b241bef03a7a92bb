"""How the command line speaks: tables and colours for people, JSON for programs.

What a command answers goes to standard output; progress and errors go to standard error.
"""

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
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
    """One thing, a field a line; the fields of a field stand below its name, further in."""
    lines: list[tuple[str, str | None]] = []
    for name, value in fields.items():
        if isinstance(value, Mapping) and value:
            lines.append((name, None))
            lines += [(f"  {inner}", _text(each)) for inner, each in value.items()]
        else:
            lines.append((name, _text(value)))
    width = max(len(name) for name, text in lines if text is not None)
    for name, text in lines:
        if text is None:
            _out.print(f"[dim]{escape(name)}[/dim]")
        else:
            _out.print(f"[dim]{escape(name.ljust(width))}[/dim]  {escape(text)}")


def _text(value: Any) -> str:
    if value is None or value in ("", (), [], {}):
        return "-"
    if isinstance(value, datetime):
        return str(msgspec.to_builtins(value))  # with the Z that answers over HTTP have
    return str(value)


def table_width() -> int | None:
    """How wide a table may be; None in a file or a pipe, which have no edge."""
    return _out.width if _out.is_terminal else None


def coloured(text: str, colour: str) -> Text:
    """A cell in a colour."""
    return Text(text, style=colour)


def show_text(line: str) -> None:
    """A line of the answer, as it is."""
    _out.print(escape(line))


def show_table(table: Table) -> None:
    """A table that was made elsewhere."""
    _out.print(table)


def show_whole(table: Table, width: int) -> None:
    """A table that was made elsewhere, so wide that nothing in it is cut."""
    _out.print(table, width=width)


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
    return escape(_text(cell))
