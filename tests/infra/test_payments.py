"""Only a provider's own signature counts, over the exact bytes, and only now."""

import base64
import hmac
import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from application.errors import WebhookRefused
from domain.purchases import SHIPPED, PaymentNotice
from infra.payments import providers
from infra.payments.stripe import Stripe
from infra.payments.trial import Trial
from infra.settings import Settings, SettingsError, development_secrets, load

SECRET = "whsec_" + "a1B2" * 8
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
UNIX = int(NOW.timestamp())
PURCHASE = "pur_01kb2m9h3d5f7h9k1n3q5s7v9x"

# From the tests of Stripe's own libraries (stripe-dotnet, EventUtilityTest): what Stripe's side
# computed for this body, this secret and this time. v0 is of a scheme that doesn't count.
PUBLISHED_SECRET = "webhook_secret"
PUBLISHED_AT = 1533204620
PUBLISHED_V1 = "f0bdba6d4eacbd8ad8a3bbadd7248e633ec1477f7899c124c51b39405fa36613"
PUBLISHED_V0 = "63f3a72374a733066c4be69ed7f8e5ac85c22c9f0a6a612ab9a025a9e4ee7eef"
PUBLISHED_EVENT = {
    "id": "evt_123",
    "object": "event",
    "account": "acct_123",
    "api_version": "2017-05-25",
    "created": 1533204620,
    "data": {
        "object": {
            "id": "ii_123",
            "object": "invoiceitem",
            "amount": 1000,
            "currency": "usd",
            "customer": "cus_123",
            "date": 1533204620,
            "description": "Test Invoice Item",
            "discountable": False,
            "invoice": "in_123",
            "livemode": False,
            "metadata": {},
            "period": {"start": 1533204620, "end": 1533204620},
            "plan": None,
            "proration": False,
            "quantity": None,
            "subscription": None,
        }
    },
    "livemode": False,
    "pending_webhooks": 1,
    "request": {"id": "req_123", "idempotency_key": "idempotency-key-123"},
    "type": "invoiceitem.created",
}
PUBLISHED_BODY = (json.dumps(PUBLISHED_EVENT, indent=2) + "\n").encode()


def signature(body: bytes, secret: str = SECRET, at: int = UNIX) -> str:
    """By hand, with the standard library alone."""
    return hmac.new(secret.encode(), f"{at}.".encode() + body, sha256).hexdigest()


def signed(body: bytes, secret: str = SECRET, at: int = UNIX) -> list[tuple[bytes, bytes]]:
    return header(f"t={at},v1={signature(body, secret, at)}")


def header(*values: str) -> list[tuple[bytes, bytes]]:
    return [(b"stripe-signature", value.encode("latin-1")) for value in values]


def an_event(type: str, **fields: Any) -> bytes:
    return json.dumps({"id": "evt_1", "type": type, "data": {"object": fields}}).encode()


def a_session(**fields: Any) -> bytes:
    return an_event(
        "checkout.session.completed",
        **{
            "id": "cs_test_1",
            "payment_status": "paid",
            "payment_intent": "pi_1",
            "amount_total": 1000,
            "currency": "usd",
            "client_reference_id": PURCHASE,
            "metadata": {},
            **fields,
        },
    )


def refusal(
    body: bytes,
    headers: Sequence[tuple[bytes, bytes]],
    now: datetime = NOW,
    secrets: Sequence[str] = (SECRET,),
) -> str:
    with pytest.raises(WebhookRefused) as refused:
        Stripe(secrets).verify(headers, body, now)
    for secret in secrets:
        assert secret not in str(refused.value)
    return refused.value.fault


def notice(body: bytes) -> PaymentNotice:
    return Stripe([SECRET]).verify(signed(body), body, NOW)


def test_the_published_vector_is_accepted_at_its_time() -> None:
    stripe = Stripe([PUBLISHED_SECRET])
    now = datetime.fromtimestamp(PUBLISHED_AT + 100, UTC)
    headers = header(f"t={PUBLISHED_AT},v1={PUBLISHED_V1},v0={PUBLISHED_V0}")
    assert stripe.verify(headers, PUBLISHED_BODY, now).kind == "other"
    assert signature(PUBLISHED_BODY, PUBLISHED_SECRET, PUBLISHED_AT) == PUBLISHED_V1
    secrets = [PUBLISHED_SECRET]
    later = datetime.fromtimestamp(PUBLISHED_AT + 400, UTC)
    assert refusal(PUBLISHED_BODY, headers, later, secrets) == "age"
    changed = PUBLISHED_BODY.replace(b"1000", b"9000")
    assert refusal(changed, headers, now, secrets) == "signature"


@pytest.mark.parametrize("seconds", [-300, -1, 0, 1, 300])
def test_within_the_tolerance_it_counts(seconds: int) -> None:
    body = a_session()
    headers = signed(body, at=UNIX + seconds)
    assert Stripe([SECRET]).verify(headers, body, NOW).kind == "paid"


