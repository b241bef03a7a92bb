"""How much an owner may give a key: in the period of what the account's keys share, no more."""

from application.deciding import Principal
from application.ports import Ports
from domain import plans
from domain.quotas import Quota


def permit_key_quota(
    ports: Ports, principal: Principal, account_id: str, quota: Quota | None
) -> None:
    """Whether this principal may give a key of the account this quota: staff, any.

    EntitlementExceeded.
    """
    account = ports.directory.account(account_id)
    if quota is not None and account is not None and not principal.may("limits.set"):
        plans.permit_key_quota(quota, shared_quota(ports, account_id), account.plan)


def shared_quota(ports: Ports, account_id: str) -> Quota | None:
    """What the account's keys share, as this process knows it: what staff set, else its plan's."""
    for allowance in ports.directory.allowances(account_id):
        if allowance.quota is not None:
            return allowance.quota
    account = ports.directory.account(account_id)
    plan = None if account is None else ports.directory.plan(account.plan)
    return None if plan is None else plan.entitlements.quota
