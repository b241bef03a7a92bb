"""Accounts that staff or a service make for somebody. They come without a password.

Nobody chooses a password for somebody else: the person sets it by a reset, or signs in by a code.
"""

from application.accounts import RegisterAccount, Registered, make_account
from application.deciding import Context
from application.ports import Ports
from domain.errors import InvalidCommand, NotPermitted
from domain.staff import Right

RIGHT: Right = "accounts.create"
PERMISSION = "accounts.manage"
EXTERNAL_ID = "external_id"
"""The kind of claim that keeps an external id to one account."""

MOST_EXTERNAL_ID = 200


async def make(
    ports: Ports, context: Context, command: RegisterAccount, reason: str | None
) -> tuple[Registered, int]:
    """Make this account, which has no password; answers it and the position.

    Raises NotPermitted, InvalidCommand (for staff that doesn't say why, too), Taken for an
    address, username or external id that somebody has.
    """
    principal = context.principal
    if principal.kind == "service":
        if PERMISSION not in principal.permissions:
            raise NotPermitted(PERMISSION)
    elif not principal.may(RIGHT):
        raise NotPermitted(RIGHT)
    if command.password is not None:
        raise InvalidCommand("password", "nobody chooses a password for somebody else")
    claims = [] if command.external_id is None else [(EXTERNAL_ID, command.external_id)]
    return await make_account(ports, context, command, claims, reason=reason)


def external_id(text: str) -> str:
    """What somebody else calls an account, as it is kept. InvalidCommand."""
    name = text.strip()
    if not 1 <= len(name) <= MOST_EXTERNAL_ID or not name.isprintable():
        raise InvalidCommand("external_id", f"1 to {MOST_EXTERNAL_ID} characters that can be seen")
    return name
