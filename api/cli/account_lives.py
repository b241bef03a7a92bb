"""accounts import, close, erase, restore: how accounts come and go, as the operator."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from api.cli import output
from api.cli.accounts import Name, Reason
from api.cli.running import Json
from application import account_import, accounts, closing
from application.account_import import ImportedAccount
from application.closing import Receipt
from application.deciding import Context
from application.ports import Ports
from domain.accounts import Account
from domain.errors import ImportFault, ImportRefused, InvalidCommand

SHOWN = 20


class Refused(msgspec.Struct, frozen=True):
    """Why a line of the file was not imported."""

    line: int
    param: str
    reason: str


def register(app: typer.Typer) -> None:
    """Add the commands to `accounts`."""
    app.command("import", epilog="Example: tollhouse accounts import people.jsonl")(import_)
    app.command("close", epilog="Example: tollhouse accounts close @ada --reason left")(close)
    app.command("erase", epilog="Example: tollhouse accounts erase @ada --now")(erase)
    app.command("restore", epilog="Example: tollhouse accounts restore @ada")(restore)


def import_(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            exists=True, dir_okay=False, help="A line an account, as the items of the route."
        ),
    ],
    report: Annotated[
        Path | None, typer.Option(help="Where every refused line and why goes, a line each.")
    ] = None,
    reason: Reason = None,
    json: Json = False,
) -> None:
    """Import accounts of another system, with the hashes of their passwords.

    Every line of the file is a JSON object as POST /v1/accounts/import takes them. What can't be
    imported is reported; the rest is imported, a thousand at a time. Running it again imports
    what is left: accounts that are here are refused as taken. Exit code 1 if a line was refused.
    """
    refused: list[Refused] = []
    imported = 0

    async def use(ports: Ports) -> None:
        nonlocal imported
        with file.open("rb") as lines, _progress(file.stat().st_size) as progress:
            for batch in _batches(lines, refused, progress):
                done, faults = await _brought_in(
                    ports, context.obj.context(), [item for _, item in batch], reason
                )
                imported += done
                refused.extend(Refused(batch[f.index][0], f.param, f.reason) for f in faults)
                output.say(f"{imported} accounts are imported, {len(refused)} lines are refused")

    context.obj.act(use)
    refused.sort(key=lambda each: each.line)
    if report is not None:
        report.write_bytes(b"".join(msgspec.json.encode(each) + b"\n" for each in refused))
    _tell(imported, refused, json)
    if refused:
        raise typer.Exit(1)


def _tell(imported: int, refused: list[Refused], json: bool) -> None:
    if json:
        output.show_json({"imported": imported, "refused": refused})
    else:
        output.show(f"{imported} accounts are imported, {len(refused)} lines are refused")
        for each in refused[:SHOWN]:
            output.complain(f"line {each.line}: {each.param}: {each.reason}")
        if len(refused) > SHOWN:
            output.complain(f"and {len(refused) - SHOWN} more; --report FILE has all of them")


async def _brought_in(
    ports: Ports, context: Context, items: list[ImportedAccount], reason: str | None
) -> tuple[int, list[ImportFault]]:
    """How many were imported, and what is wrong with the others."""
    try:
        done, _ = await account_import.bring_in(ports, context, items, reason)
    except ImportRefused as none:
        return 0, list(none.faults)
    return len(done.imported), done.refused


def close(context: typer.Context, account: Name, reason: Reason = None, json: Json = False) -> None:
    """Close an account: nothing of it works any more. It can be restored for a while."""
    _end(context, account, reason, json, erase=False, now=False)


def erase(
    context: typer.Context,
    account: Name,
    now: Annotated[bool, typer.Option("--now", help="Without a grace period.")] = False,
    reason: Reason = None,
    json: Json = False,
) -> None:
    """Close an account and forget the person when the grace period is over. Answers the receipt."""
    _end(context, account, reason, json, erase=True, now=now)


def restore(
    context: typer.Context, account: Name, reason: Reason = None, json: Json = False
) -> None:
    """Undo the closing of an account, within its time."""

    async def use(ports: Ports) -> Account:
        account_id = await accounts.find(ports, account)
        return (await closing.restore(ports, context.obj.context(), account_id, reason))[0]

    restored = context.obj.act(use)
    if json:
        output.show_json({"id": restored.id, "status": restored.status})
    else:
        output.show(f"{restored.id} is {restored.status}")


def _end(
    context: typer.Context, account: str, reason: str | None, json: bool, *, erase: bool, now: bool
) -> None:
    async def use(ports: Ports) -> Receipt:
        account_id = await accounts.find(ports, account)
        receipt, _ = await closing.close(
            ports,
            context.obj.context(),
            account_id,
            erase=erase,
            grace_days=0 if now else None,
            reason=reason,
        )
        return receipt

    fields: dict[str, Any] = msgspec.to_builtins(context.obj.act(use))
    (output.show_json if json else output.show_fields)(fields)


def _batches(
    lines: Any, refused: list[Refused], progress: Callable[[int], None]
) -> Iterator[list[tuple[int, ImportedAccount]]]:
    """The lines that can be read, a thousand at a time, with their numbers from 1."""
    # Here, because it brings the web framework along, and `up` stays in memory.
    from api.http.closing_shapes import AccountItem
    from api.http.problems import HttpProblem
    from api.http.strict_json import decode

    batch: list[tuple[int, ImportedAccount]] = []
    for number, line in enumerate(lines, 1):
        progress(len(line))
        if not line.strip():
            continue
        try:
            batch.append((number, decode(line, AccountItem).imported()))
        except HttpProblem as problem:
            refused.append(Refused(number, problem.param or "line", problem.detail))
        except InvalidCommand as error:
            refused.append(Refused(number, error.param, error.reason))
        if len(batch) == account_import.MAX_ITEMS:
            yield batch
            batch = []
    if batch:
        yield batch


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, where that is a terminal: bytes of the file."""
    columns = (TextColumn("import"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    console = output.progress_console()
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("import", total=max(total, 1))
        yield lambda read: bar.update(task, advance=read)
