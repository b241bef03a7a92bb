"""Closing, restoring and importing accounts, over HTTP and by command."""

import asyncio
import json
from pathlib import Path
from typing import Any

import bcrypt
import httpx
import pytest
from typer.testing import CliRunner

from api.cli.app import Session, build
from house import House
from tests.api.conftest import PASSWORD, People, refused
from tests.api.test_cli_keys import Wiring
from tests.application.house import opened

pytestmark = pytest.mark.anyio

HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()


async def close(client: httpx.AsyncClient, headers: dict[str, str], **body: Any) -> httpx.Response:
    return await client.request("DELETE", "/v1/me", json=body, headers=headers)


async def test_closed_everything_stops_and_restored_it_goes_on(
    client: httpx.AsyncClient, people: People
) -> None:
    person = await people.register()
    headers = await people.sign_in(person["email"])
    key = await people.key(headers)
    service = await people.service("keys.verify")
    reply = await client.delete("/v1/me?mode=close", headers=headers)
    receipt = reply.json()
    assert reply.status_code == 200, reply.text
    assert (receipt["mode"], receipt["status"], receipt["erased"]) == ("close", "closed", None)
    assert receipt["position"] == reply.headers["tollhouse-position"]
    seen = {"tollhouse-min-position": receipt["position"]}
    refused(await client.get("/v1/me", headers=headers | seen), 401, "UNAUTHENTICATED")
    ask = {"key": key["key"]}
    verdict = await client.post("/v1/keys/verify", json=ask, headers=service | seen)
    assert verdict.json()["valid"] is False
    login = {"email": person["email"], "password": PASSWORD}
    refused(await client.post("/v1/auth/login", json=login), 403, "ACCOUNT_NOT_ACTIVE")

    back = await client.post("/v1/me/restore", json=login)
    assert (back.status_code, back.json()["status"]) == (200, "active"), back.text
    seen = {"tollhouse-min-position": back.headers["tollhouse-position"]}
    verdict = await client.post("/v1/keys/verify", json=ask, headers=service | seen)
    assert verdict.json()["valid"] is True
    await people.sign_in(person["email"])
    refused(await client.post("/v1/me/restore", json=login), 409, "NOT_CLOSED")


async def test_who_has_not_the_password_learns_nothing_of_closed_accounts(
    client: httpx.AsyncClient, people: People
) -> None:
    person, stranger = await people.register(), "nobody@example.com"
    await close(client, await people.sign_in(person["email"]))
    for name in (person["email"], stranger):
        wrong = {"email": name, "password": "not the password at all"}
        reply = await client.post("/v1/me/restore", json=wrong)
        refused(reply, 401, "WRONG_CREDENTIALS")


async def test_what_is_wrong_with_a_closing_is_said(
    client: httpx.AsyncClient, people: People
) -> None:
    headers = await people.user()
    refused(await close(client, headers, mode="burn"), 400, "INVALID_REQUEST", "mode")
    refused(await close(client, headers, grace_days=366), 400, "INVALID_REQUEST", "grace_days")
    refused(await close(client, headers, force=True), 400, "UNKNOWN_FIELD", "force")
    refused(await close(client, await people.staff()), 409, "ACCOUNT_IS_STAFF")


async def test_the_receipt_of_an_erasure_says_what_was_destroyed_and_where_the_log_says_so(
    client: httpx.AsyncClient, people: People
) -> None:
    person = await people.register()
    reply = await close(client, await people.sign_in(person["email"]), mode="erase", grace_days=0)
    receipt = reply.json()
    assert (receipt["status"], receipt["final_at"]) == ("erased", None)
    assert receipt["erased"]["data_keys"] == receipt["erased"]["passwords"] == 1
    position = receipt["position"].rpartition(":")[2]
    event = await client.get(f"/v1/events/{position}", headers=await people.staff())
    assert event.json()["type"] == "account.erased.v1"
    login = {"email": person["email"], "password": PASSWORD}
    refused(await client.post("/v1/auth/login", json=login), 401, "WRONG_CREDENTIALS")
    again = {"email": person["email"], "password": PASSWORD, "username": person["username"]}
    assert (await client.post("/v1/auth/register", json=again)).status_code == 201


