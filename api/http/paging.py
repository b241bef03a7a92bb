"""Pages of lists: `limit`, `cursor`, and an opaque `next_cursor` in the answer."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Annotated

from litestar.params import QueryParameter

from api.http.operation import Parameter
from api.http.problems import HttpProblem
from domain.ids import is_id

DEFAULT_LIMIT = 50
MAX_LIMIT = 200

Limit = Annotated[int, QueryParameter(ge=1, le=MAX_LIMIT)]
Cursor = Annotated[str | None, QueryParameter(max_length=200)]

PAGE_PARAMETERS = (
    Parameter(
        "limit",
        "How many at most.",
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
        20,
    ),
    Parameter("cursor", "`next_cursor` of the page before.", {"type": "string"}, "a2V5XzAx"),
)


def cursor_after(id: str) -> str:
    """The cursor that continues after this id. Opaque: clients send it back as it is."""
    return urlsafe_b64encode(id.encode()).rstrip(b"=").decode()


def text_before(cursor: str | None, fits: Callable[[str], bool]) -> str | None:
    """What a cursor continues after, which must be what `fits`; HttpProblem if it is not one of
    ours."""
    if cursor is None:
        return None
    try:
        text = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except ValueError:
        text = ""
    if not fits(text):
        detail = "A cursor is the `next_cursor` of the page before, unchanged."
        raise HttpProblem("INVALID_REQUEST", detail, param="cursor")
    return text


def id_before(cursor: str | None, *prefixes: str) -> str | None:
    """The id that a cursor continues after; HttpProblem if it is not one of ours."""
    return text_before(cursor, lambda id: any(is_id(prefix, id) for prefix in prefixes))


def number_before(cursor: str | None) -> int | None:
    """The number that a cursor continues after; HttpProblem if it is not one of ours."""
    text = text_before(cursor, lambda number: number.isdigit() and len(number) <= 18)
    return None if text is None else int(text)
