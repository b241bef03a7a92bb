"""credits: balance, grant, history, as the operator."""

from datetime import datetime
from typing import Annotated

import msgspec
import typer

from api.cli import output
from api.cli.running import Json
from application import accounts, credit_balances, credits
from application.credit_balances import Balance
from application.credits import GrantCredits, Granted
from application.ports import CreditEntry, Ports
from domain.calendars import instant
from domain.credit_amounts import decimal, hundredths
from domain.credits import DEFAULT_PRIORITY, MAX_PRIORITY, MAX_TIMES
from domain.errors import InvalidCommand, NotFound

app = typer.Typer(help="Show, grant and follow credits.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Account id, address or @username.")]
_EVERY = ("day", "week", "month")


@app.command("balance", epilog="Example: tollhouse credits balance @ada --as-of 2026-01-31T12:00Z")
def balance(
    context: typer.Context,
    account: Name,
    as_of: Annotated[str | None, typer.Option(help="As it was at this instant.")] = None,
    json: Json = False,
) -> None:
    """Show what an account can spend, what is held, and what expires when."""
    then = None if as_of is None else _instant("as_of", as_of)

    async def use(ports: Ports) -> Balance:
        return await credit_balances.balance(ports, await _account(ports, account), then)

    found = context.obj.act(use)
    expiring = [
        {"amount": decimal(each.amount), "expires_at": instant(each.expires_at_us)}
        for each in found.expiring
    ]
    fields = {
        "account_id": found.account_id,
        "available": decimal(found.available),
        "held": decimal(found.held),
        "upcoming": decimal(found.upcoming),
        "as_of": instant(found.at_us),
    }
    if json:
        # Here, because it brings the web framework along, and `up` stays in memory.
        from api.http.credit_shapes import credits_answer

        output.show_json(credits_answer(found))
    else:
        shown = [f"{each['amount']} on {each['expires_at']:%Y-%m-%d}" for each in expiring]
        output.show_fields({**fields, "expiring": ", ".join(shown)})


@app.command("grant", epilog="Example: tollhouse credits grant @ada 100.00 --reason goodwill")
def grant(
    context: typer.Context,
    account: Name,
    amount: Annotated[str, typer.Argument(help="As in 12.50.")],
    priority: Annotated[
        int, typer.Option(min=1, max=MAX_PRIORITY, help="Lower is spent first.")
    ] = DEFAULT_PRIORITY,
    starts_at: Annotated[str | None, typer.Option(help="Not before this instant.")] = None,
    expires_at: Annotated[str | None, typer.Option(help="Gone at this instant.")] = None,
    every: Annotated[str | None, typer.Option(help="Again each day, week or month.")] = None,
    times: Annotated[int, typer.Option(min=1, max=MAX_TIMES, help="So many in all.")] = 1,
    reason: Annotated[str | None, typer.Option(help="Kept, sealed, with the event.")] = None,
    json: Json = False,
) -> None:
    """Give an account credits, on top of what it has."""
    if every is not None and every not in _EVERY:
        raise InvalidCommand("every", "day, week or month")
    command = GrantCredits(
        amount=hundredths(amount),
        priority=priority,
        starts_at=None if starts_at is None else _instant("starts_at", starts_at),
        expires_at=None if expires_at is None else _instant("expires_at", expires_at),
        every=every,  # type: ignore[arg-type]  # it is one of these three
        times=times,
    )

    async def use(ports: Ports) -> Granted:
        account_id = await _account(ports, account)
        granted, _ = await credits.grant(
            ports, context.obj.context(), account_id, command, reason=reason
        )
        return granted

    granted = context.obj.act(use)
    if json:
        from api.http.credit_shapes import grant_answer

        output.show_json(grant_answer(granted))
    else:
        so_often = f", {len(granted.lots)} times" if len(granted.lots) > 1 else ""
        output.show(
            f"{granted.account_id} was granted {decimal(granted.amount)}{so_often}; "
            f"{decimal(granted.available)} available"
        )


@app.command("history", epilog="Example: tollhouse credits history @ada --limit 20")
def history(
    context: typer.Context,
    account: Name,
    before: Annotated[int | None, typer.Option(help="Go on before this entry.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    json: Json = False,
) -> None:
    """Show what happened to an account's credits, newest first."""

    async def use(ports: Ports) -> list[CreditEntry]:
        account_id = await _account(ports, account)
        return await credit_balances.history(ports, account_id, before, limit)

    entries = context.obj.act(use)
    if json:
        from api.http.credit_shapes import entry_answers

        output.show_json({"items": entry_answers(entries)})
    else:
        columns = ("entry_no", "at", "kind", "amount", "before", "after", "operation")
        output.show_rows(columns, [_cells(each) for each in entries])


def _cells(entry: CreditEntry) -> list[object]:
    return [
        entry.entry_no,
        f"{instant(entry.at_us):%Y-%m-%dT%H:%M:%SZ}",
        entry.kind,
        decimal(entry.amount),
        decimal(entry.before),
        decimal(entry.after),
        entry.operation,
    ]


async def _account(ports: Ports, name: str) -> str:
    account_id = await accounts.find(ports, name)
    if ports.directory.account(account_id) is None:
        raise NotFound("account", name)
    return account_id


def _instant(param: str, text: str) -> datetime:
    try:
        at = msgspec.convert(text, datetime, strict=False)
    except msgspec.ValidationError:
        at = None
    if at is None or at.tzinfo is None:
        raise InvalidCommand(param, "an instant with a time zone, as in 2030-01-31T00:00:00Z")
    return at
