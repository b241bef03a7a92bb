"""What credits are spent on: amounts, or operations that the plan has a price for."""

import msgspec

from application.crediting import Terms
from application.deciding import Principal
from domain.errors import InvalidCommand, NotPermitted, UnknownOperation

_SPEND = "credits.spend"


class Price(msgspec.Struct, frozen=True):
    """What to spend or to hold: an amount in hundredths, or an operation that the plan has a
    price for. One of the two."""

    amount: int | None = None
    operation: str | None = None


def may_spend(principal: Principal) -> None:
    """Credits are granted, held and spent by staff and by services that have the right to.
    NotPermitted."""
    if not principal.may("credits.grant") and _SPEND not in principal.permissions:
        raise NotPermitted(_SPEND)


def priced(terms: Terms, price: Price) -> int:
    """What this takes, in hundredths. InvalidCommand unless it is one of the two,
    UnknownOperation where the plan has no price for it."""
    if (price.amount is None) == (price.operation is None):
        raise InvalidCommand("amount", "either `amount` or `operation`")
    if price.operation is None:
        return price.amount or 0
    cost = terms.costs.get(price.operation)
    if cost is None:
        raise UnknownOperation(price.operation, sorted(terms.costs))
    return cost
