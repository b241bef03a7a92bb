"""keys: issue, list, show, pause and revoke API keys, as the operator (more in key_lineage.py)."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
import typer

from api.cli import output
from api.cli.moments import moment_or_position
from api.cli.running import Json
from application import accounts, api_keys
from application.deciding import OPERATOR
from application.ports import KeyUses, Ports
from application.time_travel import key_as_of
from domain.api_keys import AmendApiKey, ApiKey, IssueApiKey
from domain.calendars import RatePeriod
from domain.errors import InvalidCommand
from domain.quotas import Quota

app = typer.Typer(help="Issue, rotate, import and revoke API keys.", no_args_is_help=True)
RATE_PERIOD = msgspec.json.Decoder(RatePeriod)


@app.command("create", epilog="Example: tollhouse keys create ada@example.com 'ci' --quota 100/day")
def create(
    context: typer.Context,
    account: Annotated[str, typer.Argument(help="Account id, address or @username.")],
    name: str,
    quota: Annotated[str | None, typer.Option(help="As in 100/day.")] = None,
    kind: Annotated[str, typer.Option(help="standard or service")] = "standard",
    environment: Annotated[str, typer.Option(help="live or test")] = "live",
    permission: Annotated[list[str] | None, typer.Option(help="May be repeated.")] = None,
    role: Annotated[list[str] | None, typer.Option(help="May be repeated.")] = None,
    ip_allow: Annotated[
        list[str] | None, typer.Option(help="As in 10.0.0.0/8. May be repeated.")
    ] = None,
    rate_limit: Annotated[
        list[str] | None, typer.Option(help="As in burst=10/second. May be repeated.")
    ] = None,
    json: Json = False,
) -> None:
    """Issue a key. Its secret is shown now, and never again."""

    async def use(ports: Ports) -> api_keys.IssuedApiKey:
        command = msgspec.convert(
            {
                "account_id": await accounts.find(ports, account),
                "name": name,
                "kind": kind,
                "environment": environment,
                "permissions": permission or [],
                "roles": role or [],
                "ip_allow": ip_allow or [],
                "rate_limits": [parse_rate_limit(each) for each in rate_limit or []],
            },
            IssueApiKey,
        )
        rule = None if quota is None else parse_quota(quota)
        issued, _ = await api_keys.issue(ports, context.obj.context(), command, rule)
        return issued

    issued = context.obj.act(use)
    fields = {"key": issued.secret, **key_fields(issued.key)}
    (output.show_json if json else output.show_fields)(fields)


@app.command("list", epilog="Example: tollhouse keys list @ada --json")
def list_(
    context: typer.Context,
    account: Annotated[str, typer.Argument(help="Account id, address or @username.")],
    json: Json = False,
) -> None:
    """List an account's keys, oldest first."""

    async def use(ports: Ports) -> list[dict[str, object]]:
        account_id = await accounts.find(ports, account)
        found: list[ApiKey] = []
        while page := await api_keys.list_keys(
            ports, OPERATOR, account_id, found[-1].id if found else None, 200
        ):
            found += page
        uses = await ports.read_models.key_uses([key.id for key in found])
        return [key_fields(key) | uses_fields(uses.get(key.id)) for key in found]

    keys = context.obj.act(use)
    if json:
        output.show_json({"items": keys})
    else:
        columns = ("id", "name", "hint", "kind", "environment", "state", "issued_at")
        used = ("last_used_at", "valid", "denied")
        cells = [key | key["uses"] for key in keys]
        output.show_rows(
            (*columns, *used), [[key[column] for column in (*columns, *used)] for key in cells]
        )


@app.command("show", epilog="Example: tollhouse keys show key_01… --as-of 2026-02-01T00:00:00Z")
def show(
    context: typer.Context,
    key_id: str,
    as_of: Annotated[
        str | None, typer.Option(help="As it was at this instant or position of the log.")
    ] = None,
    json: Json = False,
) -> None:
    """Show a key, now or as it was; never its secret."""
    then = None if as_of is None else moment_or_position(as_of)

    async def use(ports: Ports) -> dict[str, object]:
        if then is not None:
            past = await key_as_of(ports, OPERATOR, key_id, then)
            return {"as_of": past.at, **key_fields(past.key)}
        key = await api_keys.get(ports, OPERATOR, key_id)
        uses = await ports.read_models.key_uses([key_id])
        return key_fields(key) | uses_fields(uses.get(key_id))

    fields = context.obj.act(use)
    if json:
        output.show_json(fields)
    else:
        output.show_fields(fields)


