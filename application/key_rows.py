"""Rows of API keys, and how many an account may have."""

from application.row import Row


class KeyDigestRow(Row, frozen=True):
    """Which key this digest belongs to; a digest that is held raises `Taken`."""

    digest: bytes
    key_id: str


class EntitlementRow(Row, frozen=True):
    """Not a row but a guard: the account may have only so many of this noun that have not
    ended, these `adding` ones included. Checked alone for this account, before their states
    are written; raises `EntitlementExceeded`."""

    account_id: str
    noun: str
    entitlement: str
    limit: int
    plan: str
    adding: int = 1


class KeyIssuedRow(Row, frozen=True):
    """Not only a row but a guard: the account is issued one more key, of at most `limit` in the
    window around `at`; raises `TooManyKeys`. All in microseconds."""

    account_id: str
    limit: int
    window_start: int
    window_end: int
    at: int
