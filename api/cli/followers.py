"""followers: who follows the logs, and how far they are."""

import typer

from api.cli import output
from api.cli.running import Json
from application.ports import MOST_BEHIND, Follower, Ports

_COLOURS = {"ok": "green", "behind": "yellow", "stopped": "red", "away": "red"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("followers", epilog="Example: tollhouse followers --json")(followers)


def followers(context: typer.Context, json: Json = False) -> None:
    """Who follows the logs: read models, publication, lake. How far each is, and what stops it.

    Exit code 1 if one is stopped, or nobody follows.
    """

    async def use(ports: Ports) -> list[Follower]:
        return await ports.lookups.followers()

    found: list[Follower] = context.obj.act(use)
    if json:
        for each in found:
            fields = {name: getattr(each, name) for name in each.__struct_fields__}
            output.show_json({**fields, "status": each.status})
    else:
        columns = ("follower", "log", "position", "behind", "end seen", "status")
        output.show_rows(columns, [_row(each) for each in found])
        for each in found:
            if each.problem is not None:
                output.show(f"[red]{each.name}[/red] is stopped at {each.stopped_at}:")
                output.show_text(f"  {each.problem}")
                if (each.stopped_at or 0) > each.position:  # else no event is to blame
                    output.show(f"  tollhouse events show {each.stopped_at} --log {each.log}")
    if any(each.status in ("stopped", "away") for each in found):
        raise typer.Exit(1)


def _row(each: Follower) -> tuple[object, ...]:
    behind = f"{each.behind}+" if each.behind >= MOST_BEHIND else each.behind
    seen = "never" if each.caught_up_seconds is None else f"{each.caught_up_seconds:.0f} s ago"
    status = output.coloured(each.status, _COLOURS[each.status])
    return each.name, each.log, each.position, behind, seen, status
