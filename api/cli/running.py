"""up, serve, work, migrate: start what runs."""

from typing import Annotated

import typer

from api.cli import output

Json = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("up", epilog="Example: tollhouse up")(up)
    app.command("serve", epilog="Example: TOLLHOUSE_DATABASE_URL=… tollhouse serve")(serve)
    app.command("work", epilog="Example: TOLLHOUSE_DATABASE_URL=… tollhouse work")(work)
    app.command("migrate", epilog="Example: tollhouse migrate --json")(migrate)


def up(context: typer.Context) -> None:
    """Start everything on this machine: Postgres, NATS, serve and work. Ctrl-C stops it.

    The data stays in TOLLHOUSE_DATA_DIR (./data); starting again goes on where it was.
    """
    context.obj.wiring.up(output.say)


def serve(
    context: typer.Context,
    fd: Annotated[int | None, typer.Option(hidden=True)] = None,
    first: Annotated[bool, typer.Option("--first", hidden=True)] = False,
) -> None:
    """Serve HTTP on a database that is there already (TOLLHOUSE_DATABASE_URL). Run as many
    as you like."""
    context.obj.wiring.serve(fd, first, output.say)


def work(
    context: typer.Context,
    only: Annotated[
        list[str] | None, typer.Option(help="Run only this follower; may be given again.")
    ] = None,
) -> None:
    """Follow the logs: read models, publication to NATS, the lake. Run as many as you like:
    each follower is run by one at a time, and another takes over when it goes."""
    context.obj.wiring.work(only or [])


def migrate(
    context: typer.Context,
    json: Json = False,
) -> None:
    """Bring the database to this version. Safe to run again, and by many at once."""
    done: list[str] = []
    context.obj.wiring.migrate(done.append if json else output.say)
    if json:
        output.show_json({"done": done})
