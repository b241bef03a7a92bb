"""One event of each kind that a stream of credits can hold, for the AsyncAPI document."""

from domain.credit_events import (
    CreditBegun,
    CreditCaptured,
    CreditDrawn,
    CreditExpired,
    CreditGranted,
    CreditHeld,
    CreditReleased,
    CreditSpent,
    CreditWithdrawn,
    Part,
)
from domain.event import Event

_HOLD = "hold_01kb2m9k2q4s6v8x0z2b4d6f8h"
_DAY_US = 86_400_000_000


def credit_events(account_id: str, at_us: int) -> tuple[Event, ...]:
    """What might happen to this account's credits from this instant on."""
    return (
        CreditGranted(
            account_id=account_id,
            entry_no=1,
            at_us=at_us,
            before=0,
            after=20_00,
            lot=1,
            amount=20_00,
            priority=50,
            starts_at_us=at_us,
        ),
        CreditHeld(
            entry_no=2,
            at_us=at_us,
            before=20_00,
            after=12_50,
            hold_id=_HOLD,
            amount=7_50,
            parts=(Part(1, 7_50),),
            expires_at_us=at_us + 900_000_000,
        ),
        CreditCaptured(
            entry_no=3,
            at_us=at_us,
            before=12_50,
            after=12_50,
            hold_id=_HOLD,
            amount=5_00,
            parts=(Part(1, 5_00),),
        ),
        CreditReleased(
            entry_no=4,
            at_us=at_us,
            before=12_50,
            after=15_00,
            hold_id=_HOLD,
            amount=2_50,
            parts=(Part(1, 2_50),),
            reason="rest",
        ),
        CreditSpent(
            entry_no=5,
            at_us=at_us,
            before=15_00,
            after=14_00,
            amount=1_00,
            parts=(Part(1, 1_00),),
            operation="post",
        ),
        CreditDrawn(
            entry_no=8,
            at_us=at_us,
            before=12_00,
            after=12_00,
            amount=2_00,
            parts=(Part(1, 2_00),),
            used=2_00,
        ),
        CreditWithdrawn(entry_no=9, at_us=at_us, before=12_00, after=10_00, lot=1, amount=2_00),
        CreditBegun(
            entry_no=10, at_us=at_us + _DAY_US, before=10_00, after=15_00, lot=2, amount=5_00
        ),
        CreditExpired(
            entry_no=11, at_us=at_us + 2 * _DAY_US, before=15_00, after=10_00, lot=2, amount=5_00
        ),
    )