@app.command("pause", epilog="Example: tollhouse keys pause key_01…")
def pause(context: typer.Context, key_id: str, json: Json = False) -> None:
    """Refuse a key everywhere within a second, until it is resumed."""
    _enable(context, key_id, False, json)


@app.command("resume", epilog="Example: tollhouse keys resume key_01…")
def resume(context: typer.Context, key_id: str, json: Json = False) -> None:
    """Let a paused key go on."""
    _enable(context, key_id, True, json)


@app.command("revoke", epilog="Example: tollhouse keys revoke key_01… --reason 'found in a log'")
def revoke(
    context: typer.Context,
    key_id: str,
    reason: Annotated[str | None, typer.Option(help="Kept, sealed, with the event.")] = None,
    json: Json = False,
) -> None:
    """End a key for good: refused everywhere within a second."""

    async def use(ports: Ports) -> None:
        await api_keys.revoke(ports, context.obj.context(), key_id, reason)

    context.obj.act(use)
    if json:
        output.show_json({"id": key_id, "state": "revoked"})
    else:
        output.show(f"{key_id} is revoked")


def _enable(context: typer.Context, key_id: str, enabled: bool, json: bool) -> None:
    async def use(ports: Ports) -> ApiKey:
        command = AmendApiKey(enabled=enabled)
        return (await api_keys.amend(ports, context.obj.context(), key_id, command))[0]

    fields = key_fields(context.obj.act(use))
    if json:
        output.show_json(fields)
    else:
        output.show(f"{key_id} is {fields['state']}")


def parse_quota(text: str) -> Quota:
    """`100/day` as a quota. InvalidCommand."""
    limit, _, period = text.partition("/")
    try:
        return msgspec.convert({"limit": int(limit), "period": period}, Quota)
    except (ValueError, msgspec.ValidationError):
        raise InvalidCommand(
            "quota", "as in 100/day: a number and minute, hour, day, week, month or lifetime"
        ) from None


def parse_rate_limit(text: str) -> dict[str, object]:
    """`burst=10/second` as a rate limit's fields. InvalidCommand."""
    name, _, rule = text.partition("=")
    limit, _, period = rule.partition("/")
    try:
        return {"name": name, "limit": int(limit), "period": RATE_PERIOD.decode(f'"{period}"')}
    except (ValueError, msgspec.DecodeError):
        raise InvalidCommand(
            "rate_limit", "as in burst=10/second: a name, a number and second, minute, hour or day"
        ) from None


def key_fields(key: ApiKey) -> dict[str, object]:
    """A key as the command line shows it; never its digests."""
    state = "active" if key.enabled else "paused"
    return {
        "id": key.id,
        "account_id": key.account_id,
        "name": key.name,
        "hint": key.hint,
        "kind": key.kind,
        "environment": key.environment,
        "state": "revoked" if key.revoked_at is not None else state,
        "permissions": list(key.permissions),
        "roles": list(key.roles),
        "ip_allow": list(key.ip_allow),
        "rate_limits": [f"{each.name}={each.limit}/{each.period}" for each in key.rate_limits],
        "generation": key.generation,
        "previous_valid_until": _instant(key.previous_until or None),
        "issued_at": _instant(key.issued_at),
        "expires_at": _instant(key.expires_at),
        "revoked_at": _instant(key.revoked_at),
    }


def uses_fields(uses: KeyUses | None) -> dict[str, object]:
    """How often a key was used, as the command line shows it."""
    uses = uses or KeyUses()
    return {
        "last_used_at": None
        if uses.last_used_at is None
        else f"{uses.last_used_at:%Y-%m-%dT%H:%M:%SZ}",
        "uses": {"valid": uses.valid, "denied": uses.denied},
    }


def _instant(unix: float | None) -> str | None:
    return None if unix is None else f"{datetime.fromtimestamp(unix, UTC):%Y-%m-%dT%H:%M:%SZ}"
