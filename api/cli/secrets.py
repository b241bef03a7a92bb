"""secrets: what is sealed, under the secrets of now."""

import typer

from api.cli import output
from api.cli.running import Json
from application.rewrapping import Rewrapped

app = typer.Typer(help="What is sealed under the master key.", no_args_is_help=True)


@app.command("rewrap", epilog="Example: tollhouse secrets rewrap")
def rewrap(context: typer.Context, json: Json = False) -> None:
    """Seal everything anew under TOLLHOUSE_MASTER_KEY, while both keys are set.

    Everything goes on meanwhile, and it may be run again. Afterwards the one before is of no more
    use. Exit code 1 if something opens under neither.
    """
    done: list[Rewrapped] = context.obj.wiring.rewrap(
        lambda table, rows: output.say(f"{table}: {rows:,}")
    )
    unreadable = [each for each in done if each.unreadable]
    if json:
        output.show_json(done)
    else:
        total = sum(each.rewrapped for each in done)
        rest = "" if unreadable else "; nothing is left under another key"
        output.show(f"[green]{total:,} sealed anew[/green]{rest}")
    for each in unreadable:
        output.complain(f"{each.table}: {each.unreadable:,} rows open under no key that is set")
    if unreadable:
        raise typer.Exit(1)
