"""verify: judge a key as the server does, by asking it."""

from typing import Annotated

import msgspec
import typer

from api.cli import output
from api.cli.running import Json


class _Quota(msgspec.Struct):
    scope: str
    used: int
    remaining: int | None
    limit: int | None
    period: str
    resets_at: str | None


class _RateLimit(msgspec.Struct):
    name: str
    limit: int
    remaining: int
    resets_at: str


class _Credits(msgspec.Struct):
    remaining: str


class _Verdict(msgspec.Struct):
    valid: bool
    code: str
    verification_id: str
    key_id: str | None = None
    name: str | None = None
    account_id: str | None = None
    plan: str | None = None
    quotas: list[_Quota] = []
    rate_limits: list[_RateLimit] = []
    credits: _Credits | None = None


class _Problem(msgspec.Struct):
    code: str
    detail: str
    hint: str | None = None


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "verify",
        epilog="Example: tollhouse verify th_live_… --cost 0   (0 only checks)",
    )(verify)


def verify(
    context: typer.Context,
    key: Annotated[str, typer.Argument(help="The key; - reads it from standard input.")],
    cost: Annotated[int, typer.Option(min=0, help="How much quota it takes.")] = 1,
    audience: Annotated[str | None, typer.Option(help="Who asks.")] = None,
    permissions: Annotated[
        str | None, typer.Option(help="What the key must hold, as in 'a AND (b OR NOT c)'.")
    ] = None,
    operation: Annotated[
        str | None, typer.Option(help="What it is for: priced in credits by the plan.")
    ] = None,
    json: Json = False,
) -> None:
    """Verify a key at the running server: it is counted like any other verification.

    Exit code 3 says that the key is not valid.
    """
    import httpx  # here, because no other command has a use for it

    secret = input().strip() if key == "-" else key
    body: dict[str, object] = {"cost": cost}
    said = {"audience": audience, "permissions": permissions, "operation": operation}
    body |= {name: value for name, value in said.items() if value is not None}
    url = context.obj.wiring.http_url()
    try:
        answer = httpx.post(
            f"{url}/v1/keys/verify", json=body, headers={"X-Api-Key": secret}, timeout=10
        )
    except (httpx.HTTPError, UnicodeEncodeError) as error:
        output.complain(f"{url} does not answer: {error}")
        raise typer.Exit(1) from None
    if answer.status_code != 200:
        problem = msgspec.json.decode(answer.content, type=_Problem)
        output.complain(" ".join(filter(None, (f"{problem.code}:", problem.detail, problem.hint))))
        raise typer.Exit(3 if answer.status_code == 401 else 1)
    verdict = msgspec.json.decode(answer.content, type=_Verdict)
    if json:
        output.show_json(msgspec.json.decode(answer.content))
    else:
        _show(verdict)
    if not verdict.valid:
        raise typer.Exit(3)


def _show(verdict: _Verdict) -> None:
    colour = "green" if verdict.valid else "red"
    output.show(f"[{colour}]{verdict.code}[/{colour}]  {verdict.verification_id}")
    if verdict.key_id is not None:
        output.show_fields(
            {
                "key": f"{verdict.key_id} ({verdict.name})",
                "account": verdict.account_id,
                "plan": verdict.plan,
                **({} if verdict.credits is None else {"credits": verdict.credits.remaining}),
            }
        )
    if verdict.quotas:
        output.show_rows(
            ("quota", "used", "left", "limit", "period", "resets"),
            [
                (each.scope, each.used, each.remaining, each.limit, each.period, each.resets_at)
                for each in verdict.quotas
            ],
        )
    if verdict.rate_limits:
        output.show_rows(
            ("rate limit", "left", "limit", "resets"),
            [
                (each.name, each.remaining, each.limit, each.resets_at)
                for each in verdict.rate_limits
            ],
        )
