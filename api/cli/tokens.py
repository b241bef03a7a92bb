"""tokens: list the keys that sign access tokens, and rotate them."""

from typing import Annotated

import typer

from api.cli import output
from api.cli.running import Json
from application.ports import Ports
from application.session_ports import PublishedKey

app = typer.Typer(help="The keys that sign access tokens.", no_args_is_help=True)

IN_AN_HOUR = 3600


@app.command("keys", epilog="Example: tollhouse tokens keys --json")
def keys(context: typer.Context, json: Json = False) -> None:
    """List the published keys, the one that signs first."""

    async def use(ports: Ports) -> list[PublishedKey]:
        return list(ports.signing_keys.published(ports.clock()))

    found = context.obj.act(use)
    if json:
        output.show_json({"items": [each._asdict() for each in found]})
    else:
        output.show_rows(("kid", "x"), [list(each) for each in found])


@app.command("rotate", epilog="Example: tollhouse tokens rotate --now --end-others")
def rotate(
    context: typer.Context,
    now: Annotated[bool, typer.Option("--now", help="It signs in a minute, not an hour.")] = False,
    end_others: Annotated[
        bool,
        typer.Option("--end-others", help="A key leaked: refuse what others signed from then on."),
    ] = False,
    json: Json = False,
) -> None:
    """Make another signing key. It is published at once, and signs in an hour, so that whoever
    keeps the key set knows it by then. With --end-others everybody's access token ends when it
    signs; sessions go on, with the next refresh."""

    async def use(ports: Ports) -> str:
        seconds = 0 if now else IN_AN_HOUR
        return await ports.signing_keys.rotate(ports.clock(), seconds, end_others=end_others)

    kid = context.obj.act(use)
    if json:
        output.show_json({"kid": kid})
    else:
        output.show(f"{kid} is published, and signs {'in a minute' if now else 'in an hour'}")
