"""A problem document (RFC 9457), and the exception that the HTTP layer itself refuses with.

Apart from the table (`problems`), so that parts of the table can be modules of their own.
"""

from collections.abc import Mapping

import msgspec

from api.http.codes import CODES


class Problem(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A problem document as it is sent; absent members are left out. The last two are for OAuth
    clients (`api.http.oauth_errors`)."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    hint: str | None = None
    param: str | None = None
    factors: tuple[str, ...] | None = None
    request_id: str
    error: str | None = None
    error_description: str | None = None


class HttpProblem(Exception):
    """A refusal by the HTTP layer itself, by its code in `CODES`.

    `param` names the field, parameter or header at fault. `headers` go with the answer.
    `factors` are those that MFA_REQUIRED asks for.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        hint: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
        factors: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.hint = hint
        self.param = param
        self.headers = dict(headers or {})
        self.factors = factors


def typical(
    code: str, param: str | None = None, headers: Mapping[str, str] | None = None
) -> HttpProblem:
    """The refusal in the words that the catalogue has for it."""
    return HttpProblem(code, CODES[code].example, param=param, headers=headers)


def unexpected() -> HttpProblem:
    """A fault of our own. It says nothing of what happened."""
    return typical("INTERNAL_ERROR")
