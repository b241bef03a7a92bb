"""What the log tells: GET /v1/events, ?as_of=, and why a verification was answered as it was."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from application import staff
from domain.staff import Level
from house import House
from infra.followers.read_models import ReadModelJob
from tests.api.conftest import People, refused
from tests.api.test_verify import a_key_on
from tests.application.house import context
from tests.factories import an_id
from tests.infra.following import MODELS, kept

pytestmark = pytest.mark.anyio
OWN_HOUSE = True  # all of the log is looked at

NOBODY = an_id("acct")


@pytest.fixture
async def following(house: House) -> AsyncIterator[None]:
    """The follower of histories runs."""
    url = str(house.lookups._pool.conninfo)
    async with kept(url, ReadModelJob(MODELS["history"])):
        yield


def seeing(headers: dict[str, str], reply: httpx.Response) -> dict[str, str]:
    return {**headers, "tollhouse-min-position": reply.headers["tollhouse-position"]}


async def got(client: httpx.AsyncClient, path: str, headers: dict[str, str], **query: Any) -> Any:
    reply = await client.get(path, params=query, headers=headers)
    assert reply.status_code == 200, reply.text
    return reply.json()


async def as_level(people: People, house: House, level: Level) -> dict[str, str]:
    """The headers of somebody with this role."""
    person = await people.register()
    await staff.appoint(house.ports, context(), person["id"], level, "a test")
    return await people.sign_in(person["email"])


async def test_200_a_key_as_it_was_at_any_position_and_at_any_time(
    client: httpx.AsyncClient, people: People
) -> None:
    headers = await people.user()
    made = await client.post(
        "/v1/keys",
        json={"name": "first", "quota": {"limit": 5, "period": "day"}},
        headers=headers,
    )
    path = f"/v1/keys/{made.json()['id']}"
    was = [made]
    for change in ({"name": "second"}, {"enabled": False}, {"quota": None}):
        was.append(await client.patch(path, json=change, headers=headers))
    now = await got(client, path, headers)
    seen = []
    for reply in was:
        position = reply.headers["tollhouse-position"]
        then = await got(client, path, headers, as_of=position)
        at = then.pop("as_of")
        assert await got(client, path, headers, as_of=at) == {**then, "as_of": at}
        seen.append((then["name"], then["enabled"], then["quota"] and then["quota"]["limit"]))
    assert seen == [
        ("first", True, 5),
        ("second", True, 5),
        ("second", False, 5),
        ("second", False, None),
    ]
    assert then == {**now, "uses": None, "last_used_at": None}
    assert "as_of" not in now


async def test_200_an_account_as_it_was_with_the_words_that_it_had_then(
    client: httpx.AsyncClient, people: People
) -> None:
    person = await people.register(about="first words")
    headers = await people.sign_in(person["email"])
    key = await client.post("/v1/keys", json={"name": "k"}, headers=headers)
    changed = await client.patch("/v1/me", json={"about": "second words"}, headers=headers)
    assert changed.status_code == 200, changed.text
    path = f"/v1/accounts/{person['id']}"
    for reply, words in ((key, "first words"), (changed, "second words")):
        position = reply.headers["tollhouse-position"]
        then = await got(client, path, await people.staff(), as_of=position)
        assert (then["about"], then["id"]) == (words, person["id"])
        assert then["as_of"] is not None
        number = position.split(":")[1]
        assert await got(client, path, await people.staff(), as_of=number) == then
    assert "as_of" not in await got(client, path, await people.staff())
    refused(
        await client.get(path, params={"as_of": "2001-01-01T00:00:00Z"}, headers=headers),
        400,
        "INVALID_REQUEST",
        "as_of",
    )


async def test_400_for_a_time_that_never_was(client: httpx.AsyncClient, people: People) -> None:
    headers = await people.user()
    key = await people.key(headers)
    path = f"/v1/keys/{key['id']}"
    made = await client.post("/v1/keys", json={"name": "k"}, headers=headers)
    log_id = made.headers["tollhouse-position"].split(":")[0]
    for as_of in (
        "2999-01-01T00:00:00Z",
        "2001-01-01T00:00:00Z",
        "yesterday",
        "2026-01-01T00:00:00",
        f"{log_id}:1",
        f"{log_id}:999999",
    ):
        reply = await client.get(path, params={"as_of": as_of}, headers=headers)
        refused(reply, 400, "INVALID_REQUEST", "as_of")
    reply = await client.get(path, params={"as_of": "logx:1"}, headers=headers)
    refused(reply, 400, "FOREIGN_LOG", "as_of")
    stranger = await people.user()
    reply = await client.get(path, params={"as_of": "2026-01-01T00:00:00Z"}, headers=stranger)
    refused(reply, 404, "NOT_FOUND")


async def test_200_the_log_by_any_filter_in_its_order(
    client: httpx.AsyncClient, people: People, following: None
) -> None:
    person = await people.register()
    headers = await people.sign_in(person["email"])
    key = await people.key(headers)
    path = f"/v1/keys/{key['id']}"
    await client.patch(path, json={"name": "other"}, headers=headers)
    ended = await client.post(f"{path}/revoke", json={"reason": "it leaked"}, headers=headers)
    reader = seeing(await people.staff(), ended)
    of_key = (await got(client, "/v1/events", reader, stream=key["id"]))["items"]
    assert [each["type"].split(".")[1] for each in of_key] == ["issued", "renamed", "revoked"]
    last = of_key[-1]
    assert (last["summary"], last["by"], last["reason"]) == (
        "The key was revoked: it is refused for good.",
        "the owner",
        "it leaked",
    )
    assert (last["actor"], last["account_id"], last["version"]) == (person["id"], person["id"], 3)
    assert last["position"] == ended.headers["tollhouse-position"]
    newest = (await got(client, "/v1/events", reader, stream=key["id"], order="newest"))["items"]
    assert newest == of_key[::-1]
    for types, facts in (
        ("api_key", ["issued", "renamed", "revoked"]),
        ("api_key.revoked", ["revoked"]),
        ("api_key.renamed.v1, api_key.issued.*", ["issued", "renamed"]),
    ):
        found = await got(client, "/v1/events", reader, actor=person["id"], types=types)
        ours = [each for each in found["items"] if each["account_id"] == person["id"]]
        assert [each["type"].split(".")[1] for each in ours] == facts, types
    between = {"since": of_key[1]["at"], "until": of_key[2]["at"], "stream": key["id"]}
    assert (await got(client, "/v1/events", reader, **between))["items"] == of_key[1:2]
    after = {"after": of_key[0]["position"], "stream": key["id"]}
    assert (await got(client, "/v1/events", reader, **after))["items"] == of_key[1:]
    number = of_key[2]["position"].split(":")[1]
    for position in (of_key[2]["position"], number):
        assert await got(client, f"/v1/events/{position}", reader) == last


async def test_200_pages_of_the_log_have_every_event_once_in_both_orders(
    client: httpx.AsyncClient, people: People, following: None
) -> None:
    made = await client.post("/v1/keys", json={"name": "k"}, headers=await people.user())
    reader = seeing(await people.staff(), made)
    whole = (await got(client, "/v1/events", reader, limit=200))["items"]
    assert len(whole) > 10
    for order, expected in (("oldest", whole), ("newest", whole[::-1])):
        found: list[Any] = []
        cursor: dict[str, str] = {}
        while True:
            page = await got(client, "/v1/events", reader, order=order, limit=7, **cursor)
            found += page["items"]
            if page["next_cursor"] is None:
                break
            cursor = {"cursor": page["next_cursor"]}
        assert found == expected


async def test_an_auditor_reads_everything_that_is_not_personal(
    client: httpx.AsyncClient, people: People, house: House, following: None
) -> None:
    person = await people.register(name="Canary Person", about="canary words")
    headers = await people.sign_in(person["email"])
    key = await people.key(headers)
    ended = await client.post(
        f"/v1/keys/{key['id']}/revoke", json={"reason": "canary reason"}, headers=headers
    )
    auditor = await as_level(people, house, "auditor")
    seen: dict[str, str] = {}
    for name, reader in {"auditor": auditor, "admin": await people.staff()}.items():
        path = "/v1/events"
        page = await got(client, path, seeing(reader, ended), order="newest", limit=30)
        seen[name] = str([each for each in page["items"] if each["account_id"] == person["id"]])
    assert "api_key.revoked" in seen["auditor"]
    for personal in (person["email"], "Canary Person", "canary words"):
        assert personal not in seen["auditor"]
        assert personal in seen["admin"]
    assert "canary reason" in seen["auditor"]  # why it was done is what histories are for
    service = await people.service("events.read")
    page = await got(client, "/v1/events", service, order="newest", limit=30)
    assert "canary reason" not in str(page)


async def test_owners_find_their_own_words_in_their_history_and_viewers_no_history(
    client: httpx.AsyncClient, people: People, house: House, following: None
) -> None:
    person = await people.register(about="my own words")
    headers = await people.sign_in(person["email"])
    last = await client.post("/v1/keys", json={"name": "k"}, headers=headers)
    path = f"/v1/accounts/{person['id']}/history"
    items = (await got(client, path, seeing(headers, last)))["items"]
    first = items[-1]
    assert first["data"]["about"] == "my own words"
    assert first["data"]["email"] == person["email"]
    signed_in = next(each for each in items if each["type"] == "session.started.v1")
    assert signed_in["summary"] == "Signed in with a password."
    assert signed_in["data"]["ip"]
    assert {each["by"] for each in items} <= {"the owner", "a visitor, not signed in"}
    viewer = await as_level(people, house, "viewer")
    refused(await client.get(path, headers=viewer), 404, "NOT_FOUND")


async def test_403_for_whoever_may_not_read_the_log(
    client: httpx.AsyncClient, people: People, house: House
) -> None:
    support = await as_level(people, house, "support")
    for headers in (await people.user(), support, await people.service("keys.verify")):
        for path in ("/v1/events", "/v1/events/1"):
            refused(await client.get(path, headers=headers), 403, "FORBIDDEN")


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"after": "x"}, "after"),
        ({"after": "1" * 30}, "after"),
        ({"after": "²"}, "after"),
        ({"types": "nothing.of.the.kind"}, "types"),
        ({"types": ""}, "types"),
        ({"types": "usage.counted.v1"}, "types"),
        ({"since": "yesterday"}, "since"),
        ({"until": "2026-01-01T00:00:00"}, "until"),
        ({"order": "random"}, "order"),
        ({"limit": 201}, "limit"),
        ({"cursor": "%00"}, "cursor"),
        ({"stream": "\x00"}, "stream"),
    ],
)
async def test_400_names_the_filter_that_makes_no_sense(
    client: httpx.AsyncClient, people: People, query: dict[str, Any], param: str
) -> None:
    reply = await client.get("/v1/events", params=query, headers=await people.staff())
    refused(reply, 400, "INVALID_REQUEST", param)


async def test_404_where_there_is_no_event(client: httpx.AsyncClient, people: People) -> None:
    reader = await people.staff()
    refused(await client.get("/v1/events/999999999", headers=reader), 404, "NOT_FOUND")


async def explained(
    client: httpx.AsyncClient, headers: dict[str, str], verdict: dict[str, Any]
) -> dict[str, Any]:
    path = f"/v1/verifications/{verdict['verification_id']}/explain"
    found: dict[str, Any] = await got(client, path, headers)
    assert (found["code"], found["valid"]) == (verdict["code"], verdict["valid"])
    assert found["position"] == verdict["position"]
    decided = {position for step in found["steps"] for position in step["decided_by"]}
    assert decided == {each["position"] for each in found["events"]}
    # The first question that was not passed is why; nothing was asked behind it.
    passed = [step["passed"] for step in found["steps"] if ":" not in step["question"]]
    assert all(passed[:-1])
    return found


async def verdict_of(client: httpx.AsyncClient, key: dict[str, Any], **body: Any) -> Any:
    reply = await client.post("/v1/keys/verify", json=body, headers={"x-api-key": key["key"]})
    assert reply.status_code == 200, reply.text
    return reply.json()


async def test_a_quota_that_refused_is_explained_with_what_was_used_and_who_had_set_it(
    client: httpx.AsyncClient, people: People
) -> None:
    person = await people.register()
    headers = await people.sign_in(person["email"])
    key = await people.key(headers, quota={"limit": 2, "period": "day"})
    verdicts = [await verdict_of(client, key) for _ in range(3)]
    await client.patch(f"/v1/keys/{key['id']}", json={"quota": None}, headers=headers)
    assert [each["code"] for each in verdicts] == ["VALID", "VALID", "USAGE_EXCEEDED"]
    for number, verdict in enumerate(verdicts):
        found = await explained(client, headers, verdict)
        own = next(each for each in found["limits"] if each["scope"] == "own")
        assert (own["limit"], own["used_before"], own["asked"]) == (2, number, 1)
        assert (own["taken"], own["refused"]) == ((1, False) if number < 2 else (0, True))
        quota = next(each for each in verdict["quotas"] if each["scope"] == "own")
        assert own["resets_at"] == quota["resets_at"]
    assert found["summary"] == (
        "Refused (USAGE_EXCEEDED): The key's quota is 2 a day; 2 were used before, and this "
        "takes 1: more than there was."
    )
    step = next(each for each in found["steps"] if not each["passed"])
    (cause,) = [each for each in found["events"] if each["position"] in step["decided_by"]]
    assert (cause["type"], cause["by"]) == ("allowance.set.v1", "the owner")
    assert cause["summary"] == "The key may be used 2 a day."


@pytest.mark.parametrize(
    ("change", "code", "question", "fact"),
    [
        ({"enabled": False}, "DISABLED", "paused", "api_key.paused.v1"),
        ({"ip_allow": ["192.0.2.0/24"]}, "IP_NOT_ALLOWED", "address", "api_key.ip_allow_set.v1"),
        (None, "REVOKED", "revoked", "api_key.revoked.v1"),
    ],
)
async def test_a_refusal_by_the_keys_state_names_the_event_that_had_made_it_so(
    client: httpx.AsyncClient,
    people: People,
    change: dict[str, Any] | None,
    code: str,
    question: str,
    fact: str,
) -> None:
    headers = await people.user()
    key = await people.key(headers)
    path = f"/v1/keys/{key['id']}"
    good = await verdict_of(client, key)
    if change is None:
        await client.post(f"{path}/revoke", json={"reason": "why not"}, headers=headers)
    else:
        await client.patch(path, json=change, headers=headers)
    verdict = await verdict_of(client, key)
    assert verdict["code"] == code
    found = await explained(client, headers, verdict)
    step = found["steps"][-1]
    assert (step["question"], step["passed"]) == (question, False)
    assert [each["type"] for each in found["events"] if each["position"] in step["decided_by"]] == [
        fact
    ]
    assert found["summary"].startswith(f"Refused ({code}): ")
    # What was valid before is told as it was then.
    before = await explained(client, headers, good)
    assert before["summary"].startswith("Valid")
    assert before["key"]["enabled"] is True
    assert before["key"]["revoked_at"] is None
    if change is not None:
        await client.patch(path, json={"enabled": True, "ip_allow": []}, headers=headers)
        assert await explained(client, headers, verdict) == found


async def test_rate_limits_and_credits_are_explained_by_the_plan_that_gave_them(
    client: httpx.AsyncClient, people: People
) -> None:
    plan = {
        "monthly_credits": "2.00",
        "operation_costs": {"image": "1.50"},
        "rate_limits": [{"name": "burst", "limit": 3, "period": "day"}],
    }
    key = await a_key_on(client, people, plan)
    reader = await people.staff()
    verdicts = [await verdict_of(client, key, operation="image") for _ in range(2)]
    verdicts += [await verdict_of(client, key) for _ in range(3)]
    assert [each["code"] for each in verdicts] == [
        "VALID",
        "CREDITS_EXHAUSTED",
        "VALID",
        "VALID",
        "RATE_LIMITED",
    ]
    poor = await explained(client, reader, verdicts[1])
    credits = next(each for each in poor["limits"] if each["kind"] == "credits")
    assert (credits["used_before"], credits["asked"], credits["taken"]) == ("1.50", "1.50", "0.00")
    assert poor["summary"].endswith("had 0.50 credits, and this costs 1.50 credits: not enough.")
    fast = await explained(client, reader, verdicts[4])
    limit = next(each for each in fast["limits"] if each["refused"])
    assert (limit["kind"], limit["name"], limit["used_before"]) == ("rate", "burst", 3)
    step = next(each for each in fast["steps"] if not each["passed"])
    types = [each["type"] for each in fast["events"] if each["position"] in step["decided_by"]]
    assert sorted(types) == ["account.plan_assigned.v1", "plan.published.v1"]


async def test_404_for_whom_the_verification_is_none_of_their_business_or_never_was(
    client: httpx.AsyncClient, people: People
) -> None:
    key = await people.key(await people.user())
    verdict = await verdict_of(client, key)
    path = f"/v1/verifications/{verdict['verification_id']}/explain"
    service = await people.service("keys.verify", "events.read")
    for headers in (await people.user(), service):
        refused(await client.get(path, headers=headers), 404, "NOT_FOUND")
    stream, version = verdict["verification_id"].removeprefix("ver_").split("_")[:2]
    for odd in (
        "ver_x",
        f"ver_{stream}_{version}_99999",
        f"ver_{stream}_999999_0",
        f"ver_{an_id('x').removeprefix('x_')}_2_0",
        f"ver_{stream}_{version}_-1",
    ):
        path = f"/v1/verifications/{odd}/explain"
        refused(await client.get(path, headers=await people.staff()), 404, "NOT_FOUND")


async def test_an_unknown_key_is_explained_to_staff_only(
    client: httpx.AsyncClient, people: People
) -> None:
    service = await people.service("keys.verify")
    reply = await client.post("/v1/keys/verify", json={"key": "th_live_nope"}, headers=service)
    path = f"/v1/verifications/{reply.json()['verification_id']}/explain"
    body = await got(client, path, await people.staff())
    assert (body["code"], body["key"], body["steps"]) == ("NOT_FOUND", None, [])
    refused(await client.get(path, headers=await people.user()), 404, "NOT_FOUND")