@pytest.mark.parametrize("seconds", [-301, 301, -86_400])
def test_an_overheard_notice_is_of_no_use_later(seconds: int) -> None:
    body = a_session()
    assert refusal(body, signed(body), NOW - timedelta(seconds=seconds)) == "age"


def test_the_time_itself_is_signed() -> None:
    body = a_session()
    old = signature(body, at=UNIX - 1000)
    assert refusal(body, header(f"t={UNIX},v1={old}")) == "signature"


BODY = a_session()
V1 = signature(BODY)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        header(""),
        header("t=,v1="),
        header(f"v1={V1}"),
        header(f"t={UNIX}"),
        header(f"t={UNIX},v1="),
        header(f"t={UNIX},v0={V1}"),
        header(f"t={UNIX},v1={V1[:-1]}"),
        header(f"t={UNIX},v1={V1}0"),
        header(f"t={UNIX},v1={V1.upper()}"),
        header(f"t={UNIX},t={UNIX},v1={V1}"),
        header(f"t=+{UNIX},v1={V1}"),
        header(f"t={UNIX}.0,v1={V1}"),
        header("t=٣,v1=x".encode().decode("latin-1")),
        header(f"t={UNIX},v1={'é' * 64}"),
        header(f"t={'9' * 400},v1={V1}"),
        header(f"t={UNIX},v1={V1}", f"t={UNIX},v1={V1}"),
        header(f"t={UNIX}," + ",".join(["v1=00"] * 500) + f",v1={V1}"),
        signed(BODY, "whsec_" + "b" * 32),
        signed(BODY + b" "),
        [(b"tollhouse-test-signature", f"t={UNIX},v1={V1}".encode())],
    ],
)
def test_a_forged_or_malformed_signature_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    assert refusal(BODY, headers) == "signature"


def test_while_a_secret_is_rolled_either_counts_on_both_sides() -> None:
    new, old = SECRET, "whsec_" + "c" * 32
    both = header(f"t={UNIX}, v1={signature(BODY, old)} ,v1={signature(BODY, new)},v0=00")
    for stripe in (Stripe([new]), Stripe([old]), Stripe([new, old])):
        assert stripe.verify(both, BODY, NOW).kind == "paid"
    assert Stripe([new, old]).verify(signed(BODY, old), BODY, NOW).kind == "paid"
    assert refusal(BODY, signed(BODY, old), NOW, [new]) == "signature"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff\xfe",
        b'{"type": "checkout.session.completed"}',
        an_event("checkout.session.completed", id="cs_1"),
        a_session(amount_total=-1),
        a_session(amount_total=10.5),
        a_session(amount_total="1000"),
        a_session(amount_total=10**30),
        a_session(payment_intent={"id": "pi_1"}),
        a_session(currency="dollars"),
        a_session(id="cs 1"),
        an_event("payment_intent.succeeded", id="pi_1", amount=1),
    ],
)
def test_what_is_signed_and_can_t_be_understood_is_refused_as_that(body: bytes) -> None:
    assert refusal(body, signed(body)) == "content"


def test_a_session_that_was_paid() -> None:
    assert notice(a_session()) == PaymentNotice(
        kind="paid", payment_id="pi_1", reference=PURCHASE, amount_minor=1000, currency="USD"
    )
    # A customer can set client_reference_id in the address of a payment link; metadata is the
    # shop's own.
    named = a_session(metadata={"tollhouse_purchase": PURCHASE}, client_reference_id="pur_other")
    assert notice(named).reference == PURCHASE


def test_a_session_that_is_complete_and_not_paid_says_nothing_yet() -> None:
    assert notice(a_session(payment_status="unpaid")).kind == "other"
    assert notice(a_session(payment_status="no_payment_required")).kind == "other"


def test_the_two_events_of_one_payment_name_the_same_payment() -> None:
    intent = {
        "id": "pi_1",
        "amount": 1000,
        "amount_received": 1000,
        "currency": "usd",
        "metadata": {"tollhouse_purchase": PURCHASE},
    }
    assert notice(an_event("payment_intent.succeeded", **intent)) == notice(a_session())
    delayed = a_session().replace(b"session.completed", b"session.async_payment_succeeded")
    assert notice(delayed) == notice(a_session())


def test_failures_and_refunds_say_so() -> None:
    failed = notice(
        an_event(
            "payment_intent.payment_failed",
            id="pi_1",
            amount=1000,
            currency="usd",
            metadata={"tollhouse_purchase": PURCHASE},
            last_payment_error={"code": "card_declined", "message": "Your card was declined."},
        )
    )
    assert (failed.kind, failed.reason, failed.reference) == ("failed", "card_declined", PURCHASE)
    strange = an_event(
        "payment_intent.payment_failed",
        id="pi_1",
        amount=1,
        currency="usd",
        last_payment_error={"code": "Ada's card"},
    )
    assert notice(strange).reason is None
    later = a_session().replace(b"session.completed", b"session.async_payment_failed")
    assert notice(later).kind == "failed"
    charge = {
        "id": "ch_1",
        "payment_intent": "pi_1",
        "amount": 1000,
        "amount_refunded": 250,
        "currency": "usd",
        "metadata": {"tollhouse_purchase": PURCHASE},
    }
    assert notice(an_event("charge.refunded", **charge)) == PaymentNotice(
        kind="refunded",
        payment_id="pi_1",
        reference=PURCHASE,
        amount_minor=1000,
        currency="USD",
        refunded_minor=250,
    )


