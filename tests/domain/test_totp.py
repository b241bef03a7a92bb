"""Codes of authenticator apps are those of RFC 6238, and recovery codes can be typed."""

from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from domain import recovery_codes, totp
from domain.totp import Hash

SECRET = b"12345678901234567890"


@pytest.mark.parametrize(
    ("at", "sha1", "sha256", "sha512"),
    [
        (59, "94287082", "46119246", "90693936"),
        (1111111109, "07081804", "68084774", "25091201"),
        (1111111111, "14050471", "67062674", "99943326"),
        (1234567890, "89005924", "91819424", "93441116"),
        (2000000000, "69279037", "90698825", "38618901"),
        (20000000000, "65353130", "77737706", "47863826"),
    ],
)
def test_codes_are_those_of_rfc_6238_appendix_b(
    at: int, sha1: str, sha256: str, sha512: str
) -> None:
    expected: list[tuple[Hash, int, str]] = [
        ("sha1", 20, sha1),
        ("sha256", 32, sha256),
        ("sha512", 64, sha512),
    ]
    for hash, size, code in expected:
        secret = (SECRET * 4)[:size]
        assert totp.code(secret, totp.step_at(at), digits=8, hash=hash) == code


def test_codes_are_those_of_rfc_4226_appendix_d() -> None:
    codes = [totp.code(SECRET, step) for step in range(10)]
    assert codes[:5] == ["755224", "287082", "359152", "969429", "338314"]
    assert codes[5:] == ["254676", "287922", "162583", "399871", "520489"]


def test_a_code_is_taken_one_step_around_now_and_no_further() -> None:
    now = 1_000_000 * 30 + 15
    for drift, taken in ((-2, False), (-1, True), (0, True), (1, True), (2, False)):
        code = totp.code(SECRET, 1_000_000 + drift)
        assert totp.matching_step(SECRET, code, now, after=0) == (
            1_000_000 + drift if taken else None
        )


def test_a_code_is_not_taken_once_its_step_was_used() -> None:
    now, code = 1_000_000 * 30, totp.code(SECRET, 1_000_000)
    assert totp.matching_step(SECRET, code, now, after=999_999) == 1_000_000
    assert totp.matching_step(SECRET, code, now, after=1_000_000) is None
    assert totp.matching_step(SECRET, code, now, after=1_000_001) is None


@pytest.mark.parametrize(
    "given", ["", "12345", "1234567", "abcdef", "١٢٣٤٥٦", "-12345", "12345\x00"]
)
def test_what_is_no_code_is_none(given: str) -> None:
    assert totp.matching_step(SECRET, given, 59, after=0) is None


def test_an_app_may_show_a_code_in_two_groups() -> None:
    assert totp.matching_step(SECRET, " 287 082 ", 59, after=0) == 1


def test_the_uri_says_all_that_an_app_needs() -> None:
    parts = urlsplit(totp.uri(SECRET, "Café: Bar", "ada+x@example.com"))
    assert (parts.scheme, parts.netloc) == ("otpauth", "totp")
    assert unquote(parts.path) == "/Café: Bar:ada+x@example.com"
    assert {name: value for name, (value,) in parse_qs(parts.query).items()} == {
        "secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
        "issuer": "Café: Bar",
        "algorithm": "SHA1",
        "digits": "6",
        "period": "30",
    }


def test_recovery_codes_can_be_typed_as_people_type() -> None:
    made = recovery_codes.codes(bytes(range(100)))
    assert len(set(made)) == recovery_codes.COUNT
    shown = "0001-0204-1o5i-l6gh"
    assert recovery_codes.normal(shown) == "000102041051" + "16gh"
    for code in made:
        normal = recovery_codes.normal(code)
        assert normal is not None
        assert len(normal) == 16
        assert recovery_codes.normal(f" {code.upper().replace('-', ' ')} ") == normal
    for odd in ("", "abcd", made[0] + "x", "uuuu-uuuu-uuuu-uuuu", "é" * 16, "\x00" * 16):
        assert recovery_codes.normal(odd) is None
