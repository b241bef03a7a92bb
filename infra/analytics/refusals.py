"""Why a query was not answered.

Raised beside DuckDB, carried over the pipe by name, and raised again in the server as
`application.errors.QueryNotAnswered`.
"""

from typing import Literal

Reason = Literal["invalid", "refused", "too_long", "too_large", "failed", "unavailable"]
"""What went wrong: the SQL, what it wanted, its time, its size, the engine, or the lake."""


class Refusal(Exception):
    """`detail` is a sentence for who asked, `hint` says what to do instead."""

    def __init__(self, reason: Reason, detail: str, hint: str | None = None) -> None:
        super().__init__(detail)
        self.reason: Reason = reason
        self.detail = detail
        self.hint = hint
