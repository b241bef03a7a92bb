"""Purchases over HTTP: nobody but a provider's signature makes one paid, and it does so once."""

import asyncio
import hmac
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import httpx
import psycopg
import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from api.cli.app import Session, build
from application.starting import prepare
from house import House, opened
from infra.embedded import RunningPostgres
from infra.payments.trial import Trial
from infra.settings import Settings
from tests.api.conftest import ADMIN, People, refused
from tests.conftest import fresh_database

pytestmark = pytest.mark.anyio
OWN_HOUSE = True  # with both providers set up

STRIPE_SECRET = "whsec_" + "CANARY00" * 4
OTHER_SECRET = "whsec_" + "stranger" * 4
TEST_SECRET = b"CANARY01" * 4
STRIPE = "/v1/payments/webhook/stripe"
TEST = "/v1/payments/webhook/test"
SETTINGS = Settings(
    environment="test",
    master_key=b"m" * 32,
    key_pepper=b"p" * 32,
    argon2_memory_kib=7168,
    argon2_time=1,
    require_verified_email=False,
    directory_max_staleness_ms=30_000,
    stripe_webhook_secret=STRIPE_SECRET,
    test_payment_secret=TEST_SECRET,
)


@pytest.fixture(scope="module")
def url(postgres_server: RunningPostgres) -> Iterator[str]:
    with fresh_database(postgres_server) as url:
        yield url


@pytest.fixture(scope="module")
async def house(url: str) -> AsyncIterator[House]:
    """With both providers set up."""
    async with opened(SETTINGS, url, verifying=False) as house:
        await prepare(house.ports, "start", *ADMIN)
        yield house


def signed(body: bytes, header: str, secret: bytes, at: float | None = None) -> dict[str, str]:
    """As a provider does it, by the standard library alone."""
    stamp = str(int(time.time() if at is None else at))
    v1 = hmac.new(secret, stamp.encode() + b"." + body, sha256).hexdigest()
    return {"Content-Type": "application/json; charset=utf-8", header: f"t={stamp},v1={v1}"}


def by_stripe(body: bytes, secret: str = STRIPE_SECRET, at: float | None = None) -> dict[str, str]:
    return signed(body, "Stripe-Signature", secret.encode(), at)


def a_session(purchase: dict[str, Any], payment_id: str | None = None) -> bytes:
    """Stripe's event for a purchase that was paid; spaced and spelt as no encoder of ours does."""
    reference = purchase["attach"]["reference"]
    text = f"""{{
      "id": "evt_1", "object":"event", "livemode" : false,
      "type":  "checkout.session.completed",
      "data": {{"object": {{"id": "cs_1", "payment_status": "paid",
        "payment_intent": "{payment_id or "pi_" + purchase["id"]}",
        "amount_total": {purchase["price_minor"]}, "currency": "usd",
        "client_reference_id": "{reference}",
        "customer_details": {{"name": "\\u0041da L\u00f6velace"}}, "metadata": {{}} }} }}
    }}\n"""
    return text.encode()


def a_test_notice(purchase: dict[str, Any], **fields: Any) -> bytes:
    notice = {
        "type": "paid",
        "purchase_id": purchase["id"],
        "payment_id": purchase["attach"]["payment_id"],
        "amount_minor": purchase["price_minor"],
        "currency": purchase["currency"],
        **fields,
    }
    return json.dumps(notice).encode()


async def start(
    client: httpx.AsyncClient, headers: dict[str, str], provider: str = "stripe"
) -> dict[str, Any]:
    body = {"package": "small", "provider": provider}
    reply = await client.post("/v1/credits/purchases", json=body, headers=headers)
    assert reply.status_code == 201, reply.text
    made: dict[str, Any] = reply.json()
    return made


async def tell(
    client: httpx.AsyncClient, path: str, body: bytes, headers: dict[str, str]
) -> httpx.Response:
    return await client.post(path, content=body, headers=headers)


