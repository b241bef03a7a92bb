"""Access tokens and the keys that sign them: one algorithm, one spelling, keys that follow each
other without a gap."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from api.cli.app import Session, build
from application.errors import Unauthenticated
from application.ports import AccessClaims
from application.tokens import LEEWAY_SECONDS
from infra.postgres.lookups import PostgresLookups
from infra.signing_keys import (
    AHEAD_SECONDS,
    Keyring,
    SigningKey,
    StoredSigningKeys,
    first_keys,
    signing_key,
)
from infra.tokens import SignedTokens
from tests.application.house import House, opened
from tests.factories import AT, a_vault

KEY = Ed25519PrivateKey.from_private_bytes(b"s" * 32)
NOW = int(AT.timestamp())
ISSUER = "https://auth.example.com"
CLAIMS = AccessClaims(
    sub="acct_1",
    sid="sess_1",
    jti="tok_1",
    iat=NOW,
    exp=NOW + 900,
    roles=["admin"],
    amr=["pwd", "otp"],
    epoch=3,
    auth_time=NOW - 60,
)


def signer(*keys: SigningKey) -> SignedTokens:
    return SignedTokens(Keyring(keys, 900) if keys else {"k1": KEY}, ISSUER, ISSUER)


def made(header: dict[str, Any], payload: dict[str, Any], key: Ed25519PrivateKey = KEY) -> str:
    """A token that says so, signed by this key."""
    parts = [_text(json.dumps(part).encode()) for part in (header, payload)]
    return ".".join([*parts, _text(key.sign(".".join(parts).encode()))])


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


HEADER = {"alg": "EdDSA", "typ": "at+jwt", "kid": "k1"}
PAYLOAD: dict[str, Any] = {
    "iss": ISSUER,
    "aud": ISSUER,
    "sub": "acct_1",
    "sid": "sess_1",
    "jti": "tok_1",
    "iat": NOW,
    "exp": NOW + 900,
    "roles": ["admin"],
    "amr": ["pwd", "otp"],
    "epoch": 3,
    "auth_time": NOW - 60,
}


def test_what_is_issued_is_what_is_checked() -> None:
    assert signer().check(signer().issue(CLAIMS), AT) == CLAIMS
    assert signer().check(made(HEADER, PAYLOAD), AT) == CLAIMS
    acting = AccessClaims(**{**{f: getattr(CLAIMS, f) for f in CLAIMS.__struct_fields__},
                             "impersonator": "acct_2"})  # fmt: skip
    token = signer().issue(acting)
    assert signer().check(token, AT) == acting
    said = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert said["act"] == {"sub": "acct_2"}
    assert "impersonator" not in said


@pytest.mark.parametrize(
    "header",
    [
        {**HEADER, "alg": "none"},
        {**HEADER, "alg": "HS256"},
        {**HEADER, "alg": "ES256"},
        {**HEADER, "alg": "Ed25519"},
        {**HEADER, "typ": "JWT"},
        {**HEADER, "typ": 1},
        {**HEADER, "crit": ["exp"]},
        {**HEADER, "kid": "k2"},
        {**HEADER, "kid": ""},
        {**HEADER, "kid": ["k1"]},
        {**HEADER, "kid": "../../etc/passwd"},
        {"alg": "EdDSA", "typ": "at+jwt"},
        {"alg": "EdDSA", "kid": "k1"},
        {},
    ],
    ids=str,
)
def test_a_header_that_is_not_ours_is_refused_though_it_was_signed(header: Any) -> None:
    with pytest.raises(Unauthenticated):
        signer().check(made(header, PAYLOAD), AT)


@pytest.mark.parametrize(
    "change",
    [
        *({name: None} for name in PAYLOAD if name != "auth_time"),
        {"iss": "https://evil.example.com"},
        {"iss": ISSUER + "/"},
        {"aud": "https://other.example.com"},
        {"aud": []},
        {"exp": NOW - LEEWAY_SECONDS},
        {"exp": "never"},
        {"exp": -1},
        {"iat": NOW + 61},
        {"nbf": NOW + 61},
        {"epoch": "3"},
        {"roles": "admin"},
        {"sub": ""},
        {"act": "acct_2"},
    ],
    ids=str,
)
def test_a_payload_that_is_not_right_is_refused_though_it_was_signed(change: Any) -> None:
    payload = {name: value for name, value in (PAYLOAD | change).items() if value is not None}
    with pytest.raises(Unauthenticated):
        signer().check(made(HEADER, payload), AT)


def test_headers_that_point_to_keys_are_not_looked_at() -> None:
    evil = Ed25519PrivateKey.from_private_bytes(b"e" * 32)
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": _text(evil.public_key().public_bytes_raw())}
    for more in ({"jwk": jwk}, {"jku": "https://evil.example.com"}, {"x5u": "https://evil"}):
        assert signer().check(made({**HEADER, **more}, PAYLOAD), AT) == CLAIMS
        with pytest.raises(Unauthenticated):
            signer().check(made({**HEADER, **more}, PAYLOAD, evil), AT)


def test_a_token_has_one_spelling() -> None:
    token = signer().issue(CLAIMS)
    head, body, signature = token.split(".")
    twin = signature[:-1] + chr(ord(signature[-1]) + 1)  # the same bytes, with padding bits set
    same = base64.urlsafe_b64decode(signature + "==") == base64.urlsafe_b64decode(twin + "==")
    assert same
    for odd in (
        f"{head}.{body}.{twin}",
        f"{head}.{body}.{signature}=",
        f"{head}.{body}.{signature}==",
        f"{head}.{body}.",
        f"{head}.{body}",
        f" {token}",
        f"{token}\n",
        f"{head}..{signature}",
        f"{token}.{token}",
        f"{head}.{body[:-2]}.{signature}",
        "a" * 9000 + token,
    ):
        with pytest.raises(Unauthenticated):
            signer().check(odd, AT)


# -- Keys that follow each other


def keys(*starts: int) -> list[SigningKey]:
    """Keys that sign from so many seconds after AT on."""
    return [
        signing_key(f"k{number}", bytes([number]) * 32, AT + timedelta(seconds=start))
        for number, start in enumerate(starts, 1)
    ]


def kid_of(token: str) -> str:
    header = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))
    return str(header["kid"])


def test_the_next_key_is_published_before_it_signs_and_the_old_one_after() -> None:
    ring = Keyring(keys(-1000, 0, 1000), 900)

    def published(seconds: int) -> list[str]:
        return [each.kid for each in ring.published(AT + timedelta(seconds=seconds))]

    assert published(-500) == ["k1", "k2", "k3"]
    assert published(500) == ["k2", "k1", "k3"]
    assert published(1100) == ["k3", "k2"]  # what k1 signed has expired
    assert published(5000) == ["k3"]
    for seconds, kid in ((-1, "k1"), (0, "k2"), (999, "k2"), (1000, "k3")):
        assert ring.signing(AT + timedelta(seconds=seconds)).kid == kid


def test_tokens_of_the_old_key_hold_until_they_expire() -> None:
    tokens = signer(*keys(-1000, 1))
    token = tokens.issue(CLAIMS)
    assert kid_of(token) == "k1"
    assert tokens.check(token, AT + timedelta(seconds=899)) == CLAIMS


def test_a_key_that_was_ended_is_accepted_no_more_and_signs_nothing() -> None:
    first, ahead, new = keys(-1000, 500, 60)
    at = AT + timedelta(seconds=60)
    tokens = signer(first._replace(accepted_until=at), ahead._replace(accepted_until=at), new)
    old = tokens.issue(CLAIMS)
    tokens.check(old, AT)
    with pytest.raises(Unauthenticated):
        tokens.check(old, at)
    ring = Keyring([first._replace(accepted_until=at), ahead._replace(accepted_until=at), new], 900)
    assert ring.signing(AT + timedelta(seconds=600)).kid == "k3"
    assert [each.kid for each in ring.published(at)] == ["k3"]


@pytest.fixture
async def lookups(database_url: str) -> AsyncIterator[PostgresLookups]:
    made = PostgresLookups(database_url)
    await made.open()
    yield made
    await made.close()


@pytest.mark.anyio
async def test_keys_rotate_by_age_and_by_command_in_all_processes(
    database_url: str, lookups: PostgresLookups
) -> None:
    """With two processes that keep them at the same moment, there is one next key."""
    start = first_keys(database_url, a_vault())
    rings = [Keyring(start, 900) for _ in range(2)]
    here, there = [StoredSigningKeys(lookups, a_vault(), ring, days=90) for ring in rings]
    begun = start[0].signs_from
    await here.keep(begun + timedelta(days=88))
    assert len(here.published(begun)) == 1

    due = begun + timedelta(days=89, seconds=1)
    await here.keep(due)
    await there.keep(due)
    await here.read()
    first, second = rings[0].published(due)
    assert (first, second) == tuple(rings[1].published(due))
    assert rings[0].signing(due).kid == start[0].kid
    assert rings[0].signing(due + timedelta(seconds=AHEAD_SECONDS)).kid == second.kid

    leaked = due + timedelta(days=5)
    kid = await there.rotate(leaked, 0, end_others=True)
    await here.read()
    minute = leaked + timedelta(seconds=61)
    assert [each.kid for each in rings[0].published(minute)] == [kid]
    assert rings[0].accepted(start[0].kid, minute) is None
    assert {each.kid for each in first_keys(database_url, a_vault())} >= {kid, second.kid}
    sealed = await lookups.rows("SELECT sealed FROM signing_keys", ())
    assert all(len(row[0]) == 60 for row in sealed)  # nonce, secret, tag: never in clear


class Wiring:
    """As much of the wiring as these commands need."""

    def __init__(self, url: str) -> None:
        self._url = url

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[House]:
        async with opened(self._url) as house:
            yield house


def test_the_command_line_lists_and_rotates_keys(database_url: str) -> None:
    session = Session(Wiring(database_url))  # type: ignore[arg-type]  # it has what is needed

    def run(*words: str) -> Any:
        done = CliRunner().invoke(build(), ["tokens", *words, "--json"], obj=session)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    first = run("keys")["items"]
    made = run("rotate", "--now")["kid"]
    assert [each["kid"] for each in run("keys")["items"]] == [first[0]["kid"], made]
