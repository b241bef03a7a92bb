"""Every refusal that the rules can give, as data. No HTTP, no wording for people.

`api/http/problems.py` is the one table from these to problem documents.
"""


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