async def test_what_staff_would_do_to_who_is_erased_is_refused_as_the_document_says(
    client: httpx.AsyncClient, people: People
) -> None:
    """There is no history left that could tell why."""
    person = await people.register()
    await close(client, await people.sign_in(person["email"]), mode="erase", grace_days=0)
    staff, document = await people.staff(), (await client.get("/openapi.json")).json()
    for method, path, body in (
        ("PUT", "/v1/accounts/{account_id}/quota", {"limit": 5, "period": "day"}),
        ("PUT", "/v1/accounts/{account_id}/plan", {"plan": "pro"}),
        ("POST", "/v1/accounts/{account_id}/sessions/end", {}),
        ("POST", "/v1/quotas/reset", {"ids": [person["id"]]}),
        ("POST", "/v1/credits/grants", {"amount": "5.00", "account_id": person["id"]}),
    ):
        url = path.format(account_id=person["id"])
        reply = await client.request(
            method, url, json={**body, "reason": "too late"}, headers=staff
        )
        refused(reply, 403, "ACCOUNT_NOT_ACTIVE")
        media = document["paths"][path][method.lower()]["responses"]["403"]["content"]
        assert "ACCOUNT_NOT_ACTIVE" in media["application/problem+json"]["examples"], path


async def test_imported_people_sign_in_with_the_password_they_have_and_are_hashed_anew(
    client: httpx.AsyncClient, people: People, house: House
) -> None:
    service = await people.service("accounts.manage")
    email, taken = f"{people.name()}@example.com", await people.register()
    items = [
        {"email": email, "password_hash": HASH, "external_id": "crm-1", "name": "Ada"},
        {"email": taken["email"], "password_hash": HASH},
        {"email": f"{people.name()}@example.com", "password_hash": "$2b$31$" + HASH[7:]},
    ]
    reply = await client.post("/v1/accounts/import", json={"items": items}, headers=service)
    assert reply.status_code == 201, reply.text
    told = reply.json()
    assert [each["index"] for each in told["imported"]] == [0]
    assert [(each["index"], each["param"]) for each in told["refused"]] == [
        (1, "email"),
        (2, "password_hash"),
    ]
    account_id = told["imported"][0]["id"]
    wrong = {"email": email, "password": "not the password at all"}
    refused(await client.post("/v1/auth/login", json=wrong), 401, "WRONG_CREDENTIALS")
    assert await house.lookups.password_hash(account_id) == HASH
    headers = await people.sign_in(email)
    assert (await client.get("/v1/me", headers=headers)).json()["name"] == "Ada"
    hashed = await house.lookups.password_hash(account_id)
    assert hashed is not None
    assert hashed.startswith("$argon2id$")
    await people.sign_in(email)


async def test_only_who_may_imports(client: httpx.AsyncClient, people: People) -> None:
    body = {"items": [{"email": "a@example.com"}]}
    for headers in (await people.user(), await people.service("keys.issue")):
        reply = await client.post("/v1/accounts/import", json=body, headers=headers)
        refused(reply, 403, "FORBIDDEN")
    nobody = {"items": [{"email": "none"}], "reason": "they move here"}
    reply = await client.post("/v1/accounts/import", json=nobody, headers=await people.staff())
    refused(reply, 422, "IMPORT_REFUSED", "items[0].email")


def test_a_file_is_imported_by_command_with_a_report_of_what_was_refused(
    database_url: str, tmp_path: Path
) -> None:
    people = tmp_path / "people.jsonl"
    lines = [
        {"email": "one@example.com", "password_hash": HASH},
        {"email": "two@example.com", "shoe_size": 44},
        {"email": "one@example.com"},
        {"email": "three@example.com", "external_id": "3"},
    ]
    people.write_text("\n".join(map(json.dumps, lines)) + "\n\nnot json\n")
    session = Session(Wiring(database_url))  # type: ignore[arg-type]  # it has what is needed
    report = tmp_path / "report.jsonl"
    words = ["accounts", "import", str(people), "--report", str(report), "--json"]
    done = CliRunner().invoke(build(), words, obj=session)
    assert done.exit_code == 1, done.output
    told = json.loads(done.stdout.strip().splitlines()[-1])
    assert told["imported"] == 2
    assert [(each["line"], each["param"]) for each in told["refused"]] == [
        (2, "shoe_size"),
        (3, "email"),
        (6, "line"),
    ]
    assert [json.loads(line) for line in report.read_text().splitlines()] == told["refused"]


def test_the_operator_closes_restores_and_erases_by_command(database_url: str) -> None:
    session = Session(Wiring(database_url))  # type: ignore[arg-type]  # it has what is needed

    def told(*words: str) -> dict[str, Any]:
        done = CliRunner().invoke(build(), ["accounts", *words, "--json"], obj=session)
        assert done.exit_code == 0, (done.output, done.exception)
        answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return answer

    async def registered() -> str:
        async with opened(database_url) as house:
            return (await house.account()).id

    account = asyncio.run(registered())
    assert told("close", account, "--reason", "left")["status"] == "closed"
    assert told("restore", account) == {"id": account, "status": "active"}
    assert told("erase", account)["status"] == "closed"
    receipt = told("erase", account, "--now")
    assert (receipt["status"], receipt["erased"]["data_keys"]) == ("erased", 1)
    assert told("show", account)["status"] == "erased"
