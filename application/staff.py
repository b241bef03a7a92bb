"""Staff: appointed, moved to another level, dismissed. Nobody does it to themselves.

So an admin is left, whatever an admin does; and where two dismiss each other at the same moment,
the second is refused (0020_last_admin.sql), as is the operator with the only one.
"""

from collections.abc import Callable, Sequence

from application.accounts import find
from application.deciding import Context, Principal, commit, retrying
from application.known_account import known_account
from application.plans import plan_change
from application.ports import Ports
from application.staff_permits import not_on_oneself, require
from application.staff_ports import AccountsWanted
from domain import accounts, appointments, plans
from domain.accounts import Account
from domain.errors import NotFound
from domain.event import Event
from domain.staff import RIGHTS, levels_of


async def appoint(
    ports: Ports, context: Context, name: str, level: str, reason: str | None
) -> tuple[Account, int]:
    """Make the account of this id, address or @username staff of this level, on the plan that
    staff is on; answers it and the position.

    Raises NotPermitted, NotFound, InvalidCommand, AccountNotActive, OnOneself.
    """
    require(context.principal, "staff.manage")
    account_id = await find(ports, name)

    def decide(account: Account) -> list[Event]:
        made = appointments.appoint(account, level)
        return made + (accounts.assign_plan(account, plans.INTERNAL) if made else [])

    return await _change(ports, context, account_id, decide, reason)


async def move(
    ports: Ports, context: Context, account_id: str, level: str, reason: str
) -> tuple[Account, int]:
    """Another level for who is staff. Raises as `appoint`, and LastAdmin."""
    require(context.principal, "staff.manage")

    def decide(account: Account) -> list[Event]:
        if not levels_of(account.roles):
            raise NotFound("member of staff", account_id)
        return appointments.appoint(account, level)

    return await _change(ports, context, account_id, decide, reason)


async def dismiss(
    ports: Ports, context: Context, account_id: str, reason: str | None
) -> tuple[Account, int]:
    """Take every level from the account, and put it on the free plan; answers it and the
    position. It stays an account. Raises as `move`, and LastAdmin."""
    require(context.principal, "staff.manage")

    def decide(account: Account) -> list[Event]:
        if not levels_of(account.roles):
            raise NotFound("member of staff", account_id)
        on_internal = account.plan == plans.INTERNAL
        back = accounts.assign_plan(account, plans.FREE) if on_internal else []
        return appointments.dismiss(account) + back

    return await _change(ports, context, account_id, decide, reason)


async def _change(
    ports: Ports,
    context: Context,
    account_id: str,
    decide: Callable[[Account], list[Event]],
    reason: str | None,
) -> tuple[Account, int]:
    not_on_oneself(context.principal, account_id)

    async def attempt() -> tuple[Account, int]:
        stream = await known_account(ports, account_id)
        events = decide(stream.state)
        if not events:
            return stream.state, ports.directory.position
        now = ports.clock()
        changes, rows = await plan_change(ports, stream, events, now)
        account: Account = changes[0].state
        position = await commit(ports, context, now, changes, rows, result=account, reason=reason)
        return account, position

    return await retrying(attempt)


async def page(
    ports: Ports,
    principal: Principal,
    level: str | None,
    after: str | None,
    limit: int,
    at_least: int | None = None,
) -> Sequence[Account]:
    """So many members of staff, of this level or of any, after this id. Raises NotPermitted,
    PositionNotReached."""
    require(principal, "staff.manage")
    roles = tuple(RIGHTS) if level is None else (level,)
    return await ports.account_pages.page(AccountsWanted(roles=roles), after, limit, at_least)
