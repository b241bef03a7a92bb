"""What the reference says of the purchase routes."""

from api.http.operation import Operation, Parameter
from api.http.paging import PAGE_PARAMETERS
from api.http.purchase_shapes import (
    NoticeAnswer,
    NoticeRequest,
    PackagePage,
    PurchaseAnswer,
    PurchasePage,
    PurchaseRequest,
)

_TAG = "Purchases"
_ID = "pur_01kb2m9h3d5f7h9k1n3q5s7v9x"
_EXAMPLE = {
    "id": _ID,
    "account_id": "acct_01kamzq3v0b6f7n8w9x2y4z5ac",
    "status": "pending",
    "package": "small",
    "title": "100 credits",
    "credits": "100.00",
    "price_minor": 1000,
    "currency": "USD",
    "expires_after_days": 365,
    "provider": "stripe",
    "attach": {
        "reference": _ID,
        "metadata": {"tollhouse_purchase": _ID},
        "payment_id": None,
    },
    "started_at": "2026-01-31T12:00:00Z",
    "paid_at": None,
    "payment_id": None,
    "refunded_minor": 0,
    "failure": None,
}
_PURCHASE_ID = Parameter("purchase_id", "The purchase's id.", {"type": "string"}, _ID, "path")

PACKAGES = Operation(
    id="list_packages",
    tag=_TAG,
    summary="List packages of credits",
    description=(
        "What can be bought. `price_minor` is in the currency's minor unit: cents of USD, whole "
        "JPY. There are few, so they are always one page."
    ),
    who="public",
    answer=PackagePage,
    example={
        "items": [
            {
                "name": "small",
                "title": "100 credits",
                "credits": "100.00",
                "price_minor": 1000,
                "currency": "USD",
                "expires_after_days": 365,
            }
        ],
        "next_cursor": None,
    },
    reads=True,
)

START = Operation(
    id="start_purchase",
    tag=_TAG,
    summary="Start a purchase",
    description=(
        "Begins to buy a package for the own account, at its price of now. It is pending until "
        "the provider's signed webhook says that it was paid: make the payment at the provider "
        "with what `attach` has. At Stripe: `reference` as `client_reference_id` of a Checkout "
        "Session, `metadata` as that of the session and of its PaymentIntent."
    ),
    who="user",
    own_hand=True,
    status=201,
    answer=PurchaseAnswer,
    example=_EXAMPLE,
    body=PurchaseRequest,
    body_example={"package": "small"},
    commands=True,
    once=True,
    errors=("UNKNOWN_PACKAGE", "UNKNOWN_PROVIDER", "ACCOUNT_NOT_ACTIVE"),
)

PURCHASES = Operation(
    id="list_purchases",
    tag=_TAG,
    summary="List purchases",
    description="The own account's purchases, oldest first.",
    who="user",
    answer=PurchasePage,
    example={"items": [_EXAMPLE], "next_cursor": None},
    parameters=PAGE_PARAMETERS,
    reads=True,
    errors=("STORE_UNAVAILABLE",),
)

PURCHASE = Operation(
    id="get_purchase",
    tag=_TAG,
    summary="Read a purchase",
    description="One of the own account's. Ask again until it is no longer pending.",
    who="user",
    right="credits.read",
    answer=PurchaseAnswer,
    example=_EXAMPLE,
    parameters=(_PURCHASE_ID,),
    reads=True,
    errors=("NOT_FOUND", "STORE_UNAVAILABLE"),
)

WEBHOOK = Operation(
    id="payment_webhook",
    tag=_TAG,
    summary="Take a payment provider's notice",
    description=(
        "For payment providers: `stripe` (events checkout.session.completed, "
        "checkout.session.async_payment_succeeded, checkout.session.async_payment_failed, "
        "payment_intent.succeeded, payment_intent.payment_failed, charge.refunded; others are "
        "ignored) and, in development, `test`. The body's exact bytes are signed in the header "
        "`Stripe-Signature` (`Tollhouse-Test-Signature`), at most five minutes ago. Whatever "
        "repeating can't mend is answered with 200, so that only what can be mended is repeated. "
        "Every payment counts once, however often and in whatever order notices come."
    ),
    who="public",
    open_query=True,
    answer=NoticeAnswer,
    example={"outcome": "counted"},
    body=NoticeRequest,
    body_example={
        "type": "paid",
        "purchase_id": _ID,
        "payment_id": "testpay_01kb2m9h3d5f7h9k1n3q5s7v9x",
        "amount_minor": 1000,
        "currency": "USD",
    },
    parameters=(
        Parameter(
            "provider",
            "Whose notice it is: `stripe` or `test`.",
            {"type": "string"},
            "stripe",
            "path",
        ),
    ),
    commands=True,
    # A provider has few addresses and comes in bursts; who can't sign costs no look-up.
    unlimited=True,
    errors=(
        "WEBHOOK_SIGNATURE_INVALID",
        "WEBHOOK_TOO_OLD",
        "WEBHOOK_INVALID",
        "NOT_FOUND",
    ),
)
