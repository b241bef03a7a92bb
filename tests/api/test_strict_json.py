"""Whatever passes is read the same way by everybody, and nothing else passes."""

import json
import math
from time import thread_time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.http.problems import HttpProblem
from api.http.strict_json import MAX_DEPTH, check, decode, has_no_duplicates

leaves = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
)
text = st.text(st.characters(codec="utf-8"), max_size=8)
values = st.recursive(
    leaves | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=20,
)
# Bytes that are nearly JSON: pieces of it in any order.
grammar = b'{ } [ ] , : " "a" "b" \\ \\u d800 1 - e999 . true null NaN Infinity'
pieces = st.sampled_from([*grammar.split(), b" ", b"\xff", b"\xc3\xa9", b"\x00"])
nearly_json = st.lists(pieces, max_size=30).map(b"".join)


def code_of(body: bytes) -> str | None:
    try:
        check(body)
    except HttpProblem as problem:
        return problem.code
    return None


def by_python(body: bytes) -> tuple[bool, Any]:
    """What json.loads says, without its extensions."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError
        return dict(pairs)

    def number(digits: str) -> float:
        if math.isinf(float(digits)):
            raise ValueError
        return float(digits)

    def refuse(name: str) -> float:
        raise ValueError(name)

    try:
        value = json.loads(
            body.decode(), object_pairs_hook=unique, parse_constant=refuse, parse_float=number
        )
        json.dumps(value, ensure_ascii=False).encode()
    except ValueError:
        return False, None
    return True, value


@given(values, st.booleans())
def test_what_a_json_library_writes_passes(value: Any, ascii_only: bool) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only).encode()
    assert code_of(body) is None
    assert decode(body, object) == msgspec.json.decode(body)


@given(nearly_json | st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_it_agrees_with_pythons_parser_on_what_is_valid(body: bytes) -> None:
    assert (code_of(body) is None) == by_python(body)[0]


@given(nearly_json | st.binary(max_size=60))
def test_decode_raises_nothing_but_problems(body: bytes) -> None:
    try:
        decoded = decode(body, object)
    except HttpProblem:
        return
    assert by_python(body) == (True, decoded)


@given(nearly_json | values.map(lambda value: json.dumps(value).encode()))
def test_a_body_without_duplicates_by_the_cheap_test_has_none(body: bytes) -> None:
    if has_no_duplicates(body):
        assert code_of(body) != "DUPLICATE_FIELD"


@pytest.mark.parametrize(
    "body",
    [b'{"a":1,"a":1}', b'{"x":[{"a":1,"b":2,"a":3}]}', rb'{"a":1,"\u0061":2}', b'{"a":"b","a" :1}'],
)
def test_duplicate_names_are_refused_by_name_at_any_depth(body: bytes) -> None:
    assert not has_no_duplicates(body)
    for judge in (check, lambda body: decode(body, object)):
        with pytest.raises(HttpProblem) as refusal:
            judge(body)
        assert (refusal.value.code, refusal.value.param) == ("DUPLICATE_FIELD", "a")


def test_equal_names_in_different_objects_are_no_duplicates() -> None:
    assert code_of(b'{"a":{"a":1},"b":[{"a":1},{"a":1}]}') is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b'{"a"}',
        b"[1,]",
        b"01",
        b"nul",
        b"1 2",
        b"\xef\xbb\xbf1",
        b"'a'",
        b'"\x01"',
        b"NaN",
        b"-Infinity",
        b"[Infinity]",
        b"1e999",
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b"1" * 5000,
        rb'"\ud800"',
        rb'{"\udfff":1}',
        rb'["\ud83d\u0041"]',
        rb'"\x41"',
    ],
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    assert code_of(body) == "MALFORMED_JSON"
    with pytest.raises(HttpProblem):
        decode(body, object)


def test_paired_surrogates_and_escaped_backslashes_are_text() -> None:
    assert code_of(rb'["\ud83d\ude00", "\\ud800"]') is None


def test_depth_is_bounded_exactly() -> None:
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        fits = opening * MAX_DEPTH + b"1" + closing * MAX_DEPTH
        assert code_of(fits) is None
        too_deep = opening + fits + closing
        assert code_of(too_deep) == "JSON_TOO_DEEP"
        with pytest.raises(HttpProblem):
            decode(too_deep, object)
    assert code_of(b'["' + b"[" * 1000 + b'\\"' + b"{" * 1000 + b'"]') is None
    assert code_of(b"[" + b",".join([b"[[1]]"] * 1000) + b"]") is None


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 1_000_000,
        b'{"a":' * 1_000_000,
        b'[{"":' * 500_000,
        b'"' + b'\\"' * 500_000,
        b'\\"' * 500_000 + b"[" * 100,
        b'"' * 1_000_001 + b"[" * 100,
        b'{"a":1,' * 100_000,
        b"[" + b"1" * 1_000_000 + b"]" + b"[" * 40,
        b"]" * 1_000_000 + b"[" * 1_000,
    ],
    ids=range(9),
)
def test_hostile_bodies_are_refused_in_linear_time(body: bytes) -> None:
    """In time of the processor: how long a busy machine makes it wait is not the body's doing."""
    began = thread_time()
    assert code_of(body) in ("MALFORMED_JSON", "JSON_TOO_DEEP")
    with pytest.raises(HttpProblem):
        decode(body, object)
    assert thread_time() - began < 5


class Quota(msgspec.Struct, forbid_unknown_fields=True):
    limit: int


class Body(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    quota: Quota | None = None
    tags: list[str] = []


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (b'{"name":1}', "INVALID_REQUEST", "name"),
        (b"{}", "INVALID_REQUEST", "name"),
        (b'{"name":"a","quota":{"limit":"1"}}', "INVALID_REQUEST", "quota.limit"),
        (b'{"name":"a","quota":{}}', "INVALID_REQUEST", "quota.limit"),
        (b'{"name":"a","tags":["x",1]}', "INVALID_REQUEST", "tags[1]"),
        (b'{"name":"a","qouta":1}', "UNKNOWN_FIELD", "qouta"),
        (b'{"name":"a","quota":{"limit":1,"x":1}}', "UNKNOWN_FIELD", "quota.x"),
        (b"[]", "INVALID_REQUEST", None),
        (b'{"name":"\xff"}', "MALFORMED_JSON", None),
        (b'{"name":"a"', "MALFORMED_JSON", None),
    ],
)
def test_decode_names_the_field_at_fault(body: bytes, code: str, param: str | None) -> None:
    with pytest.raises(HttpProblem) as refusal:
        decode(body, Body)
    assert (refusal.value.code, refusal.value.param) == (code, param)


def test_decode_gives_the_value() -> None:
    assert decode(b'{"name":"a","quota":{"limit":1}}', Body) == Body("a", Quota(1))
