"""staff: appoint, dismiss and list who may act on other people's accounts, as the operator."""

from typing import Annotated

import typer

from api.cli import output
from api.cli.running import Json
from application import accounts, staff
from application.deciding import OPERATOR
from application.ports import Ports
from domain.accounts import Account
from domain.staff import levels_of

app = typer.Typer(help="Appoint, dismiss and list staff.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Account id, address or @username.")]
Reason = Annotated[str, typer.Option(help="Kept, sealed, in the account's history.")]
_LEVELS = "viewer, support, advanced, admin, auditor or analyst."


@app.command("appoint", epilog="Example: tollhouse staff appoint @ada --level admin")
def appoint(
    context: typer.Context,
    account: Name,
    level: Annotated[str, typer.Option(help=_LEVELS)] = "admin",
    reason: Reason = "by the operator",
    json: Json = False,
) -> None:
    """Make an account staff of a level, in the place of one that it has."""

    async def use(ports: Ports) -> Account:
        made, _ = await staff.appoint(ports, context.obj.context(), account, level, reason)
        return made

    _show(context.obj.act(use), json)


@app.command("dismiss", epilog="Example: tollhouse staff dismiss @ada --reason left")
def dismiss(
    context: typer.Context, account: Name, reason: Reason = "by the operator", json: Json = False
) -> None:
    """Take an account's level away; its access tokens end within a second."""

    async def use(ports: Ports) -> Account:
        account_id = await accounts.find(ports, account)
        left, _ = await staff.dismiss(ports, context.obj.context(), account_id, reason)
        return left

    _show(context.obj.act(use), json)


@app.command("list", epilog="Example: tollhouse staff list --level admin --json")
def list_(
    context: typer.Context,
    level: Annotated[str | None, typer.Option(help=_LEVELS)] = None,
    after: Annotated[str | None, typer.Option(help="Go on after this id.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    json: Json = False,
) -> None:
    """List staff, in the order of their ids."""

    async def use(ports: Ports) -> list[Account]:
        return list(await staff.page(ports, OPERATOR, level, after, limit))

    found = [_fields(account) for account in context.obj.act(use)]
    if json:
        output.show_json({"items": found})
    else:
        columns = ("id", "username", "level", "status")
        output.show_rows(columns, [[each[column] for column in columns] for each in found])


def _show(account: Account, json: bool) -> None:
    fields = _fields(account)
    if json:
        output.show_json(fields)
    else:
        level = fields["level"]
        output.show(f"{account.id} is {f'staff: {level}' if level else 'no staff'}")


def _fields(account: Account) -> dict[str, object]:
    levels = levels_of(account.roles)
    return {
        "id": account.id,
        "username": account.username,
        "level": levels[0] if levels else None,
        "status": account.status,
        "plan": account.plan,
    }
