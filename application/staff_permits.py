"""What staff may do to whose account, beyond what their level's rights say."""

from application.deciding import Principal
from application.ports import Ports
from domain.accounts import Account
from domain.errors import NotPermitted, OnOneself
from domain.staff import Right, levels_of


def require(principal: Principal, right: Right) -> None:
    """Nothing, or NotPermitted."""
    if not principal.may(right):
        raise NotPermitted(right)


def not_on_oneself(principal: Principal, account_id: str) -> None:
    """Staff do nothing of staff's to their own account: neither raise themselves nor, by
    mistake, lock themselves out. Raises OnOneself."""
    if account_id in (principal.id, principal.impersonator):
        raise OnOneself(account_id)


def spare_staff(ports: Ports, principal: Principal, account_id: str) -> None:
    """The same for what isn't done to an account but to what it has: its plan, limits, credits,
    keys. Of their own, staff change no more than of another's. Raises NotPermitted."""
    account = ports.directory.account(account_id)
    if principal.kind == "account" and account is not None and levels_of(account.roles):
        require(principal, "staff.manage")


def permit_on(principal: Principal, account: Account, right: Right) -> None:
    """Whether staff may do this to this account: who is staff is touched only by who manages
    staff, or support would take over an admin by a change of address. Raises NotPermitted,
    OnOneself."""
    require(principal, right)
    not_on_oneself(principal, account.id)
    if levels_of(account.roles):
        require(principal, "staff.manage")
