"""JSON that two readers can't read in two ways.

Python's and msgspec's parsers take the last of two equal keys, Python's takes `NaN`, lone
surrogates and nesting until the stack ends. A body that passes `check` has none of these, so
what was judged is what everybody else will read (RFC 8259, 4; ASVS 5.0 V1.5).
"""

import json
import math
import re
from array import array
from collections import Counter
from itertools import accumulate
from typing import Any, TypeVar

import msgspec

from api.http.problems import HttpProblem, shape_problem

MAX_DEPTH = 32
_LONGEST_NAME = 64

T = TypeVar("T")


def check(body: bytes) -> None:
    """Return if `body` is one unambiguous JSON value; raise `HttpProblem` if it is not.

    Linear in the body's size, with a bounded stack, whatever the body is.
    """
    # Before any parser runs: theirs recurse.
    if _may_be_deep(body) and _depth(body) > MAX_DEPTH:
        detail = f"JSON may be nested {MAX_DEPTH} levels deep at most."
        raise HttpProblem("JSON_TOO_DEEP", detail)
    try:
        value = _PARSER.decode(body.decode())
        if b"\\u" in body:
            # Unpaired surrogates parse, but can't be encoded again.
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as exc:
        raise _malformed(f"{exc.msg} at character {exc.pos}") from None
    except UnicodeDecodeError:
        raise _malformed("it is not UTF-8") from None
    except UnicodeEncodeError:
        raise _malformed("it contains an unpaired surrogate") from None
    except ValueError:
        # Python's own bound on the digits of an integer.
        raise _malformed("a number is too long") from None


def decode(body: bytes, type: type[T]) -> T:
    """`body` as a `type`, or `HttpProblem`: `check`'s, or one whose `param` is the JSON path.

    Types are taken literally (no `"1"` for 1). Unknown fields are refused where the struct says
    `forbid_unknown_fields=True`.
    """
    if not has_no_duplicates(body) or _may_be_deep(body):
        check(body)
    try:
        return msgspec.json.decode(body, type=type)
    except msgspec.ValidationError as exc:
        raise shape_problem(str(exc)) from None
    except ValueError as exc:
        # DecodeError, and UnicodeDecodeError, which msgspec lets through.
        raise _malformed(_reason(exc)) from None


def has_no_duplicates(body: bytes) -> bool:
    """True only if no object in `body`, should it be valid JSON, has a name twice.

    False proves nothing: then `check` has to look. About a microsecond for a small body, so that
    hot paths need no second parse. Without a backslash the quotes of valid JSON are exactly the
    ends of its strings, so every second piece between them is a string: where all of these are
    distinct, so are all names.
    """
    if _BACKSLASH in body:
        return False
    strings = body.split(b'"')[1::2]
    return len(strings) == len(set(strings))


def _may_be_deep(body: bytes) -> bool:
    return body.count(b"{") + body.count(b"[") > MAX_DEPTH


def _depth(body: bytes) -> int:
    """How deep a parser would go, up to the first place where it must stop."""
    steps = _STRING.sub(b"", body).translate(_STEPS, _NOT_BRACKETS)
    return max(accumulate(array("b", steps)), default=0)


_BACKSLASH = ord("\\")
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # one up, or (as a signed byte) one down
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[{]}"))
# To the end of the body, if it is never closed: to try every quote anew would be quadratic.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        [(twice, _)] = Counter(name for name, _ in pairs).most_common(1)
        # A name can be as long as the body, and hold a lone surrogate.
        name = twice[:_LONGEST_NAME].encode(errors="replace").decode()
        detail = f"The field `{name}` occurs more than once."
        raise HttpProblem("DUPLICATE_FIELD", detail, param=name)
    return members


def _no_constant(name: str) -> float:
    raise _malformed(f"{name} is not a JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise _malformed("a number is out of range")
    return number


_PARSER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite
)


def _reason(exc: ValueError) -> str:
    return "it is not UTF-8" if isinstance(exc, UnicodeDecodeError) else str(exc).rstrip(".")


def _malformed(why: str) -> HttpProblem:
    return HttpProblem("MALFORMED_JSON", f"The body is not valid JSON: {why}.")