def grants(url: str, purchase: dict[str, Any]) -> list[int]:
    """The lots that this purchase made."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT convert_from(state, 'UTF8')::json -> 'event' FROM tollhouse.decisions "
            "WHERE topic = 'credit.granted.v1'"
        ).fetchall()
    source = f"purchase:{purchase['id']}"
    return [each["amount"] for (each,) in rows if each.get("source") == source]


def log_end(url: str) -> Any:
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT (SELECT max(notification_id) FROM tollhouse.decisions), "
            "(SELECT count(*) FROM tollhouse.claims)"
        ).fetchone()


async def test_packages_are_public(client: httpx.AsyncClient) -> None:
    reply = await client.get("/v1/credits/packages")
    assert reply.status_code == 200
    small, *_ = reply.json()["items"]
    assert small == {
        "name": "small",
        "title": "100 credits",
        "credits": "100.00",
        "price_minor": 1000,
        "currency": "USD",
        "expires_after_days": 365,
    }


async def test_a_purchase_is_pending_until_stripe_says_that_it_was_paid(
    client: httpx.AsyncClient, people: People, url: str
) -> None:
    headers = await people.user()
    purchase = await start(client, headers)
    assert (purchase["status"], purchase["credits"], purchase["paid_at"]) == (
        "pending",
        "100.00",
        None,
    )
    assert purchase["attach"] == {
        "reference": purchase["id"],
        "metadata": {"tollhouse_purchase": purchase["id"]},
        "payment_id": None,
    }
    assert grants(url, purchase) == []
    body = a_session(purchase)
    for outcome in ("counted", "duplicate"):
        reply = await tell(client, STRIPE, body, by_stripe(body))
        assert (reply.status_code, reply.json()) == (200, {"outcome": outcome})
        position = reply.headers["tollhouse-position"]
    now = await client.get(
        f"/v1/credits/purchases/{purchase['id']}",
        headers={**headers, "Tollhouse-Min-Position": position},
    )
    assert now.json()["status"] == "paid"
    assert now.json()["payment_id"] == f"pi_{purchase['id']}"
    assert grants(url, purchase) == [100_00]


async def test_twenty_deliveries_at_once_are_one_grant(
    client: httpx.AsyncClient, people: People, url: str
) -> None:
    purchase = await start(client, await people.user())
    body = a_session(purchase)
    headers = by_stripe(body)
    replies = await asyncio.gather(*(tell(client, STRIPE, body, headers) for _ in range(20)))
    assert {reply.status_code for reply in replies} == {200}
    outcomes = sorted(reply.json()["outcome"] for reply in replies)
    assert outcomes == ["counted", *["duplicate"] * 19]
    assert grants(url, purchase) == [100_00]


async def test_the_provider_for_trying_things_works_like_the_real_one(
    client: httpx.AsyncClient, people: People, url: str
) -> None:
    headers = await people.user()
    purchase = await start(client, headers, "test")

    async def say(**fields: Any) -> str:
        body = a_test_notice(purchase, **fields)
        sealed = signed(body, "Tollhouse-Test-Signature", TEST_SECRET)
        reply = await tell(client, TEST, body, sealed)
        assert reply.status_code == 200, reply.text
        outcome: str = reply.json()["outcome"]
        return outcome

    async def seen() -> tuple[str, str | None]:
        path = f"/v1/credits/purchases/{purchase['id']}"
        found = (await client.get(path, headers=headers)).json()
        return found["status"], found["failure"]

    assert await say(type="failed", reason="card_declined") == "recorded"
    assert await seen() == ("failed", "card_declined")
    assert await say(amount_minor=999) == "recorded"
    assert await seen() == ("failed", "amount_mismatch")
    assert await say() == "counted"
    assert await say(type="failed") == "duplicate"
    assert await seen() == ("paid", None)
    assert await say(type="refunded", refunded_minor=1000) == "counted"
    assert await seen() == ("refunded", None)
    assert grants(url, purchase) == [100_00]
    # What Stripe is to be paid for can't be paid for with a word.
    purchase = {**await start(client, headers), "attach": {"payment_id": "testpay_9"}}
    assert await say() == "ignored"


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("unsigned", "WEBHOOK_SIGNATURE_INVALID"),
        ("another secret", "WEBHOOK_SIGNATURE_INVALID"),
        ("the test provider's secret", "WEBHOOK_SIGNATURE_INVALID"),
        ("one byte more", "WEBHOOK_SIGNATURE_INVALID"),
        ("the header twice", "WEBHOOK_SIGNATURE_INVALID"),
        ("replayed an hour later", "WEBHOOK_TOO_OLD"),
        ("signed for the future", "WEBHOOK_TOO_OLD"),
        ("not an event", "WEBHOOK_INVALID"),
        ("not JSON", "MALFORMED_JSON"),
        ("a field twice", "DUPLICATE_FIELD"),
        ("nested without end", "JSON_TOO_DEEP"),
        ("too large", "BODY_TOO_LARGE"),
        ("a form", "UNSUPPORTED_MEDIA_TYPE"),
    ],
)
async def test_what_no_provider_said_changes_nothing_and_leaks_nothing(
    client: httpx.AsyncClient, people: People, url: str, fault: str, code: str
) -> None:
    purchase = await start(client, await people.user())
    body = a_session(purchase)
    headers: Any = by_stripe(body)
    match fault:
        case "unsigned":
            del headers["Stripe-Signature"]
        case "another secret":
            headers = by_stripe(body, OTHER_SECRET)
        case "the test provider's secret":
            headers = signed(body, "Stripe-Signature", TEST_SECRET)
        case "one byte more":
            body += b" "
        case "the header twice":
            headers = [*headers.items(), ("Stripe-Signature", headers["Stripe-Signature"])]
        case "replayed an hour later":
            headers = by_stripe(body, at=time.time() - 3600)
        case "signed for the future":
            headers = by_stripe(body, at=time.time() + 3600)
        case "not an event":
            body = b'{"type": "checkout.session.completed", "data": {"object": {}}}'
            headers = by_stripe(body)
        case "not JSON":
            body = b'{"type": '
            headers = by_stripe(body)
        case "a field twice":
            body = b'{"type": "a", "type": "b"}'
            headers = by_stripe(body)
        case "nested without end":
            body = b"[" * 5000
            headers = by_stripe(body)
        case "too large":
            body = b'{"type": "' + b"x" * 70_000 + b'"}'
            headers = by_stripe(body)
        case "a form":
            headers["Content-Type"] = "application/x-www-form-urlencoded"
    before = log_end(url)
    with capture_logs() as lines:
        reply = await tell(client, STRIPE, body, headers)
    status = {"BODY_TOO_LARGE": 413, "UNSUPPORTED_MEDIA_TYPE": 415}.get(code, 400)
    refused(reply, status, code, reply.json().get("param"))
    assert log_end(url) == before
    assert lines
    said = reply.text + repr(lines)
    for secret in ("CANARY", "stranger", dict(headers).get("Stripe-Signature", "CANARY"), "velace"):
        assert secret not in said


async def test_an_unknown_provider_is_not_found(client: httpx.AsyncClient) -> None:
    for name in ("paypal", "Stripe", "x" * 500):
        refused(await client.post(f"/v1/payments/webhook/{name}", json={}), 404, "NOT_FOUND")


async def test_notices_that_are_not_about_us_are_answered_well(client: httpx.AsyncClient) -> None:
    """Or Stripe would repeat them for days, and then switch the endpoint off."""
    unknown = {"attach": {"reference": f"pur_{'0' * 26}"}, "id": "x", "price_minor": 1000}
    customer = b'{"type": "customer.created", "data": {"object": {"id": "cus_1"}}}'
    for body in (a_session(unknown), customer):
        reply = await tell(client, STRIPE, body, by_stripe(body))
        assert (reply.status_code, reply.json()) == (200, {"outcome": "ignored"})


async def test_starting_twice_with_one_idempotency_key_is_one_purchase(
    client: httpx.AsyncClient, people: People
) -> None:
    headers = {**await people.user(), "Idempotency-Key": "once"}
    body = {"package": "large", "provider": "stripe"}
    first, second = [
        await client.post("/v1/credits/purchases", json=body, headers=headers) for _ in range(2)
    ]
    assert first.json() == second.json()
    assert second.headers["idempotent-replayed"] == "true"
    assert first.headers["location"] == f"/v1/credits/purchases/{first.json()['id']}"
    listed = await client.get("/v1/credits/purchases", headers=headers)
    assert listed.json() == {"items": [first.json()], "next_cursor": None}


async def test_lists_are_paged_oldest_first(client: httpx.AsyncClient, people: People) -> None:
    headers = await people.user()
    made = [(await start(client, headers))["id"] for _ in range(3)]
    first = (await client.get("/v1/credits/purchases?limit=2", headers=headers)).json()
    query = f"/v1/credits/purchases?limit=2&cursor={first['next_cursor']}"
    second = (await client.get(query, headers=headers)).json()
    assert [each["id"] for each in (*first["items"], *second["items"])] == made
    assert second["next_cursor"] is None


async def test_foreign_and_missing_purchases_look_the_same(
    client: httpx.AsyncClient, people: People
) -> None:
    purchase = await start(client, await people.user())
    stranger = await people.user()
    answers = []
    for purchase_id in (purchase["id"], f"pur_{'0' * 26}", "nonsense", purchase["account_id"]):
        reply = await client.get(f"/v1/credits/purchases/{purchase_id}", headers=stranger)
        refused(reply, 404, "NOT_FOUND")
        answers.append({**reply.json(), "request_id": ""})
    assert answers.count(answers[0]) == len(answers)
    listed = await client.get("/v1/credits/purchases", headers=stranger)
    assert listed.json()["items"] == []


async def test_who_may_buy_and_what(client: httpx.AsyncClient, people: People) -> None:
    path, body = "/v1/credits/purchases", {"package": "small", "provider": "stripe"}
    headers = await people.user()
    key = {"x-api-key": (await people.key(headers))["key"]}
    refused(await client.post(path, json=body), 401, "UNAUTHENTICATED")
    refused(await client.post(path, json=body, headers=key), 403, "FORBIDDEN")
    refused(await client.get(path), 401, "UNAUTHENTICATED")
    for fields, code, param in (
        ({"package": "huge"}, "UNKNOWN_PACKAGE", "package"),
        ({"provider": "paypal"}, "UNKNOWN_PROVIDER", "provider"),
        ({"provider": None}, "UNKNOWN_PROVIDER", "provider"),
        ({"credits": "1000.00"}, "UNKNOWN_FIELD", "credits"),
        ({"account_id": "acct_0"}, "UNKNOWN_FIELD", "account_id"),
        ({"package": 7}, "INVALID_REQUEST", "package"),
    ):
        reply = await client.post(path, json={**body, **fields}, headers=headers)
        refused(reply, 400, code, param)


class Wiring:
    """What `main` hands to the command line, for a server of this test."""

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        self._url = url
        self._http_url = str(client.base_url).rstrip("/")

    def opened(self) -> AbstractAsyncContextManager[House]:
        return opened(SETTINGS, self._url, verifying=False)

    def http_url(self) -> str:
        return self._http_url

    def signed_test_notice(self, body: bytes) -> dict[str, str]:
        return Trial(TEST_SECRET).signed(body, datetime.now(UTC))


async def test_the_command_line_pays_for_trial(
    client: httpx.AsyncClient, people: People, url: str
) -> None:
    purchase = await start(client, await people.user(), "test")
    session = Session(Wiring(url, client))  # type: ignore[arg-type]  # it has what is needed

    async def run(*arguments: str) -> Any:
        words = ["purchases", *arguments, "--json"]
        # In a thread: the server that it asks runs on this loop, and would log between its lines.
        with capture_logs():
            done = await asyncio.to_thread(CliRunner().invoke, build(), words, obj=session)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    assert await run("pay-test", purchase["id"]) == {"outcome": "counted"}
    assert (await run("show", purchase["id"]))["status"] == "paid"
    assert await run("pay-test", purchase["id"], "--outcome", "refunded") == {"outcome": "counted"}
    assert (await run("list", purchase["account_id"]))["status"] == "refunded"
    assert grants(url, purchase) == [100_00]

    # Another payment than the one that was expected is given back all the same.
    other = await start(client, await people.user(), "test")
    body = a_test_notice(other, payment_id="another")
    reply = await tell(client, TEST, body, Trial(TEST_SECRET).signed(body, datetime.now(UTC)))
    assert reply.json() == {"outcome": "counted"}
    assert await run("pay-test", other["id"], "--outcome", "refunded") == {"outcome": "counted"}
    assert (await run("show", other["id"]))["status"] == "refunded"
