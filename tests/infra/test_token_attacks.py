"""Access tokens under attack (SECURITY 8 and 9; RFC 8725): only what our key signed, as what it
is, is taken. Around Wycheproof's vectors for Ed25519, with the good ones among them."""

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from application.errors import Unauthenticated
from application.ports import AccessClaims
from infra.signing_keys import Keyring, SigningKey
from infra.tokens import SignedTokens
from tests.exploring import examples

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOW = int(AT.timestamp())
KEY = Ed25519PrivateKey.from_private_bytes(b"s" * 32)
OTHER = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
OURS = SignedTokens({"k1": KEY}, "https://issuer", "https://audience")
CLAIMS = AccessClaims(
    sub="acct_1", sid="sess_1", jti="jti_1", iat=NOW, exp=NOW + 900, roles=[], amr=["pwd"], epoch=0
)
TOKEN = OURS.issue(CLAIMS)
HEAD, BODY, SIGNATURE = TOKEN.split(".")
VECTORS = json.loads((Path(__file__).parents[1] / "vectors/ed25519.json").read_text())["vectors"]
L = 2**252 + 27742317777372353535851937790883648493


def encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def token(header: Any, payload: Any, sign: Callable[[bytes], bytes] = KEY.sign) -> str:
    """A token of these parts, well-formed, signed with our key unless said."""
    signed = f"{encode(json.dumps(header).encode())}.{encode(json.dumps(payload).encode())}"
    return f"{signed}.{encode(sign(signed.encode()))}"


HEADER: dict[str, Any] = msgspec.json.decode(decode(HEAD))
PAYLOAD: dict[str, Any] = msgspec.json.decode(decode(BODY))


def taken(presented: str, tokens: SignedTokens = OURS, at: datetime = AT) -> bool:
    """Whether it is taken. Nothing but Unauthenticated may come of one that isn't."""
    try:
        claims = tokens.check(presented, at)
    except Unauthenticated:
        return False
    assert claims.sub == CLAIMS.sub
    return True


def test_our_own_token_and_one_made_by_hand_with_our_key_are_taken() -> None:
    assert OURS.check(TOKEN, AT) == CLAIMS
    assert taken(token(HEADER, PAYLOAD))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["id"]))
def test_signatures_are_judged_as_wycheproof_judges_them(vector: dict[str, Any]) -> None:
    public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(vector["key"]))
    ring = Keyring([SigningKey("k", KEY, public, AT)], 900)
    accepted = ring.accepted("k", AT)
    assert accepted is not None
    try:
        accepted.verify(bytes.fromhex(vector["signature"]), bytes.fromhex(vector["message"]))
        judged = True
    except InvalidSignature:
        judged = False
    assert judged == vector["valid"]


def test_the_vectors_are_all_there_good_and_bad() -> None:
    assert sum(each["valid"] for each in VECTORS) == 88
    assert sum(not each["valid"] for each in VECTORS) == 63


# As they are in the vectors, and done to our own signature: S+L, S+2^n L, cut, prolonged, halves
# swapped, R or S of nothing, of the order, or of an encoding beyond the field.
def mutated() -> dict[str, bytes]:
    raw = decode(SIGNATURE)
    r, s = raw[:32], int.from_bytes(raw[32:], "little")
    wide = [(s + (L << n)) for n in range(4) if s + (L << n) < 2**256]
    return {
        **{f"S+{n}L": r + each.to_bytes(32, "little") for n, each in enumerate(wide)},
        "empty": b"",
        "cut": raw[:-1],
        "cut in half": r,
        "with a zero behind": raw + b"\0",
        "with a zero before": b"\0" + raw,
        "doubled": raw + raw,
        "swapped": raw[32:] + r,
        "all zeros": bytes(64),
        "all ones": b"\xff" * 64,
        "S zero": r + bytes(32),
        "S is the order": r + L.to_bytes(32, "little"),
        "S and the sign": r + (s | 1 << 255).to_bytes(32, "little"),
        "R zero": bytes(32) + raw[32:],
        "R beyond the field": (2**255 - 19).to_bytes(32, "little") + raw[32:],
        "R of the other sign": bytes([*r[:-1], r[-1] ^ 0x80]) + raw[32:],
        "compressed": bytes([*r[:-1], r[-1] | 0x80])[:32],
    }


@pytest.mark.parametrize("name", mutated())
def test_a_signature_that_was_touched_is_refused(name: str) -> None:
    assert not taken(f"{HEAD}.{BODY}.{encode(mutated()[name])}")


