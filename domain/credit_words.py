"""What happened to plans, credits and purchases, in plain words."""

from typing import assert_never

from domain.credit_events import (
    CreditBegun,
    CreditCaptured,
    CreditDrawn,
    CreditEvent,
    CreditExpired,
    CreditGranted,
    CreditHeld,
    CreditReleased,
    CreditSpent,
    CreditWithdrawn,
    ReleaseReason,
)
from domain.plans import PlanChanged, PlanEvent, PlanPublished, PlanRetired
from domain.purchases import (
    PurchaseEvent,
    PurchaseFailed,
    PurchasePaid,
    PurchasePaidAgain,
    PurchaseRefunded,
    PurchaseStarted,
)
from domain.wording import in_credits, moment_of_us

_RELEASED: dict[ReleaseReason, str] = {
    "released": "the hold was let go",
    "expired": "the hold's time was over",
    "rest": "the hold was captured in part, and this was left",
}


def credit_sentence(event: CreditEvent) -> str:
    """One sentence on an entry, and what was available after it."""
    what = _credit(event)
    return f"{what}; {in_credits(event.after)} are available."


def _credit(event: CreditEvent) -> str:
    amount = in_credits(event.amount)
    on = f" on {event.operation}" if isinstance(event, CreditSpent) and event.operation else ""
    match event:
        case CreditGranted():
            until = event.expires_at_us
            end = "" if until is None else f", to be spent before {moment_of_us(until)}"
            return f"{amount} were granted ({event.source}){end}"
        case CreditBegun():
            return f"{amount} that were granted before became available"
        case CreditExpired():
            return f"{amount} expired"
        case CreditDrawn():
            return f"{amount} that verifications had spent were written down"
        case CreditSpent():
            return f"{amount} were spent{on}"
        case CreditHeld():
            return f"{amount} were set aside until {moment_of_us(event.expires_at_us)}"
        case CreditCaptured():
            return f"{amount} of what was set aside were spent"
        case CreditReleased():
            return f"{amount} came back: {_RELEASED[event.reason]}"
        case CreditWithdrawn():
            return f"{amount} were taken back"
        case _:
            assert_never(event)


def plan_sentence(event: PlanEvent) -> str:
    """One sentence on a plan."""
    match event:
        case PlanPublished():
            return f"The plan {event.name} was published."
        case PlanChanged():
            return "The plan permits something else from now on, to everybody who is on it."
        case PlanRetired():
            return "The plan was retired: it takes no new accounts."
        case _:
            assert_never(event)


def purchase_sentence(event: PurchaseEvent) -> str:
    """One sentence on a purchase."""
    match event:
        case PurchaseStarted():
            return f"The package “{event.title}” ({in_credits(event.credits)}) was ordered."
        case PurchasePaid():
            return f"The purchase was paid: {in_credits(event.credits)} were granted."
        case PurchaseFailed():
            return "A payment failed."
        case PurchasePaidAgain():
            return "The purchase was paid a second time: that payment is to be given back."
        case PurchaseRefunded():
            return f"A payment was given back: {in_credits(event.credits)} were taken back."
        case _:
            assert_never(event)
