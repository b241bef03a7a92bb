"""Ids say what they are, sort by time, and have one shape."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.ids import ENTROPY_BYTES, compose, is_id

prefixes = st.from_regex(r"[a-z]{2,5}", fullmatch=True)
entropies = st.binary(min_size=ENTROPY_BYTES, max_size=ENTROPY_BYTES)
times = st.integers(0, 2**48 - 1)


@given(prefixes, times, entropies)
def test_id_has_its_shape_and_says_what_it_is(prefix: str, at: int, entropy: bytes) -> None:
    made = compose(prefix, at, entropy)
    assert is_id(prefix, made)
    assert not is_id("zz" if prefix != "zz" else "yy", made)


@given(times, times, entropies, entropies)
def test_ids_sort_by_the_time_of_making(a: int, b: int, one: bytes, other: bytes) -> None:
    if a < b:
        assert compose("key", a, one) < compose("key", b, other)


@given(times, entropies, entropies)
def test_different_bytes_make_different_ids(at: int, one: bytes, other: bytes) -> None:
    assert (compose("key", at, one) == compose("key", at, other)) == (one == other)


@pytest.mark.parametrize("length", [0, 9, 11])
def test_too_little_or_too_much_entropy_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="10 random bytes"):
        compose("key", 0, b"x" * length)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "key_",
        "key_" + "0" * 25,
        "key_" + "0" * 27,
        "key_" + "u" * 26,
        "key_" + "A" * 26,
        "key_" + "0" * 26 + "\n",
        "key-" + "0" * 26,
        "acct_" + "0" * 26,
    ],
)
def test_other_text_is_no_id(text: str) -> None:
    assert not is_id("key", text)