@settings(max_examples=examples(100))
@given(st.integers(0, len(TOKEN) - 1), st.integers(1, 255))
def test_no_character_of_a_token_can_be_another(place: int, by: int) -> None:
    changed = TOKEN[:place] + chr(ord(TOKEN[place]) ^ by) + TOKEN[place + 1 :]
    assert not taken(changed)


PUBLIC = KEY.public_key()
PUBLIC_RAW = PUBLIC.public_bytes(Encoding.Raw, PublicFormat.Raw)
PUBLIC_PEM = PUBLIC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
PUBLIC_DER = PUBLIC.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
JWK = {"kty": "OKP", "crv": "Ed25519", "x": encode(OTHER.public_key().public_bytes_raw())}


def hs(key: bytes, digest: Any = hashlib.sha256) -> Callable[[bytes], bytes]:
    return lambda signed: hmac.new(key, signed, digest).digest()


def es256(signed: bytes) -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).sign(signed, ec.ECDSA(hashes.SHA256()))


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "", "null"])
def test_the_algorithm_none_in_any_spelling_is_refused(name: str) -> None:
    for sign in (lambda _: b"", KEY.sign, lambda _: bytes(64)):
        assert not taken(token({**HEADER, "alg": name}, PAYLOAD, sign))
    unsigned = token({**HEADER, "alg": name}, PAYLOAD, lambda _: b"")
    assert not taken(unsigned.rstrip("."))


@pytest.mark.parametrize(
    "secret", [PUBLIC_RAW, PUBLIC_PEM, PUBLIC_DER, encode(PUBLIC_RAW).encode()]
)
@pytest.mark.parametrize(
    ("name", "digest"),
    [("HS256", hashlib.sha256), ("HS384", hashlib.sha384), ("HS512", hashlib.sha512)],
)
def test_hmac_with_the_public_key_for_a_secret_is_refused(
    secret: bytes, name: str, digest: Any
) -> None:
    assert not taken(token({**HEADER, "alg": name}, PAYLOAD, hs(secret, digest)))
    assert not taken(token(HEADER, PAYLOAD, hs(secret, hashlib.sha512)))  # 64 bytes, as ours


@pytest.mark.parametrize(
    "name", ["ES256", "ES256K", "RS256", "PS256", "Ed25519", "Ed448", "EdDSA ", "eddsa", "EDDSA"]
)
def test_another_algorithm_is_refused_even_over_our_own_good_signature(name: str) -> None:
    assert not taken(token({**HEADER, "alg": name}, PAYLOAD))
    assert not taken(token({**HEADER, "alg": name}, PAYLOAD, es256))


@pytest.mark.parametrize("alg", [None, 1, ["EdDSA"], {"EdDSA": 1}, True])
def test_an_algorithm_that_is_no_text_is_refused(alg: Any) -> None:
    assert not taken(token({**HEADER, "alg": alg}, PAYLOAD))


