"""rebuild: make a read model anew from its log, compare it with the live one, switch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from api.cli import output
from api.cli.running import Json
from projections import READ_MODELS
from projections.read_model import Difference, Rebuilt

NAMES = tuple(model.name for model in READ_MODELS)
ALL = "all"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("rebuild", epilog="Example: tollhouse rebuild keys --check")(rebuild)


def _known(name: str) -> str:
    if name not in (*NAMES, ALL):
        raise typer.BadParameter(f"there is no read model {name!r}: {', '.join(NAMES)} or {ALL}")
    return name


def rebuild(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(help=f"{', '.join(NAMES)}, or {ALL}.", callback=_known, show_default=False),
    ],
    check: Annotated[bool, typer.Option("--check", help="Only compare; change nothing.")] = False,
    json: Json = False,
) -> None:
    """Make a read model anew beside the live one, compare the two, and switch.

    Everything goes on meanwhile. Exit code 1 if --check finds a difference.
    """
    found = []
    for each in NAMES if name == ALL else (name,):
        with _progress(each) as progress:
            rebuilt: Rebuilt = context.obj.wiring.rebuild(each, check, progress)
        found.append(rebuilt)
        if json:
            output.show_json(rebuilt)
        else:
            _explain(rebuilt)
    if check and any(each.differences for each in found):
        raise typer.Exit(1)


@contextmanager
def _progress(name: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error, where that is a terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
    )
    console = output.progress_console()
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(name, rate="")

        def show(reached: int, total: int) -> None:
            elapsed = bar.tasks[0].elapsed or 0.0
            rate = f"{reached / elapsed:,.0f}/s" if elapsed > 0.5 else ""
            bar.update(task, completed=reached, total=max(total, 1), rate=rate)

        yield show


def _explain(rebuilt: Rebuilt) -> None:
    for difference in rebuilt.differences:
        output.show(_sentence(difference))
        for example in difference.examples:
            output.show_text(f"  {example}")
    name, at = rebuilt.name, rebuilt.position
    if rebuilt.switched:
        output.show(f"[green]{name} is new[/green], as of position {at}: {_summary(rebuilt)}")
    elif rebuilt.differences:
        output.show(
            f"[red]{name} differs[/red] at position {at}: `tollhouse rebuild {name}` mends it"
        )
    else:
        output.show(f"[green]{name} is right[/green] at position {at}")
    if rebuilt.problem is not None:
        output.show(
            f"[red]{name} is stopped at {rebuilt.stopped_at}[/red], and was compared up to there:"
        )
        output.show_text(f"  {rebuilt.problem}")


def _summary(rebuilt: Rebuilt) -> str:
    rows = sum(each.rows for each in rebuilt.differences)
    return f"{_rows(rows)} had been different" if rows else "nothing had been different"


def _sentence(difference: Difference) -> str:
    side = "not in the log" if difference.side == "live only" else "missing"
    return f"[yellow]{difference.table}[/yellow]: {_rows(difference.rows)} {side}, such as"


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"
