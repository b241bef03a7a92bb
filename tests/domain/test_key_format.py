"""A key's shape carries its check: what was mistyped or made up is known before any look-up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import key_format
from domain.errors import InvalidCommand

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
entropies = st.binary(min_size=32, max_size=32)
prefixes = st.from_regex(r"[a-z][a-z0-9]{0,11}", fullmatch=True)
environments = st.sampled_from(["live", "test"])


@given(prefixes, environments, entropies)
def test_composed_key_has_our_shape_and_a_right_checksum(
    prefix: str, environment: str, entropy: bytes
) -> None:
    key = key_format.compose(prefix, environment, entropy)
    assert key.startswith(f"{prefix}_{environment}_")
    assert len(key) == len(prefix) + 6 + 43 + 6
    assert set(key[len(prefix) + 6 :]) <= set(BASE62)
    assert not key_format.looks_forged(key)


@given(entropies, entropies)
def test_different_bytes_make_different_keys(one: bytes, other: bytes) -> None:
    same = key_format.compose("th", "live", one) == key_format.compose("th", "live", other)
    assert same == (one == other)


@given(entropies)
def test_key_carries_all_of_its_random_bits(entropy: bytes) -> None:
    body = key_format.compose("th", "live", entropy)[8:-6]
    number = 0
    for character in body:
        number = number * 62 + BASE62.index(character)
    assert number.to_bytes(32, "big") == entropy


@given(prefixes, environments, entropies, st.data())
def test_every_mistyped_character_is_found_out(
    prefix: str, environment: str, entropy: bytes, data: st.DataObject
) -> None:
    key = key_format.compose(prefix, environment, entropy)
    places = [n for n in range(len(key)) if not len(prefix) <= n < len(prefix) + 6]
    at = data.draw(st.sampled_from(places))
    other = data.draw(st.sampled_from(BASE62.replace(key[at], "")))
    assert key_format.looks_forged(key[:at] + other + key[at + 1 :])


def test_every_mutation_of_one_key_is_found_out() -> None:
    key = key_format.compose("th", "live", bytes(range(32)))
    for at in (*range(2), *range(8, len(key))):
        for other in BASE62.replace(key[at], ""):
            assert key_format.looks_forged(key[:at] + other + key[at + 1 :])


@given(st.text(st.characters(), max_size=30), entropies, environments)
def test_any_text_can_be_asked_about(text: str, entropy: bytes, environment: str) -> None:
    key_format.looks_forged(text)
    tail = key_format.compose("th", environment, entropy)[2:]
    key_format.looks_forged(text + tail)
    key_format.looks_forged("th" + tail[:-3] + text)


def test_lone_surrogates_are_no_accident() -> None:
    key = key_format.compose("th", "live", bytes(32))
    assert key_format.looks_forged("\ud800" + key[1:])
    assert key_format.looks_forged(key[:-1] + "\ud800")


def test_key_of_another_issuer_is_not_called_forged() -> None:
    assert not key_format.looks_forged("sk_live_4eC39HqLyjWDarjtT1zdp7dc")
    assert not key_format.looks_forged("x" * 100)
    assert not key_format.looks_forged("")


@pytest.mark.parametrize("prefix", ["", "Th", "1a", "a_b", "a" * 13, "th\n"])
def test_prefix_that_breaks_the_shape_is_refused(prefix: str) -> None:
    with pytest.raises(InvalidCommand):
        key_format.compose(prefix, "live", bytes(32))


def test_hint_shows_the_prefix_and_the_last_four() -> None:
    key = key_format.compose("acme", "test", bytes(range(32)))
    assert key_format.hint(key) == f"acme_test_…{key[-4:]}"


@pytest.mark.parametrize("length", [1, 16, 32, 48, 54, 55, 64, 200])
def test_hint_of_any_secret_shows_no_more_than_four_of_its_characters(length: int) -> None:
    secret = "".join(BASE62[n % 62] for n in range(length))
    assert len(key_format.hint(secret).replace("…", "")) <= 4
