"""What counts as the same address or name, so that one of it has one holder."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import claims
from domain.errors import InvalidCommand


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("ada@example.org", "ada@example.org"),
        ("  Ada@Example.ORG\n", "ada@example.org"),
        ("ada+tag@example.org", "ada+tag@example.org"),
        ("\uff21\uff24\uff21\uff20example.org", "ada@example.org"),
        ("ada@bücher.example", "ada@xn--bcher-kva.example"),
        ("ada@XN--BCHER-KVA.example", "ada@xn--bcher-kva.example"),
        ("møller@example.org", "møller@example.org"),
    ],
)
def test_address_is_compared_like_people_do(text: str, address: str) -> None:
    assert claims.email(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ada",
        "@example.org",
        "ada@",
        "ada@localhost",
        "a b@example.org",
        "a\u200bda@example.org",  # looks like another one
        "a\u202eda@example.org",
        "a@b@example.org",
        "ada@exam_ple.org",
        "ada@example..org",
        "ada@.org",
        "ada,bob@example.org",
        "a\x00b@example.org",
        "a\nb@example.org",
        "\ud800@example.org",
        "x" * 65 + "@example.org",
        "ada@" + "x" * 64 + ".org",
        "ada@" + "é" * 64 + ".org",
        "ada@" + "x." * 124 + "org",
    ],
)
def test_what_can_t_be_an_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidCommand) as refused:
        claims.email(text)
    assert refused.value.param == "email"


@given(
    st.text(st.characters(), min_size=1, max_size=20),
    st.sampled_from(["example.org", "bücher.example", "ΣΊΣΥΦΟΣ.example", "straße.de"]),
)
def test_an_address_once_compared_compares_equal_to_itself(local: str, host: str) -> None:
    try:
        address = claims.email(f"{local}@{host}")
    except InvalidCommand:
        return
    assert claims.email(address) == address
    address.encode()


@given(st.text(st.characters(), max_size=40))
def test_no_text_makes_the_rules_fail(text: str) -> None:
    for rule in (claims.email, claims.username):
        try:
            rule(text)
        except InvalidCommand:
            continue


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{1,30}[A-Za-z0-9]", fullmatch=True))
def test_username_is_compared_without_case(name: str) -> None:
    assert claims.username(name) == claims.username(name.upper()) == name.lower()


@pytest.mark.parametrize(
    "name", ["", "ab", "x" * 33, ".ada", "ada.", "a da", "ädä", "ada@x", "a/b/c"]
)
def test_what_can_t_be_a_username_is_refused(name: str) -> None:
    with pytest.raises(InvalidCommand) as refused:
        claims.username(name)
    assert refused.value.param == "username"
