"""quotas: show what is left of an account's, set and reset them, as the operator."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
import typer

from api.cli import output
from api.cli.accounts import Name, Reason
from api.cli.keys import parse_quota
from api.cli.running import Json
from application import accounts, quota_pages, quotas
from application.deciding import OPERATOR
from application.ports import Ports
from application.quota_pages import Standing
from application.quotas import WasReset

app = typer.Typer(help="Show, set and reset quotas.", no_args_is_help=True)
PAGE = 200


@app.command("show", epilog="Example: tollhouse quotas show @ada")
def show(context: typer.Context, account: Name, json: Json = False) -> None:
    """Show every quota and rate limit of an account and its keys, with what is left."""

    async def use(ports: Ports) -> list[Standing]:
        account_id = await accounts.find(ports, account)
        owner = quota_pages.readable(ports, OPERATOR, account_id)
        found: list[Standing] = []
        after = None
        while True:
            page, after = await quota_pages.page(ports, owner, after, PAGE)
            found += page
            if after is None:
                return found

    standings = context.obj.act(use)
    if json:
        # Here, because it brings the web framework along, and `up` stays in memory.
        from api.http.quota_answers import allowance_answers

        output.show_json({"items": msgspec.to_builtins(allowance_answers(standings))})
        return
    columns = ("owner", "key", "environment", "name", "limit", "carried", "used", "remaining")
    times = ("resets_at", "exhausts_at")
    output.show_rows((*columns, *times), [_cells(each) for each in standings])


@app.command("set", epilog="Example: tollhouse quotas set @ada 1000/month --reason 'a trial'")
def set_(
    context: typer.Context,
    owner: Annotated[
        str, typer.Argument(help="A key by id, or an account by id, address or @username.")
    ],
    quota: Annotated[str, typer.Argument(help="As in 1000/month; none lifts what was set.")],
    reason: Reason = None,
    json: Json = False,
) -> None:
    """Give a key a quota of its own, or an account another one than its plan's. What was used
    stays used."""
    rule = None if quota == "none" else parse_quota(quota)

    async def use(ports: Ports) -> str:
        asked = context.obj.context()
        if owner.startswith("key_"):
            await quotas.set_key_quota(ports, asked, owner, rule, reason)
            return owner
        account_id = await accounts.find(ports, owner)
        await quotas.set_account_quota(ports, asked, account_id, rule, reason)
        return account_id

    owner_id = context.obj.act(use)
    if json:
        output.show_json({"owner": owner_id, "quota": rule})
    elif rule is None:
        output.show(f"{owner_id} has no quota of its own")
    else:
        output.show(f"{owner_id} has {rule.limit}/{rule.period}")


@app.command("reset", epilog="Example: tollhouse quotas reset @ada --reason 'an outage of ours'")
def reset(
    context: typer.Context,
    owners: Annotated[
        list[str] | None,
        typer.Argument(help="Keys by id, accounts by id, address or @username."),
    ] = None,
    everybody: Annotated[bool, typer.Option("--all", help="Of everybody, at once.")] = False,
    reason: Reason = None,
    json: Json = False,
) -> None:
    """Begin a window now: what was used up to now no longer counts."""
    if bool(owners) == everybody:
        raise typer.BadParameter("name accounts or keys, or --all")
    if everybody and reason is not None:
        raise typer.BadParameter("a reason is sealed for the account it is about: not with --all")

    async def use(ports: Ports) -> WasReset:
        asked = context.obj.context()
        if everybody:
            return (await quotas.reset_everybody(ports, asked))[0]
        named = owners or []
        ids = [
            each if each.startswith("key_") else await accounts.find(ports, each) for each in named
        ]
        return (await quotas.reset(ports, asked, ids, reason))[0]

    done = context.obj.act(use)
    if json:
        output.show_json({"reset": done.owners, "reset_at": _instant(done.at_us)})
    else:
        whose = "everybody's quotas" if done.owners is None else f"quotas of {done.owners}"
        output.show(f"{whose} count from {_instant(done.at_us)} on")


def _cells(standing: Standing) -> list[object]:
    state, owned, ahead = standing.state, standing.owned, standing.forecast
    return [
        owned.place.owner_id,
        owned.key_name,
        owned.environment,
        state.name,
        state.limit,
        state.carried,
        state.used,
        state.remaining,
        _instant(state.resets_at_us),
        _instant(None if ahead is None else ahead.exhausts_at_us),
    ]


def _instant(us: int | None) -> str | None:
    return None if us is None else f"{datetime.fromtimestamp(us // 1_000_000, UTC):%FT%TZ}"
