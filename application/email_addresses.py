"""Addresses of accounts: proven by a mailed code, and changed with a proof of the new one.

The old address is told of every change (SECURITY 6). What was begun for an address proves
nothing any more once the account has another one.
"""

from application import challenges
from application.accounts import Registered, load_person
from application.challenges import Begun, Verified
from application.claiming import moved
from application.deciding import ACCOUNT, Context, change, commit, load, retrying
from application.errors import WrongCode, WrongCredentials
from application.factors import require_fresh
from application.mail import Mail, mail_row
from application.passwords import proven
from application.ports import Ports
from application.rows import Row
from domain import accounts, claims
from domain.accounts import EmailChanged
from domain.errors import InvalidCommand, NotFound


async def mark_verified(ports: Ports, context: Context, verified: Verified) -> int:
    """The address that was proven is known to reach its owner; answers the position. Nothing
    happens where nobody has it, or has another one by now."""
    account_id = verified.account_id
    digests = ports.digests.claims(claims.EMAIL, verified.address)
    if account_id is None or await ports.lookups.claim_holder(claims.EMAIL, digests) != account_id:
        return ports.directory.position

    async def attempt() -> int:
        stream = await load(ports, ACCOUNT, account_id)
        events = [] if stream.state is None else accounts.verify_email(stream.state)
        if not events:
            return ports.directory.position
        now = ports.clock()
        return await commit(ports, context, now, [change(stream, events, now, account_id)])

    return await retrying(attempt)


async def begin_change(
    ports: Ports, context: Context, address: str, password: str | None, network: str
) -> Begun:
    """Mail a code to the address that who calls wants to have. The answer is the same whether
    or not somebody has it.

    Takes the password, or a sign-in of the last ten minutes: a token that was left behind moves
    no account. Raises InvalidCommand, TooManyAttempts, WrongCredentials, FreshSignInRequired.
    """
    principal = context.principal
    account_id = principal.account_id or ""
    address = claims.email(address)
    _, person = await load_person(ports, account_id)
    if password is not None:
        await proven(ports, account_id, password, network)
    else:
        require_fresh(ports, principal, person.account)
    if person.email == address:
        raise InvalidCommand("email", "the address that the account has")
    return await challenges.begin(
        ports,
        "change_email",
        address,
        account_id=account_id,
        network=network,
        context=context,
    )


async def confirm_change(
    ports: Ports, context: Context, challenge_id: str, code: str
) -> tuple[Registered, int]:
    """The account has the address that was proven; answers it and the position. The old address
    is told. Raises WrongCode, Taken."""
    judged = await challenges.judge(ports, challenge_id, "change_email", code)
    if judged.account_id is None or judged.account_id != context.principal.account_id:
        raise WrongCode
    try:
        return await _change(
            ports, context, judged.account_id, judged.address, rows=[judged.spent], verified=True
        )
    except WrongCredentials:  # another request with this code was first
        raise WrongCode from None


async def replace(
    ports: Ports, context: Context, account_id: str, address: str, reason: str | None = None
) -> tuple[Registered, int]:
    """The account has this address, which nobody has proven: for staff, whose right to do so is
    the caller's to check. The old address is told. Raises InvalidCommand, Taken, NotFound."""
    return await _change(ports, context, account_id, claims.email(address), reason=reason)


async def _change(
    ports: Ports,
    context: Context,
    account_id: str,
    address: str,
    *,
    rows: list[Row] | None = None,
    verified: bool = False,
    reason: str | None = None,
) -> tuple[Registered, int]:
    async def attempt() -> tuple[Registered, int]:
        stream, person = await load_person(ports, account_id)
        if person.account.status == "erased":
            raise NotFound("account", account_id)
        if person.email == address:
            return person, ports.directory.position
        now = ports.clock()
        made = change(stream, [EmailChanged(email=address, verified=verified)], now, account_id)
        written: list[Row] = [
            *(rows or []),
            *moved(ports, claims.EMAIL, person.email, address, account_id),
            mail_row(ports, Mail("email_changed", person.email, account_id=account_id), now),
        ]
        changed = Registered(made.state, address, person.profile)
        position = await commit(ports, context, now, [made], written, result=changed, reason=reason)
        return changed, position

    return await retrying(attempt)
