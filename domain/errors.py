"""Every refusal that the rules can give, as data. No HTTP, no wording for people.

`api/http/problems.py` is the one table from these to problem documents.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec


class DomainError(Exception):
    """A command was understood and refused. Nothing was changed."""


class InvalidCommand(DomainError):
    """A field of the command breaks a rule that its type can't express."""

    def __init__(self, param: str, reason: str) -> None:
        super().__init__(f"{param}: {reason}")
        self.param = param
        self.reason = reason


class NotFound(DomainError):
    """No such thing, or not visible to this principal: the two are never told apart."""

    def __init__(self, noun: str, id: str) -> None:
        super().__init__(f"{noun} {id}")
        self.noun = noun
        self.id = id


class NotPermitted(DomainError):
    """The principal is known and lacks a right."""

    def __init__(self, right: str) -> None:
        super().__init__(right)
        self.right = right


class OnOneself(DomainError):
    """What staff do to accounts, nobody of them does to their own."""

    def __init__(self, account_id: str) -> None:
        super().__init__(account_id)
        self.account_id = account_id


class LastAdmin(DomainError):
    """Nobody would be left who manages staff."""


class Taken(DomainError):
    """Somebody else holds this email address, username or key digest."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class AccountNotActive(DomainError):
    """The account is suspended or closed, so it can't do this."""

    def __init__(self, account_id: str, status: str) -> None:
        super().__init__(f"{account_id} is {status}")
        self.account_id = account_id
        self.status = status


class AccountIsStaff(DomainError):
    """Staff can't be closed or erased: they are dismissed first."""

    def __init__(self, account_id: str) -> None:
        super().__init__(account_id)
        self.account_id = account_id


class NotClosed(DomainError):
    """Only a closed account can be restored, and only for a while (`too_late`)."""

    def __init__(self, account_id: str, too_late: bool = False) -> None:
        super().__init__(account_id)
        self.account_id = account_id
        self.too_late = too_late


class NoSecondFactor(DomainError):
    """The account has no second factor, so codes to recover one mean nothing."""

    def __init__(self, account_id: str) -> None:
        super().__init__(account_id)
        self.account_id = account_id


class TooManyPasskeys(DomainError):
    """The account has as many passkeys as it may have."""

    def __init__(self, limit: int) -> None:
        super().__init__(str(limit))
        self.limit = limit


class EntitlementExceeded(DomainError):
    """The plan does not permit one more."""

    def __init__(self, entitlement: str, limit: int, plan: str) -> None:
        super().__init__(f"{entitlement}: {limit} on plan {plan}")
        self.entitlement = entitlement
        self.limit = limit
        self.plan = plan


class KeyRevoked(DomainError):
    """A revoked key stays revoked: nothing about it changes any more."""

    def __init__(self, key_id: str) -> None:
        super().__init__(key_id)
        self.key_id = key_id


class UnknownPlan(DomainError):
    """No plan of this name is published."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class PlanNotOffered(DomainError):
    """The plan is retired: no account is put on it any more."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class PlanInUse(DomainError):
    """The server itself puts accounts on this plan, so it can't be retired."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class NotSelfService(DomainError):
    """Owners can't change to this plan by themselves."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class UnknownOperation(DomainError):
    """The plan prices no operation of this name; `known` are those that it does."""

    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(name)
        self.name = name
        self.known = known


class UnknownPackage(DomainError):
    """No package of this name is on offer."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class UnknownProvider(DomainError):
    """This payment provider is not set up here; `known` are those that are."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(name)
        self.name = name
        self.known = known


class InvalidQuery(DomainError):
    """A permission query can't be read; `column` counts characters from 1."""

    def __init__(self, param: str, column: int, reason: str) -> None:
        super().__init__(f"{param}, column {column}: {reason}")
        self.param = param
        self.column = column
        self.reason = reason


class InvalidAmount(DomainError):
    """Not an amount of credits that can be granted, held, captured or spent."""

    def __init__(self, param: str, reason: str) -> None:
        super().__init__(f"{param}: {reason}")
        self.param = param
        self.reason = reason


class CreditsExhausted(DomainError):
    """The account has fewer credits than this takes. Both in hundredths."""

    def __init__(self, available: int, needed: int) -> None:
        super().__init__(f"{needed} of {available}")
        self.available = available
        self.needed = needed


class HoldEnded(DomainError):
    """The hold was captured, released, or its time is over: nothing is held by it any more."""

    def __init__(self, hold_id: str, status: Literal["captured", "released", "expired"]) -> None:
        super().__init__(f"{hold_id} is {status}")
        self.hold_id = hold_id
        self.status: Literal["captured", "released", "expired"] = status


class ImportFault(msgspec.Struct, frozen=True):
    """What is wrong with one item of an import; `param` names its field."""

    index: int
    param: str
    reason: str


class ImportRefused(DomainError):
    """Some items can't be imported, so none was. `faults` are in the order of the items."""

    def __init__(self, faults: Sequence[ImportFault], items: int) -> None:
        super().__init__(f"{len(faults)} of {items}")
        self.faults = faults
        self.items = items
