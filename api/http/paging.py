"""Pages of lists: `limit`, `cursor`, and an opaque `next_cursor` in the answer."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
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


def id_before(cursor: str | None, *prefixes: str) -> str | None:
    """The id that a cursor continues after; HttpProblem if it is not one of ours."""
    if cursor is None:
        return None
    try:
        id = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except ValueError:
        id = ""
    if not any(is_id(prefix, id) for prefix in prefixes):
        detail = "A cursor is the `next_cursor` of the page before, unchanged."
        raise HttpProblem("INVALID_REQUEST", detail, param="cursor")
    return id
