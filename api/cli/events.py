"""tail: watch decisions as they are made. events show: one event, and what it stops."""

import re
from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

import msgspec
import typer
from rich.markup import escape

from api.cli import output
from api.cli.running import Json
from application.ports import Follower, Found, Ports, Unreadable
from domain.event import Recorded, disclosed, stored_name

LogName = Literal["decisions", "usage"]

_COLOURS = {
    "account": "cyan",
    "session": "blue",
    "api_key": "green",
    "allowance": "yellow",
    "plan": "magenta",
}
_POSITION = re.compile(r"(?:(log[0-9a-z]*?)(u?):)?([0-9]{1,18})")
_ENDINGS = ("revoked", "suspended", "paused", "lifted")


events = typer.Typer(help="Look into the logs.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("tail", epilog="Example: tollhouse tail --after 0 --no-follow")(tail)
    app.add_typer(events, name="events")


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


@events.command("show", epilog="Example: tollhouse events show 42")
def show(
    context: typer.Context,
    position: Annotated[
        str, typer.Argument(help="Where in the log it is: 42, or log1a2b…:42 as HTTP and NATS say.")
    ],
    log: Annotated[
        LogName | None,
        typer.Option(help="Which log; decisions, unless the position says that it's of usage."),
    ] = None,
    json: Json = False,
) -> None:
    """One event with all that may be shown of it; of one that can't be read, why, and what it
    stops."""
    place = _place(position, log)
    found: Found | None = context.obj.wiring.event_at(place.log, place.position)
    if found is None:
        output.complain(f"there is no event at {place.position} of the {place.log} log.")
        raise typer.Exit(1)

    async def use(ports: Ports) -> tuple[str, list[Follower]]:
        return ports.store.log_id, await ports.lookups.followers()

    log_id, followers = context.obj.act(use)
    if place.log_id not in (None, log_id):
        output.complain(f"{position} is of another installation: the log here is {log_id}.")
        raise typer.Exit(1)
    stopped = [
        each for each in followers if (each.log, each.stopped_at) == (place.log, place.position)
    ]
    if json:
        output.show_json({**_document(found.event), "stops": [each.name for each in stopped]})
    else:
        _explain(found, stopped)


class _Place(NamedTuple):
    """A position of a log; `log_id` is that of the installation, if it was named."""

    log_id: str | None
    log: LogName
    position: int


def _place(text: str, log: LogName | None) -> _Place:
    """What `42` or `log1a2b…u:42` means. typer.BadParameter."""
    found = _POSITION.fullmatch(text)
    if found is None or not int(found[3]):
        raise typer.BadParameter(f"{text} is not a position, as in 42.")
    named: LogName | None = None
    if found[1] is not None:
        named = "usage" if found[2] else "decisions"
    if named and log and named != log:
        raise typer.BadParameter(f"{text} is a position of the {named} log, not of {log}.")
    return _Place(found[1], named or log or "decisions", int(found[3]))


def _explain(found: Found, stopped: Sequence[Follower]) -> None:
    event = found.event
    if isinstance(event, Recorded):
        data = {name: _short(value) for name, value in disclosed(event.event).items()}
        output.show_fields({**_document(event), "data": data})
    else:
        output.show_fields(
            {
                "position": event.position,
                "stream": event.stream,
                "version": event.version,
                "type": event.name,
                "account": event.account_id,
                "unreadable": event.problem,
                "stored": found.state[:2000].decode("utf-8", "replace"),
            }
        )
        output.show(
            "[yellow]If a newer version wrote it, run that version: followers go on by themselves."
            " If its bytes are damaged, restore them from a backup. Nothing is skipped.[/yellow]"
        )
    for each in stopped:
        output.show(f"[red]{each.name}[/red] is stopped here:")
        output.show_text(f"  {each.problem}")
    if not stopped:
        output.show("[green]no follower is stopped here[/green]")


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
        return {
            "position": recorded.position,
            "stream": recorded.stream,
            "version": recorded.version,
            "type": recorded.name,
            "unreadable": recorded.problem,
        }
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
