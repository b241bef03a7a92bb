"""keys rotate, import, leak-response: keys through their lives, as the operator."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from api.cli import output
from api.cli.keys import key_fields, uses_fields
from api.cli.running import Json
from application import key_import, key_rotation, leaks
from application.ports import Ports
from domain.errors import DomainError, InvalidCommand

if TYPE_CHECKING:
    from application.key_import import ImportedKey


def register(app: typer.Typer) -> None:
    """Add the commands to `keys`."""
    app.command("rotate", epilog="Example: tollhouse keys rotate key_01… --overlap 86400")(rotate)
    app.command("import", epilog="Example: tollhouse keys import keys.json")(import_)
    app.command("leak-response", epilog="Example: tollhouse keys leak-response key_01… --json")(
        leak_response
    )


def rotate(
    context: typer.Context,
    key_id: str,
    overlap: Annotated[
        int, typer.Option(help="Seconds that the present secret goes on working: up to 30 days.")
    ] = 0,
    json: Json = False,
) -> None:
    """Give a key another secret. It is shown now, and never again."""

    async def use(ports: Ports) -> key_rotation.RotatedApiKey:
        return (await key_rotation.rotate(ports, context.obj.context(), key_id, overlap))[0]

    rotated = context.obj.act(use)
    fields = {"key": rotated.secret, **key_fields(rotated.key)}
    (output.show_json if json else output.show_fields)(fields)


def import_(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="JSON, as POST /v1/keys/import.")
    ],
    json: Json = False,
) -> None:
    """Import keys that another system issued, by their hashes.

    The file has `{"items": [...]}`, with any number of items: each thousand is imported whole or
    not at all, in their order, up to the first that is refused.
    """
    items = _items(file.read_bytes())

    async def use(ports: Ports) -> list[dict[str, str]]:
        done: list[dict[str, str]] = []
        for start in range(0, len(items), key_import.MAX_ITEMS):
            part = items[start : start + key_import.MAX_ITEMS]
            try:
                keys, _ = await key_import.bring_in(ports, context.obj.context(), part)
            except DomainError:
                if start:
                    output.say(f"{start} items are imported; what follows counts from there")
                raise
            done += [{"id": key.id, "name": key.name, "hint": key.hint} for key in keys]
            if len(items) > len(part):
                output.say(f"{len(done)} of {len(items)} items are imported")
        return done

    done = context.obj.act(use)
    if json:
        output.show_json({"items": done})
    else:
        output.show(f"{len(done)} keys are imported")


def leak_response(
    context: typer.Context,
    key_id: str,
    since: Annotated[
        datetime | None, typer.Option(help="Report uses from here on (UTC); left out, all.")
    ] = None,
    json: Json = False,
) -> None:
    """Revoke a key that leaked, and tell how it was used."""
    wanted = None if since is None else since.replace(tzinfo=UTC)

    async def use(ports: Ports) -> leaks.LeakReport:
        analytics = context.obj.wiring.analytics()
        report, _ = await leaks.leak_response(
            ports, analytics, context.obj.context(), key_id, wanted
        )
        return report

    report = context.obj.act(use)
    if json:
        from api.http.key_lineage_shapes import leak_answer

        output.show_json(leak_answer(report))
        return
    output.show_fields(key_fields(report.key) | uses_fields(report.uses))
    if report.trail is None:
        output.complain(f"its uses can't be told now: {report.trail_problem}")
        return
    columns = ("kind", "value", "outcome", "verifications", "first_at", "last_at")
    rows = [[getattr(trace, column) for column in columns] for trace in report.trail.traces]
    output.show_rows(columns, rows)


def _items(body: bytes) -> "Sequence[ImportedKey]":
    """The items of the file, in the shape of the HTTP route. InvalidCommand names the place."""
    # Here, because it brings the web framework along, and `up` stays in memory.
    from api.http.key_lineage_shapes import ImportItem
    from api.http.problems import HttpProblem

    class File(msgspec.Struct, forbid_unknown_fields=True):
        items: list[ImportItem]

    try:
        found = msgspec.json.decode(body, type=File).items
        return [item.imported(index) for index, item in enumerate(found)]
    except msgspec.DecodeError as error:
        raise InvalidCommand("file", str(error)) from None
    except HttpProblem as problem:
        raise InvalidCommand(problem.param or "file", problem.detail) from None
