"""Rows of what is counted: quotas, and credits."""

from application.row import Row


class CounterRow(Row, frozen=True):
    """A counter's rule. Set on one that exists, what it has counted stays; but under another
    calendar only what was counted since `counts_since`, in the old calendar's last window."""

    counter_id: int
    owner_id: str
    account_id: str
    limit_amount: int | None
    rule_no: int
    window_start: int
    counts_since: int = 0
    carry_max: int = 0


class MovedUseRow(Row, frozen=True):
    """What was used of the counter `left`, if its window began at `since` or later, counts in
    this one, too. Both are there already."""

    counter_id: int
    left: int
    since: int


class CreditCounterRow(Row, frozen=True):
    """What an account's verifications may spend until `changes_at`. The row is there, and
    locked; what was used stays."""

    counter_id: int
    limit_amount: int
    changes_at: int
    rule_no: int
    entry_no: int


class CreditHoldRow(Row, frozen=True):
    """A hold that was just made."""

    hold_id: str
    account_id: str
    amount: int
    expires_at: int


class CreditHoldOverRow(Row, frozen=True):
    """The hold has ended like this, with so much of it spent."""

    hold_id: str
    status: str
    captured: int
