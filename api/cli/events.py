"""tail: watch decisions as they are made."""

from typing import Annotated

import msgspec
import typer
from rich.markup import escape

from api.cli import output
from api.cli.running import Json
from application.ports import Ports, Unreadable
from domain.event import Recorded, disclosed, stored_name

_COLOURS = {
    "account": "cyan",
    "session": "blue",
    "api_key": "green",
    "allowance": "yellow",
    "plan": "magenta",
}
_ENDINGS = ("revoked", "suspended", "paused", "lifted")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("tail", epilog="Example: tollhouse tail --after 0 --no-follow")(tail)


def tail(
    context: typer.Context,
    after: Annotated[
        int | None, typer.Option(help="Begin after this position; 0 is the beginning.")
    ] = None,
    last: Annotated[int, typer.Option(min=0, help="Begin so many events back.")] = 10,
    follow: Annotated[bool, typer.Option(help="Wait for what comes.")] = True,
    json: Json = False,
) -> None:
    """Follow the decisions log: what was decided, by whom. Nothing personal is shown."""

    async def use(ports: Ports) -> None:
        start = after if after is not None else max(ports.directory.position - last, 0)
        async for step in ports.store.follow(start):
            for recorded in step.events:
                if json:
                    output.show_json(_document(recorded))
                else:
                    output.show(_line(recorded))
            if step.at_end and not follow:
                return

    context.obj.act(use)


def _line(recorded: Recorded | Unreadable) -> str:
    if isinstance(recorded, Unreadable):
        return f"{recorded.position:>8}  [red]unreadable {recorded.name}[/red]  {recorded.stream}"
    name = stored_name(type(recorded.event)).rpartition(".")[0]
    noun, _, fact = name.partition(".")
    colour = "red" if fact in _ENDINGS else _COLOURS.get(noun, "white")
    details = " ".join(
        f"[dim]{field}=[/dim]{escape(_short(value))}"
        for field, value in disclosed(recorded.event).items()
        if value != recorded.stream
    )
    at = f"{recorded.metadata.at:%Y-%m-%d %H:%M:%S}"
    return (
        f"{recorded.position:>8}  [dim]{at}[/dim]  [{colour}]{name:<24}[/{colour}] "
        f"{recorded.stream}  {details}  [dim]by {escape(recorded.metadata.actor)}[/dim]"
    )


def _document(recorded: Recorded | Unreadable) -> dict[str, object]:
    if isinstance(recorded, Unreadable):
        return {"position": recorded.position, "unreadable": recorded.problem}
    return {
        "position": recorded.position,
        "at": recorded.metadata.at,
        "type": stored_name(type(recorded.event)),
        "stream": recorded.stream,
        "version": recorded.version,
        "actor": recorded.metadata.actor,
        "request_id": recorded.metadata.request_id,
        "data": disclosed(recorded.event),
    }


def _short(value: object) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else text[:59] + "…"
