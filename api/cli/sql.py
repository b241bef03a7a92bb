"""sql: ask the lake, on this machine, without the server."""

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Generic, Literal, TypeVar, get_args

import msgspec
import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from api.cli import output
from api.cli.running import Json
from api.cli.wiring import Lake, Sheet
from application.errors import AnalyticsUnavailable, QueryNotAnswered
from application.ports import LakeTable, SheetFormat

T = TypeVar("T")

SHOWN_ROWS = 40
COUNTED_ROWS = 100_000
GAP = 2
SHORT_TEXT, SHORT_NUMBER = 12, 20  # narrower than this, a column is left out instead
QUIET_SECONDS = 1.0
_LOOK_SECONDS = 0.1
_GRACE_SECONDS = 1.0
INTERRUPTED = 130

Format = Literal["table", "csv", "json", "parquet", "arrow"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "sql",
        epilog='Example: tollhouse sql "SELECT outcome, count(*) FROM verifications GROUP BY 1"',
    )(sql)


def sql(
    context: typer.Context,
    query: Annotated[
        str | None,
        typer.Argument(help="One SELECT; - reads it from standard input. Without it: the tables."),
    ] = None,
    format: Annotated[
        str, typer.Option(help="table, csv, json (an object a line), parquet or arrow.")
    ] = "table",
    output_file: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write there, not to standard output.")
    ] = None,
    json: Json = False,
) -> None:
    """Ask the lake in SQL: what was verified, what was decided. Reads only.

    It opens the snapshot in TOLLHOUSE_DATA_DIR; nothing has to run. The table shows 40 rows,
    the other formats all.
    """
    chosen = _format("json" if json else format, output_file)
    lake: Lake = context.obj.wiring.lake()
    try:
        if query is None:
            _show_tables(_waited_for(lake, lake.tables), json)
            return
        text = sys.stdin.read() if query == "-" else query
        if chosen == "table":
            sheet, rows = _waited_for(lake, lambda: _first_rows(lake, text))
            _show(sheet, rows)
        else:
            _write(lake, text, chosen, output_file)
    except _Stopped:
        output.say("stopped")
        # At once: DuckDB may still be busy in its thread, and would abort an orderly end.
        os._exit(INTERRUPTED)
    except QueryNotAnswered as error:
        _complain(error.detail, error.hint)
        raise typer.Exit(1) from None
    except AnalyticsUnavailable as error:
        _complain(error.detail, "`tollhouse up` and `tollhouse work` write it.")
        raise typer.Exit(1) from None


def _format(name: str, output_file: Path | None) -> Format:
    if name not in get_args(Format):
        raise typer.BadParameter(f"{name} is not table, csv, json, parquet or arrow.")
    chosen: Format = name  # type: ignore[assignment]  # it was just looked up
    if chosen == "table" and output_file is not None:
        raise typer.BadParameter("A table is for people: with --output, say --format csv.")
    if chosen == "parquet" and output_file is None:
        raise typer.BadParameter("Parquet needs --output FILE.")
    if chosen == "arrow" and output_file is None and sys.stdout.isatty():
        raise typer.BadParameter("Arrow is no text: add --output FILE, or pipe it.")
    return chosen


def _first_rows(lake: Lake, text: str) -> tuple[Sheet, list[list[Any]]]:
    sheet = lake.ask(text)
    return sheet, sheet.rows(SHOWN_ROWS + COUNTED_ROWS + 1)


def _write(lake: Lake, text: str, format: SheetFormat, output_file: Path | None) -> None:
    with _sink(output_file) as sink:
        count = _waited_for(lake, lambda: lake.ask(text).write(format, sink))
    if output_file is not None:
        output.say(f"{count:,} rows in {output_file}")


@contextmanager
def _sink(output_file: Path | None) -> Iterator[BinaryIO]:
    """Standard output, or a file that appears under its name once it is whole."""
    if output_file is None:
        try:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        except BrokenPipeError:  # as in `| head`: it has seen enough
            sys.stdout = None
            raise typer.Exit(0) from None
        return
    part = output_file.with_name(output_file.name + ".part")
    try:
        with part.open("wb") as sink:
            yield sink
        part.replace(output_file)
    except OSError as error:
        _complain(f"{output_file} can't be written: {error.strerror}.", None)
        raise typer.Exit(1) from None
    finally:
        if part.exists():
            part.unlink()


class _Stopped(Exception):
    """By Ctrl-C."""


