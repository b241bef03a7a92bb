"""purchases: look at an account's purchases, and pay one without money while trying things."""

from typing import Annotated, Literal

import msgspec
import typer

from api.cli import output
from api.cli.running import Json
from application import accounts, purchases
from application.deciding import OPERATOR
from application.payment_ports import PaymentAttachment
from application.ports import Ports
from domain.credit_amounts import decimal
from domain.purchases import Purchase

app = typer.Typer(help="List, show, and pay for trial.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(help="The purchase's id.")]


@app.command("list", epilog="Example: tollhouse purchases list ada@example.com")
def list_(
    context: typer.Context,
    account: Annotated[str, typer.Argument(help="Account id, address or @username.")],
    after: Annotated[str | None, typer.Option(help="Go on after this id.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    json: Json = False,
) -> None:
    """List an account's purchases, oldest first."""

    async def use(ports: Ports) -> list[Purchase]:
        account_id = await accounts.find(ports, account)
        return await ports.lookups.purchases_of(account_id, after, limit)

    found = context.obj.act(use)
    if json:
        for each in found:
            output.show_json(_fields(each))
        return
    output.show_rows(
        ("purchase", "status", "package", "credits", "price", "provider", "started"),
        [
            (
                each.id,
                each.status,
                each.package,
                decimal(each.credits),
                f"{each.price_minor} {each.currency}",
                each.provider,
                f"{each.started_at:%Y-%m-%dT%H:%M:%SZ}",
            )
            for each in found
        ],
    )


@app.command("show", epilog="Example: tollhouse purchases show pur_01kb2m9h3d5f7h9k1n3q5s7v9x")
def show(context: typer.Context, purchase_id: Id, json: Json = False) -> None:
    """Show one purchase, with its failed attempts, refunds and payments that were too many."""

    async def use(ports: Ports) -> Purchase:
        return await purchases.get(ports, OPERATOR, purchase_id)

    fields = _fields(context.obj.act(use))
    (output.show_json if json else output.show_fields)(fields)


@app.command(
    "pay-test", epilog="Example: tollhouse purchases pay-test pur_01kb2m9h3d5f7h9k1n3q5s7v9x"
)
def pay_test(
    context: typer.Context,
    purchase_id: Id,
    outcome: Annotated[
        Literal["paid", "failed", "refunded"], typer.Option(help="What became of the payment.")
    ] = "paid",
    json: Json = False,
) -> None:
    """Say at the running server, as the provider `test`, that a purchase was paid. No money
    moves, so this is for purchases of that provider, in development only."""

    async def use(ports: Ports) -> tuple[Purchase, PaymentAttachment | None]:
        purchase = await purchases.get(ports, OPERATOR, purchase_id)
        return purchase, purchases.attachment(ports, purchase)

    import httpx  # here, because few commands have a use for it

    purchase, attachment = context.obj.act(use)
    notice = {
        "type": outcome,
        "purchase_id": purchase.id,
        "payment_id": _payment(purchase, outcome, attachment),
        "amount_minor": purchase.price_minor,
        "currency": purchase.currency,
        "refunded_minor": purchase.price_minor if outcome == "refunded" else 0,
    }
    body = msgspec.json.encode(notice)
    url = context.obj.wiring.http_url()
    headers = context.obj.wiring.signed_test_notice(body)
    try:
        answer = httpx.post(
            f"{url}/v1/payments/webhook/test", content=body, headers=headers, timeout=10
        )
    except httpx.HTTPError as error:
        output.complain(f"{url} does not answer: {error}")
        raise typer.Exit(1) from None
    said = msgspec.json.decode(answer.content, type=dict[str, object])
    if answer.status_code != 200:
        output.complain(f"{said['code']}: {said['detail']}")
        raise typer.Exit(1)
    (output.show_json if json else output.show_fields)(said)


def _payment(purchase: Purchase, outcome: str, attachment: PaymentAttachment | None) -> str:
    """Which payment the notice is about: a refund is of the one that paid, if one did."""
    if outcome == "refunded" and purchase.payment_id is not None:
        return purchase.payment_id
    return (attachment and attachment.payment_id) or "testpay"


def _fields(purchase: Purchase) -> dict[str, object]:
    fields: dict[str, object] = {"id": purchase.id, "status": purchase.status}
    return fields | msgspec.structs.asdict(purchase) | {"credits": decimal(purchase.credits)}
