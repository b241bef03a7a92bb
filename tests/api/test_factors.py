"""Second factors over HTTP: set up, asked for at sign-in, and changed by who just signed in."""

import base64
import time
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest

from domain import totp
from house import House
from tests.api.conftest import PASSWORD, People, refused
from tests.mailbox import last_code, mail_to
from tests.soft_passkey import SoftPasskey

pytestmark = pytest.mark.anyio

LOGIN = "/v1/auth/login"


class Person:
    """Somebody who signs in, and counts the codes of an app that they have used."""

    def __init__(self, client: httpx.AsyncClient, email: str) -> None:
        self.client = client
        self.email = email
        self.secret = b""
        self.headers: dict[str, str] = {}
        self._step = 0

    async def login(self, **fields: Any) -> httpx.Response:
        body = {"email": self.email, "password": PASSWORD, **fields}
        given = {name: value for name, value in body.items() if value is not None}
        return await self.client.post(LOGIN, json=given)

    async def signed_in(self, **fields: Any) -> dict[str, str]:
        reply = await self.login(**fields)
        assert reply.status_code == 200, reply.text
        self.headers = {"authorization": f"Bearer {reply.json()['access_token']}"}
        return self.headers

    async def post(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        return await self.client.post(path, json=body, headers={**self.headers, **headers})

    async def delete(self, path: str) -> httpx.Response:
        return await self.client.delete(path, headers=self.headers)

    def code(self) -> str:
        """A code that was not used: the app's clock may be one step ahead."""
        now = totp.step_at(time.time())
        self._step = max(self._step + 1, now - 1)
        assert self._step <= now + 1
        return totp.code(self.secret, self._step)

    async def set_up_app(self) -> list[str]:
        offered = (await self.post("/v1/me/totp")).json()
        self.secret = base64.b32decode(offered["secret"])
        confirmed = await self.post("/v1/me/totp/confirm", {"code": self.code()})
        assert confirmed.status_code == 200, confirmed.text
        codes: list[str] = confirmed.json()["recovery_codes"]
        return codes

    async def add(self, passkey: SoftPasskey) -> httpx.Response:
        options = (await self.post("/v1/me/passkeys/options")).json()["public_key"]
        body = {"credential": passkey.create(options), "name": "Laptop"}
        return await self.post("/v1/me/passkeys", body)

    async def challenge(self) -> dict[str, Any]:
        reply = await self.client.post("/v1/auth/passkey/options")
        found: dict[str, Any] = reply.json()["public_key"]
        return found


@pytest.fixture
async def ada(client: httpx.AsyncClient, people: People) -> Person:
    person = Person(client, (await people.register())["email"])
    await person.signed_in()
    return person


async def test_200_an_app_is_set_up_by_link_qr_code_and_text(ada: Person) -> None:
    reply = await ada.post("/v1/me/totp")
    assert (reply.status_code, reply.headers["cache-control"]) == (200, "no-store")
    offered = reply.json()
    assert offered["otpauth_uri"].startswith(f"otpauth://totp/Tollhouse%3A{ada.email}?secret=")
    assert f"secret={offered['secret']}&" in offered["otpauth_uri"]
    assert offered["expires_in"] == 600
    svg = ElementTree.fromstring(offered["qr_svg"])
    assert svg.tag == "{http://www.w3.org/2000/svg}svg"
    assert {each.tag.rpartition("}")[2] for each in svg.iter()} == {"svg", "g", "path"}
    assert (await ada.login()).status_code == 200  # nothing has changed yet
    refused(await ada.post("/v1/me/totp/confirm", {"code": "12"}), 400, "INVALID_REQUEST", "code")
    codes = await ada.set_up_app()
    assert len(set(codes)) == 10


async def test_401_mfa_required_names_the_factors(ada: Person) -> None:
    codes = await ada.set_up_app()
    reply = await ada.login()
    refused(reply, 401, "MFA_REQUIRED")
    assert reply.json()["factors"] == ["totp", "recovery_code"]
    used = ada.code()
    assert (await ada.login(totp=used)).status_code == 200
    refused(await ada.login(totp=used), 401, "MFA_REQUIRED", "totp")
    refused(await ada.login(recovery_code="wrong"), 401, "MFA_REQUIRED", "recovery_code")
    form = {"email": ada.email, "password": PASSWORD, "recovery_code": codes[0]}
    assert (await ada.client.post(LOGIN, data=form)).status_code == 200
    refused(await ada.client.post(LOGIN, data=form), 401, "MFA_REQUIRED", "recovery_code")


async def test_a_reset_does_not_bypass_the_second_factor(ada: Person, house: House) -> None:
    codes = await ada.set_up_app()

    async def proven(purpose: str) -> str:
        asked = {"email": ada.email, "purpose": purpose}
        begun = (await ada.client.post("/v1/auth/otp", json=asked)).json()
        code = await last_code(house.ports, ada.email)
        body = {"challenge_id": begun["challenge_id"], "code": code}
        reply = await ada.client.post("/v1/auth/otp/verify", json=body)
        token: str = reply.json()["verification_token"]
        return token

    new = "an entirely new and long password"
    body = {"verification_token": await proven("reset_password"), "new_password": new}
    reply = await ada.client.post("/v1/auth/password/reset", json=body)
    assert reply.status_code == 204, reply.text
    refused(await ada.login(password=new), 401, "MFA_REQUIRED")
    token = await proven("sign_in")
    beside = {"password": None, "email": None, "verification_token": token}
    refused(await ada.login(**beside), 401, "MFA_REQUIRED")
    assert (await ada.login(**beside, recovery_code=codes[0])).status_code == 200
    refused(await ada.login(**beside, recovery_code=codes[1]), 401, "WRONG_CREDENTIALS")


async def test_a_login_never_tells_who_exists(
    client: httpx.AsyncClient, people: People, ada: Person
) -> None:
    """The same status, body and headers, whatever was wrong (ASVS 5.0 V6.3.8)."""
    await ada.set_up_app()
    plain = (await people.register())["email"]
    wrong = {"password": "not the password"}
    attempts: list[dict[str, str]] = [
        {"email": plain, **wrong},
        {"email": ada.email, **wrong},
        {"email": ada.email, **wrong, "totp": ada.code()},
        {"email": ada.email, **wrong, "recovery_code": "aaaa-aaaa-aaaa-aaaa"},
        {"email": "nobody@example.com", "password": PASSWORD},
        {"email": "nobody@example.com", "password": PASSWORD, "totp": "123456"},
        {"username": "nobody-here", "password": PASSWORD},
        {"email": "no address at all", "password": PASSWORD},
        {"verification_token": "thv_" + "a" * 43},
        {"verification_token": "thv_" + "a" * 43, "totp": "123456"},
    ]
    seen = set()
    for attempt in attempts:
        reply = await client.post(LOGIN, json=attempt)
        refused(reply, 401, "WRONG_CREDENTIALS")
        body = {**reply.json(), "request_id": ""}
        headers = {**reply.headers, "request-id": "", "date": ""}
        seen.add((str(sorted(body.items())), str(sorted(headers.items()))))
    assert len(seen) == 1


async def test_400_a_login_is_one_name_one_first_and_one_second_factor(
    client: httpx.AsyncClient,
) -> None:
    both = {"email": "a@example.com", "password": PASSWORD, "verification_token": "thv_a"}
    name = {"email": "a@example.com"}
    for body, param in (
        (both, "password"),
        (name, "password"),
        ({**name, "username": "abc", "password": PASSWORD}, "email"),
        ({"password": PASSWORD}, "email"),
        ({**name, "password": PASSWORD, "totp": "1", "recovery_code": "a"}, "totp"),
        ({**name, "password": PASSWORD, "session": "jar"}, "session"),
    ):
        refused(await client.post(LOGIN, json=body), 400, "INVALID_REQUEST", param)


async def test_401_factors_are_changed_by_who_just_signed_in_with_the_factor(ada: Person) -> None:
    await ada.set_up_app()
    for reply in (
        await ada.post("/v1/me/totp"),
        await ada.post("/v1/me/recovery-codes"),
        await ada.post("/v1/me/passkeys/options"),
        await ada.delete("/v1/me/totp"),
    ):
        refused(reply, 401, "FRESH_SIGN_IN_REQUIRED")
        assert reply.headers["www-authenticate"] == "Bearer"
    await ada.signed_in(totp=ada.code())
    made = await ada.post("/v1/me/recovery-codes", **{"idempotency-key": "once"})
    assert (made.status_code, len(made.json()["recovery_codes"])) == (201, 10)
    again = await ada.post("/v1/me/recovery-codes", **{"idempotency-key": "once"})
    assert again.json() == made.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert (await ada.delete("/v1/me/totp")).status_code == 204
    refused(await ada.delete("/v1/me/totp"), 404, "NOT_FOUND")
    refused(await ada.post("/v1/me/recovery-codes"), 409, "NO_SECOND_FACTOR")
    assert (await ada.login()).status_code == 200


async def test_201_a_passkey_is_added_listed_used_and_removed(
    ada: Person, people: People, house: House
) -> None:
    passkey = SoftPasskey()
    added = await ada.add(passkey)
    assert added.status_code == 201, added.text
    assert added.headers["location"] == "/v1/me/passkeys"
    assert len(added.json().pop("recovery_codes")) == 10
    credential = passkey.get(await ada.challenge())
    reply = await ada.client.post("/v1/auth/passkey", json={"credential": credential})
    assert reply.status_code == 200, reply.text
    assert reply.json()["account"]["email"] == ada.email
    replay = await ada.client.post("/v1/auth/passkey", json={"credential": credential})
    refused(replay, 401, "WRONG_CREDENTIALS")
    ada.headers = {"authorization": f"Bearer {reply.json()['access_token']}"}
    (listed,) = (await ada.client.get("/v1/me/passkeys", headers=ada.headers)).json()["items"]
    assert (listed["id"], listed["name"]) == (added.json()["id"], "Laptop")
    assert listed["last_used_at"] is not None
    beside = passkey.get(await ada.challenge())
    assert (await ada.login(passkey=beside)).status_code == 200

    bob = Person(ada.client, (await people.register())["email"])
    await bob.signed_in()
    place = f"/v1/me/passkeys/{listed['id']}"
    refused(await bob.delete(place), 404, "NOT_FOUND")
    refused(await bob.add(passkey), 409, "ALREADY_TAKEN")
    assert (await ada.delete(place)).status_code == 204
    refused(await ada.delete(place), 404, "NOT_FOUND")
    gone = {"credential": passkey.get(await ada.challenge())}
    refused(await ada.client.post("/v1/auth/passkey", json=gone), 401, "WRONG_CREDENTIALS")
    assert (await ada.login()).status_code == 200
    told = [mail.template for mail in await mail_to(house.ports, ada.email)]
    assert told == ["factor_added", "factor_removed"]


async def test_a_passkey_signs_in_with_cookies_too(ada: Person) -> None:
    passkey = SoftPasskey()
    await ada.add(passkey)
    body = {"credential": passkey.get(await ada.challenge()), "session": "cookie"}
    async with httpx.AsyncClient(base_url=ada.client.base_url, trust_env=False) as page:
        reply = await page.post("/v1/auth/passkey", json=body)
    assert reply.status_code == 200, reply.text
    assert "access_token" not in reply.json()
    assert all(line.startswith("__Host-") for line in reply.headers.get_list("set-cookie"))


async def test_400_what_registers_no_passkey(ada: Person) -> None:
    options = (await ada.post("/v1/me/passkeys/options")).json()["public_key"]
    assert options["rp"] == {"name": "Tollhouse", "id": "localhost"}
    assert options["authenticatorSelection"]["userVerification"] == "required"
    good = SoftPasskey().create(options)
    forged = SoftPasskey(origin="https://evil.example").create(options)
    cut = {**good, "response": {**good["response"], "attestationObject": "AAAA"}}
    for credential in (forged, cut):
        reply = await ada.post("/v1/me/passkeys", {"credential": credential})
        refused(reply, 400, "PASSKEY_NOT_ACCEPTED", "credential")
    unknown = {**good, "more": 1}
    reply = await ada.post("/v1/me/passkeys", {"credential": unknown})
    refused(reply, 400, "UNKNOWN_FIELD", "credential.more")
    assert (await ada.post("/v1/me/passkeys", {"credential": good})).status_code == 201
