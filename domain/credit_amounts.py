"""Amounts of credits: integer hundredths inside, decimal strings with two places outside."""

import re

from domain.errors import InvalidAmount
from domain.quotas import MAX_AMOUNT

_DECIMAL = re.compile(r"([0-9]{1,14})(?:\.([0-9]{1,2}))?")


def hundredths(text: str, param: str = "amount") -> int:
    """The hundredths that a decimal string like "12.50" says. InvalidAmount for all else: a
    sign, a third place, an exponent, nothing at all, or more than can be exact."""
    found = _DECIMAL.fullmatch(text)
    if found is None:
        raise InvalidAmount(param, 'a decimal string with at most two places, as in "12.50"')
    whole, places = found.groups()
    return checked(int(whole) * 100 + int((places or "").ljust(2, "0")), param)


def checked(amount: int, param: str = "amount") -> int:
    """The amount itself, if it is one that can be granted, held or spent; InvalidAmount."""
    if amount <= 0:
        raise InvalidAmount(param, "more than 0.00")
    if amount > MAX_AMOUNT:
        raise InvalidAmount(param, f"at most {decimal(MAX_AMOUNT)}")
    return amount


def decimal(amount: int) -> str:
    """The hundredths as a decimal string with two places."""
    whole, places = divmod(abs(amount), 100)
    return f"{'-' if amount < 0 else ''}{whole}.{places:02d}"
