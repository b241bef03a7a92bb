"""Rows of accounts: what only one may hold, what is sealed with, plan changes, and their ends."""

from datetime import datetime

from application.row import Row


class ClaimRow(Row, frozen=True):
    """Only one account may hold this. A claim that is held raises `Taken`."""

    kind: str
    digest: bytes
    account_id: str


class ClaimGoneRow(Row, frozen=True):
    """Not a row but the end of one: the account gives this claim up (one row a pepper's digest)."""

    kind: str
    digest: bytes
    account_id: str


class DataKeyRow(Row, frozen=True):
    """An account's data key, wrapped by the master key."""

    account_id: str
    wrapped: bytes
    master_key_id: str


class PlanChangeRow(Row, frozen=True):
    """The account changes to this plan when it is due; in the place of an earlier one."""

    account_id: str
    plan: str
    due_at: datetime


class PlanChangeOverRow(Row, frozen=True):
    """Not a row but the end of one: the account's plan change is done, or is off."""

    account_id: str


class ClosingRow(Row, frozen=True):
    """The account is closed, and erased at `final_at`; in the place of an earlier date."""

    account_id: str
    final_at: datetime


class ClosingOverRow(Row, frozen=True):
    """Not a row but the end of one: the account was restored, or will not be erased."""

    account_id: str


class ErasedRow(Row, frozen=True):
    """The account is erased by the event of this version: all rows that are about the person go
    with it, the data key first of all (`erase_account`, 0018_closing.sql)."""

    account_id: str
    version: int
    erased_at: datetime