@pytest.mark.parametrize(
    "pointer",
    [
        {"jwk": JWK},
        {"jku": "https://attacker.example/jwks.json"},
        {"x5u": "https://attacker.example/cert.pem"},
        {"x5c": ["MIIB"]},
        {"jwk": JWK, "kid": "attacker"},
    ],
    ids=lambda pointer: "+".join(pointer),
)
def test_a_key_that_the_token_itself_brings_is_never_used_nor_fetched(
    pointer: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def outbound(*_: Any, **__: Any) -> None:
        pytest.fail("an outbound call")

    monkeypatch.setattr("socket.socket.connect", outbound)
    monkeypatch.setattr("socket.create_connection", outbound)
    assert not taken(token({**HEADER, **pointer}, PAYLOAD, OTHER.sign))


ODD_KEY_IDS: list[Any] = [
    "",
    "K1",
    "k1 ",
    "k1\u0000",
    "../../../../dev/null",
    "' OR 1=1 --",
    "http://attacker.example/",
    "| cat /etc/passwd",
    "k" * 4_000,
    None,
    0,
    1,
    True,
    [],
    ["k1"],
    {"k1": "k1"},
]


@pytest.mark.parametrize("kid", ODD_KEY_IDS, ids=lambda kid: repr(kid)[:20])
def test_an_odd_key_id_is_refused_and_nothing_is_looked_up_by_it(kid: Any) -> None:
    assert not taken(token({**HEADER, "kid": kid}, PAYLOAD))
    without = {name: value for name, value in HEADER.items() if name != "kid"}
    assert not taken(token(without, PAYLOAD))


def test_a_key_id_leads_to_its_own_key_only() -> None:
    both = SignedTokens({"k0": OTHER, "k1": KEY}, "https://issuer", "https://audience")
    assert taken(TOKEN, both)
    assert not taken(token({**HEADER, "kid": "k0"}, PAYLOAD), both)
    assert not taken(token(HEADER, PAYLOAD, OTHER.sign), both)


@pytest.mark.parametrize("typ", ["JWT", "", "at", "at+jwt ", "logout+jwt", "dpop+jwt", None, 1])
def test_a_token_of_another_type_is_refused(typ: Any) -> None:
    assert not taken(token({**HEADER, "typ": typ}, PAYLOAD))


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt"])
def test_the_type_is_a_media_type_and_compared_as_one(typ: str) -> None:
    assert taken(token({**HEADER, "typ": typ}, PAYLOAD))


@pytest.mark.parametrize("crit", [["b64"], ["exp"], [], None, "b64"])
def test_what_is_declared_critical_is_not_understood(crit: Any) -> None:
    assert not taken(token({**HEADER, "crit": crit, "b64": False}, PAYLOAD))


ODD: tuple[Any, ...] = (None, "", -1, 1e300, [], {}, True, "missing")
CLAIM_NAMES = ("iss", "aud", "sub", "sid", "jti", "iat", "exp", "epoch")
ODD_CLAIMS = [(name, value) for name in CLAIM_NAMES for value in ODD]


@pytest.mark.parametrize(("name", "value"), ODD_CLAIMS)
def test_a_claim_that_is_missing_or_odd_is_refused(name: str, value: Any) -> None:
    payload = {**PAYLOAD, name: value}
    if value == "missing":
        del payload[name]
    assert not taken(token(HEADER, payload))


@pytest.mark.parametrize(
    ("changes", "good"),
    [
        ({"exp": NOW - 61}, False),
        ({"exp": NOW + 1}, True),
        ({"iat": NOW + 61}, False),
        ({"nbf": NOW + 61}, False),
        ({"nbf": NOW}, True),
        ({"aud": ["https://other"]}, False),
        ({"aud": ["https://other", "https://audience"]}, True),
        ({"aud": []}, False),
        ({"aud": "https://audience.evil"}, False),
        ({"iss": "https://issuer/"}, False),
        ({"iss": "https://issuer.evil"}, False),
        ({"exp": str(NOW + 900)}, False),
    ],
    ids=str,
)
def test_times_issuer_and_audience_count_with_a_minute_of_leeway_at_most(
    changes: dict[str, Any], good: bool
) -> None:
    assert taken(token(HEADER, {**PAYLOAD, **changes})) == good


SHAPES = [
    "",
    ".",
    "..",
    "...",
    f"{HEAD}.{BODY}",
    f"{HEAD}.{BODY}.",
    f".{BODY}.{SIGNATURE}",
    f"{HEAD}..{SIGNATURE}",
    f"{TOKEN}.",
    f".{TOKEN}",
    f"{TOKEN}.{SIGNATURE}",
    f"{HEAD}.{BODY}.{SIGNATURE}=",
    f"{HEAD}=.{BODY}.{SIGNATURE}",
    f" {TOKEN}",
    f"{TOKEN}\n",
    TOKEN.replace(".", "\uff0e", 1),
    f"{HEAD}.{BODY}.{SIGNATURE}.x.y",
    "A" * 100_000,
    f"{'A' * 50_000}.{BODY}.{SIGNATURE}",
    json.dumps({"payload": BODY, "protected": HEAD, "signature": SIGNATURE}),
    f"{encode(b'[]')}.{BODY}.{SIGNATURE}",
    f"{encode(b'null')}.{BODY}.{SIGNATURE}",
    f"{encode(b'[' * 3000)}.{BODY}.{SIGNATURE}",
    f"{encode(bytes([0xFF, 0xFE]))}.{BODY}.{SIGNATURE}",
]


@pytest.mark.parametrize("presented", SHAPES, ids=lambda text: text[:12].strip() or "blank")
def test_what_is_not_three_parts_of_plain_base64_is_refused(presented: str) -> None:
    assert not taken(presented)


def test_a_signature_has_one_spelling() -> None:
    """The last character of 64 bytes in base64 has four bits that mean nothing."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    same = [
        f"{TOKEN[:-1]}{each}"
        for each in alphabet
        if decode(f"{SIGNATURE[:-1]}{each}") == decode(SIGNATURE)
    ]
    assert len(same) == 16
    assert [each for each in same if taken(each)] == [TOKEN]


@settings(max_examples=examples(60))
@given(st.binary(max_size=200), st.binary(max_size=200))
def test_whatever_our_key_signed_that_is_no_access_token_is_refused(
    head: bytes, body: bytes
) -> None:
    signed = f"{encode(head)}.{encode(body)}"
    assert not taken(f"{signed}.{encode(KEY.sign(signed.encode()))}")