def test_other_events_are_not_looked_into() -> None:
    assert notice(an_event("customer.created", id="cus_1")).kind == "other"


def test_the_trial_provider_takes_what_its_own_secret_signed_and_nothing_else() -> None:
    trial = Trial(b"t" * 32)
    body = json.dumps(
        {
            "type": "paid",
            "purchase_id": PURCHASE,
            "payment_id": "testpay_1",
            "amount_minor": 1000,
            "currency": "USD",
        }
    ).encode()
    headers = [
        (name.lower().encode(), text.encode()) for name, text in trial.signed(body, NOW).items()
    ]
    assert trial.verify(headers, body, NOW).reference == PURCHASE
    for other, changed in ((Trial(b"u" * 32), body), (trial, body + b" ")):
        with pytest.raises(WebhookRefused) as refused:
            other.verify(headers, changed, NOW)
        assert refused.value.fault == "signature"
    unknown = body.replace(b'"type": "paid"', b'"type": "won"')
    headers = [(b"tollhouse-test-signature", trial.signed(unknown, NOW)[HEADER].encode())]
    with pytest.raises(WebhookRefused) as refused:
        trial.verify(headers, unknown, NOW)
    assert refused.value.fault == "content"


HEADER = "Tollhouse-Test-Signature"


def test_the_trial_provider_is_there_in_development_and_test_only() -> None:
    strict = Settings(environment="production", test_payment_secret=b"t" * 32)
    assert set(providers(strict)) == set()
    assert set(providers(Settings(environment="test", test_payment_secret=b"t" * 32))) == {"test"}
    assert set(providers(Settings())) == set()
    both = Settings(stripe_webhook_secret=SECRET, test_payment_secret=b"t" * 32)
    assert set(providers(both)) == {"stripe", "test"}


def in_production(**more: str) -> dict[str, str]:
    keys = {
        name: base64.b64encode(os.urandom(32)).decode()
        for name in ("TOLLHOUSE_MASTER_KEY", "TOLLHOUSE_KEY_PEPPER")
    }
    return {"TOLLHOUSE_ENVIRONMENT": "production", **keys, **more}


def test_development_has_a_secret_for_trial_and_production_refuses_one(tmp_path: Path) -> None:
    made = development_secrets(Settings(data_dir=tmp_path))
    assert len(made.test_payment_secret) == 32
    assert development_secrets(Settings(data_dir=tmp_path)) == made
    secret = base64.b64encode(made.test_payment_secret).decode()
    with pytest.raises(SettingsError, match="TOLLHOUSE_TEST_PAYMENT_SECRET") as refused:
        load(in_production(TOLLHOUSE_TEST_PAYMENT_SECRET=secret), None)
    assert secret not in str(refused.value)


def test_stripes_secret_comes_from_a_variable_or_a_file_and_is_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    settings = load(in_production(TOLLHOUSE_STRIPE_WEBHOOK_SECRET_FILE=str(file)), None)
    assert settings.stripe_webhook_secret == SECRET
    assert SECRET not in repr(settings)
    for name, value, says in (
        ("STRIPE_WEBHOOK_SECRET", "sk_live_" + "a" * 30, "whsec_"),
        ("STRIPE_WEBHOOK_SECRET", "whsec_short", "whsec_"),
        ("STRIPE_WEBHOOK_SECRET_PREVIOUS", SECRET, "without TOLLHOUSE_STRIPE_WEBHOOK_SECRET"),
    ):
        with pytest.raises(SettingsError) as refused:
            load({f"TOLLHOUSE_{name}": value}, None)
        assert says in str(refused.value)
        assert value not in str(refused.value)


def test_packages_are_those_of_the_setting_or_as_shipped() -> None:
    assert load({}, None).credit_packages == SHIPPED
    one = {
        "name": "starter",
        "title": "50 credits",
        "credits": "50.00",
        "price_minor": 600,
        "currency": "EUR",
    }
    [package] = load({"TOLLHOUSE_CREDIT_PACKAGES": json.dumps([one])}, None).credit_packages
    assert (package.credits, package.expires_after_days) == (50_00, None)
    for raw, says in (
        ("[{", "JSON list"),
        (json.dumps([one, one]), "each name once"),
        (json.dumps([{**one, "credits": "-5.00"}]), "credits"),
        (json.dumps([{**one, "credits": 50}]), "JSON list"),
        (json.dumps([{**one, "price": 600}]), "price"),
        (json.dumps([{**one, "currency": "eur"}]), "currency"),
    ):
        with pytest.raises(SettingsError, match="TOLLHOUSE_CREDIT_PACKAGES") as refused:
            load({"TOLLHOUSE_CREDIT_PACKAGES": raw}, None)
        assert says in str(refused.value)
