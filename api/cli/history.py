"""explain, events list, keys history, accounts history: the log in plain words."""

from collections.abc import Sequence
from typing import Annotated

import typer

from api.cli import output
from api.cli.keys import key_fields
from api.cli.moments import instant
from api.cli.running import Json
from application import accounts, events, explaining, history
from application.deciding import OPERATOR
from application.history import Told
from application.ports import EventFilter, Ports
from domain.credit_amounts import decimal
from domain.wording import moment

Limit = Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")]


def register(app: typer.Typer, keys: typer.Typer, accounts: typer.Typer, log: typer.Typer) -> None:
    """Add the commands, some of them to `keys`, `accounts` and `events`."""
    app.command("explain", epilog="Example: tollhouse explain ver_01…_42_7")(explain)
    keys.command("history", epilog="Example: tollhouse keys history key_01…")(of_key)
    accounts.command("history", epilog="Example: tollhouse accounts history @ada")(of_account)
    log.command("list", epilog="Example: tollhouse events list --types api_key.revoked --newest")(
        list_
    )


def explain(context: typer.Context, verification_id: str, json: Json = False) -> None:
    """Why a verification was answered as it was: what was asked, and which events decided it."""

    async def use(ports: Ports) -> explaining.Explanation:
        return await explaining.explain(ports, OPERATOR, verification_id)

    found = context.obj.act(use)
    if json:
        output.show_json(_explanation(found))
        return
    output.show_text(f"{moment(found.at)}  {found.summary}")
    for step in found.steps:
        mark = "[green] ok[/green]" if step.passed else "[red] no[/red]"
        because = ", ".join(map(str, step.decided_by))
        output.show(f"  {mark}  [dim]{step.question:<14}[/dim] {_plain(step.words)}"
                    f"{f'  [dim](event {because})[/dim]' if because else ''}")  # fmt: skip
    if found.events:
        output.show_text("")
        _show(found.events)


def of_key(context: typer.Context, key_id: str, limit: Limit = 50, json: Json = False) -> None:
    """What happened to a key, newest first."""

    async def use(ports: Ports) -> list[Told]:
        return await history.of_key(ports, OPERATOR, key_id, None, limit)

    _tell(context.obj.act(use), json)


def of_account(
    context: typer.Context,
    account: Annotated[str, typer.Argument(help="Account id, address or @username.")],
    limit: Limit = 50,
    json: Json = False,
) -> None:
    """What happened to an account and all that is its, newest first."""

    async def use(ports: Ports) -> list[Told]:
        account_id = await accounts.find(ports, account)
        return await history.of_account(ports, OPERATOR, account_id, None, limit)

    _tell(context.obj.act(use), json)


def list_(
    context: typer.Context,
    after: Annotated[int, typer.Option(min=0, help="Only after this position.")] = 0,
    types: Annotated[str, typer.Option(help="As in api_key.revoked,account")] = "",
    stream: Annotated[str | None, typer.Option(help="Of this account, key, session…")] = None,
    actor: Annotated[str | None, typer.Option(help="Done by this actor.")] = None,
    since: Annotated[str | None, typer.Option(help="Decided at this instant or later.")] = None,
    until: Annotated[str | None, typer.Option(help="Decided before this instant.")] = None,
    newest: Annotated[bool, typer.Option("--newest", help="Newest first.")] = False,
    limit: Limit = 50,
    json: Json = False,
) -> None:
    """The log by any filter, as its follower has it: a moment behind."""
    wanted = EventFilter(
        after=after,
        types=tuple(each.strip() for each in types.split(",") if each.strip()),
        stream=stream,
        actor=actor,
        since=None if since is None else instant("since", since),
        until=None if until is None else instant("until", until),
        newest_first=newest,
    )

    async def use(ports: Ports) -> list[Told]:
        return await events.page(ports, OPERATOR, wanted, limit)

    _tell(context.obj.act(use), json)


def _tell(found: Sequence[Told], json: bool) -> None:
    if json:
        output.show_json({"items": found})
    else:
        _show(found)


def _show(found: Sequence[Told]) -> None:
    rows = [
        [
            each.position,
            "-" if each.at is None else moment(each.at),
            each.summary,
            each.by,
            each.reason or "",
        ]
        for each in found
    ]
    output.show_rows(("position", "at", "what", "by", "why"), rows)


def _explanation(found: explaining.Explanation) -> dict[str, object]:
    fields = {name: getattr(found, name) for name in found.__struct_fields__}
    key, account = found.key, found.account
    fields["key"] = None if key is None else key_fields(key)
    fields["account"] = None if account is None else account.id
    fields["limits"] = [
        {
            "kind": each.kind,
            "name": each.name,
            "limit": each.limit if each.kind != "credits" else decimal(each.limit or 0),
            "used_before": each.used_before
            if each.kind != "credits"
            else decimal(each.used_before),
            "asked": each.asked if each.kind != "credits" else decimal(each.asked),
            "refused": each.refused,
            "words": each.words,
        }
        for each in found.limits
    ]
    return fields


def _plain(text: str) -> str:
    return text.replace("[", "\\[")