class _Asking(threading.Thread, Generic[T]):
    """Does it in a thread of its own, so that this one can show progress and take a Ctrl-C."""

    def __init__(self, work: Callable[[], T]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self._made: list[T] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._made.append(self._work())
        except BaseException as error:
            self._error = error

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return self._made[0]


def _waited_for(lake: Lake, work: Callable[[], T]) -> T:
    asking = _Asking(work)
    asking.start()
    try:
        asking.join(QUIET_SECONDS)
        if asking.is_alive():
            _show_progress(lake, asking)
    except KeyboardInterrupt:
        lake.interrupt()
        asking.join(_GRACE_SECONDS)
        raise _Stopped from None
    return asking.result()


def _show_progress(lake: Lake, asking: threading.Thread) -> None:
    columns = (TextColumn("[dim]asking[/dim]"), BarColumn(), TimeElapsedColumn())
    with Progress(
        *columns,
        console=output.progress_console(),
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as shown:
        task = shown.add_task("", total=None)
        while asking.is_alive():
            share = lake.progress()
            if share is not None:
                shown.update(task, total=1.0, completed=share)
            asking.join(_LOOK_SECONDS)


def _show(sheet: Sheet, rows: list[list[Any]]) -> None:
    columns = [
        [_steady(column.name), _steady(column.type, "not bold dim")] for column in sheet.columns
    ]
    for row in rows[:SHOWN_ROWS]:
        for cells, value in zip(columns, row, strict=True):
            cells.append(_cell(value))
    natural = [max(cell.cell_len for cell in cells) for cells in columns]
    least = [SHORT_NUMBER if column.numeric else SHORT_TEXT for column in sheet.columns]
    widths = fitted(natural, least, output.table_width())
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, GAP, 0, 0))
    for column, cells, width in zip(sheet.columns, columns, widths, strict=False):
        for cell in cells:
            cell.truncate(width, overflow="ellipsis")
        head = Text("\n").join(cells[:2])
        table.add_column(head, justify="right" if column.numeric else "left", min_width=width)
    for shown in zip(*(cells[2:] for cells in columns[: len(widths)]), strict=True):
        table.add_row(*shown)
    output.show_whole(table, sum(widths) + GAP * len(widths))
    left_out = len(columns) - len(widths)
    if left_out:
        many = f"{left_out} more column{'s' if left_out > 1 else ''}"
        output.show(f"[dim]… and {many}: --format csv shows all[/dim]")
    more = len(rows) - SHOWN_ROWS
    if more > 0:
        many = f"{more:,}" if more <= COUNTED_ROWS else f"more than {COUNTED_ROWS:,}"
        output.show(f"[dim]… and {many} more: --format csv shows all[/dim]")
    elif not rows:
        output.show("[dim]no rows[/dim]")


def fitted(natural: Sequence[int], least: Sequence[int], most: int | None) -> list[int]:
    """How wide to draw each column so that a line has `most` at most.

    What is narrower than `least` stays as it is; the widest give way first. Columns at the end
    that don't fit even so are left out, never the first one.
    """
    if most is None:
        return list(natural)
    floors = [min(pair) for pair in zip(natural, least, strict=True)]
    count = max(1, sum(end - GAP <= most for end in accumulate(each + GAP for each in floors)))
    room = most - GAP * (count - 1)
    # The one bound for all that just fits: what is below it is whole.
    bound = max(natural, default=0)
    while bound > 1 and sum(_widths(natural, floors, bound)[:count]) > room:
        bound -= 1
    widths = _widths(natural, floors, bound)[:count]
    return [min(each, room) for each in widths] if count == 1 else widths


def _widths(natural: Sequence[int], floors: Sequence[int], bound: int) -> list[int]:
    return [max(floor, min(each, bound)) for each, floor in zip(natural, floors, strict=True)]


def _cell(value: Any) -> Text:
    if value is None:
        return Text("null", "dim")
    if isinstance(value, str):
        return _steady(value)
    if isinstance(value, bool):
        return Text("true" if value else "false")
    if isinstance(value, int):
        return Text(str(value))
    return _steady(msgspec.json.encode(value).decode())


def _steady(text: str, style: str = "") -> Text:
    """Without what could steer a terminal: names of models and the like come from outside."""
    return Text("".join(each if each.isprintable() else ascii(each)[1:-1] for each in text), style)


def _printable(text: str) -> str:
    """The same, for markup."""
    return escape(_steady(text).plain)


def _show_tables(tables: list[LakeTable] | Any, json: bool) -> None:
    if json:
        for table in tables:
            columns = [
                {"name": each.name, "type": each.type, "comment": each.comment}
                for each in table.columns
            ]
            output.show_json({"name": table.name, "comment": table.comment, "columns": columns})
        return
    for table in tables:
        output.show(f"[bold]{_printable(table.name)}[/bold]  {_printable(table.comment or '')}")
        listing = Table(box=None, pad_edge=False, show_header=False)
        for style in ("", "dim", ""):
            listing.add_column(style=style, overflow="fold")
        for each in table.columns:
            listing.add_row(
                f"  {_printable(each.name)}", _printable(each.type), _printable(each.comment or "")
            )
        output.show_table(listing)
        output.show("")


def _complain(detail: str, hint: str | None) -> None:
    # DuckDB repeats the line of the query below its sentence.
    sentence = " ".join(detail.partition("\nLINE ")[0].split())
    if not sentence.endswith((".", "!", "?")):
        sentence += "."
    output.complain(f"{sentence} {hint}" if hint else sentence)
