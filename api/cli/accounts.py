"""accounts: make, list, show, suspend and reinstate accounts, as the operator."""

from typing import Annotated

import typer

from api.cli import output
from api.cli.running import Json
from application import accounts
from application.accounts import RegisterAccount, Registered
from application.ports import Ports
from domain.accounts import ADMIN, Account
from domain.errors import NotFound

app = typer.Typer(help="Make, list, show and suspend accounts.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Account id, address or @username.")]
Reason = Annotated[str | None, typer.Option(help="Kept, sealed, with the event.")]


@app.command("create", epilog="Example: tollhouse accounts create ada@example.com --plan pro")
def create(
    context: typer.Context,
    email: str,
    username: Annotated[str | None, typer.Option()] = None,
    plan: Annotated[str, typer.Option()] = "free",
    admin: Annotated[bool, typer.Option("--admin", help="May act on other accounts.")] = False,
    json: Json = False,
) -> None:
    """Make an account whose address you vouch for. Its password is asked for, or read from
    standard input."""
    password = typer.prompt("password", hide_input=True, confirmation_prompt=True, err=True)

    async def use(ports: Ports) -> Registered:
        command = RegisterAccount(
            email=email,
            password=password,
            username=username,
            plan=plan,
            roles=(ADMIN,) if admin else (),
            email_verified=True,
        )
        registered, _ = await accounts.register(ports, context.obj.context(), command)
        return registered

    registered = context.obj.act(use)
    fields = {"email": registered.email, **_fields(registered.account)}
    (output.show_json if json else output.show_fields)(fields)


@app.command("list", epilog="Example: tollhouse accounts list --json")
def list_(
    context: typer.Context,
    after: Annotated[str | None, typer.Option(help="Go on after this id.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    json: Json = False,
) -> None:
    """List accounts, oldest first."""

    async def use(ports: Ports) -> list[Account]:
        return await ports.lookups.accounts(after, limit)

    found = [_fields(account) for account in context.obj.act(use)]
    if json:
        output.show_json({"items": found})
    else:
        columns = ("id", "username", "plan", "status", "roles", "registered_at")
        output.show_rows(columns, [[account[column] for column in columns] for account in found])


@app.command("show", epilog="Example: tollhouse accounts show @ada")
def show(context: typer.Context, account: Name, json: Json = False) -> None:
    """Show an account, with what is personal."""

    async def use(ports: Ports) -> Registered:
        return await accounts.profile(ports, await accounts.find(ports, account))

    found = context.obj.act(use)
    fields = {"email": found.email, "name": found.profile.name, **_fields(found.account)}
    (output.show_json if json else output.show_fields)(fields)


@app.command("suspend", epilog="Example: tollhouse accounts suspend @ada --reason abuse")
def suspend(
    context: typer.Context, account: Name, reason: Reason = None, json: Json = False
) -> None:
    """Stop everything of an account for now: its keys are refused, its tokens end."""
    _decide(context, account, "suspended", reason, json)


@app.command("reinstate", epilog="Example: tollhouse accounts reinstate @ada")
def reinstate(
    context: typer.Context, account: Name, reason: Reason = None, json: Json = False
) -> None:
    """Undo a suspension."""
    _decide(context, account, "active", reason, json)


def _decide(
    context: typer.Context, account: str, status: str, reason: str | None, json: bool
) -> None:
    decision = accounts.suspend if status == "suspended" else accounts.reinstate

    async def use(ports: Ports) -> str:
        account_id = await accounts.find(ports, account)
        if ports.directory.account(account_id) is None:
            raise NotFound("account", account)
        await decision(ports, context.obj.context(), account_id, reason)
        return account_id

    account_id = context.obj.act(use)
    if json:
        output.show_json({"id": account_id, "status": status})
    else:
        output.show(f"{account_id} is {status}")


def _fields(account: Account) -> dict[str, object]:
    return {
        "id": account.id,
        "username": account.username,
        "plan": account.plan,
        "status": account.status,
        "roles": list(account.roles),
        "email_verified": account.email_verified,
        "registered_at": f"{account.registered_at:%Y-%m-%dT%H:%M:%SZ}",
    }
