"""Accounts: register, and what an account may see of itself."""

from collections.abc import Callable, Sequence

import msgspec

from application.deciding import (
    ACCOUNT,
    Context,
    change,
    commit,
    fresh,
    load,
    new_id,
    retrying,
)
from application.errors import RegistrationUnavailable
from application.ports import Ports
from application.rows import ClaimRow, PasswordRow, Row
from domain import accounts, plans
from domain import claims as names
from domain.accounts import Account, Profile
from domain.errors import InvalidCommand, NotFound, NotPermitted, UnknownPlan
from domain.event import Event

MIN_PASSWORD_CHARACTERS = 10
MAX_PASSWORD_CHARACTERS = 128


class RegisterAccount(msgspec.Struct, frozen=True, kw_only=True):
    """The command behind POST /v1/auth/register, and behind accounts that staff make.

    `roles` and `email_verified` are for the operator: no client can set them.
    """

    email: str
    password: str
    username: str | None = None
    profile: Profile = Profile()
    plan: str = plans.FREE
    roles: tuple[str, ...] = ()
    email_verified: bool = False


class Registered(msgspec.Struct, frozen=True):
    """A new account, with what only it may see."""

    account: Account
    email: str
    profile: Profile


async def register(
    ports: Ports, context: Context, command: RegisterAccount
) -> tuple[Registered, int]:
    """Make an account on a plan; answers it and the position. Its quota is the plan's.

    Raises Taken for an address or username that somebody has, InvalidCommand, UnknownPlan;
    RegistrationUnavailable where addresses must be proven and this one isn't.
    """
    if ports.policy.require_verified_email and not command.email_verified:
        raise RegistrationUnavailable
    return await make_account(ports, context, command)


async def make_account(
    ports: Ports,
    context: Context,
    command: RegisterAccount,
    claims: Sequence[tuple[str, str]] = (),
) -> tuple[Registered, int]:
    """`register` without its policy; `claims` are further things that only it may hold."""
    address = names.email(command.email)
    username = None if command.username is None else names.username(command.username)
    check_password(command.password)
    plan = ports.directory.plan(command.plan)
    if plan is None:
        raise UnknownPlan(command.plan)
    hash = await ports.passwords.hash(command.password)

    now = ports.clock()
    account_id = new_id(ports, "acct")
    events = accounts.register(account_id, address, username, command.profile, plan.name)
    if command.email_verified:
        events.append(accounts.EmailVerified())
    events += [accounts.RoleGranted(role=role) for role in command.roles]
    registered = change(fresh(ACCOUNT, account_id), events, now, account_id)
    claimed = [*claims, (names.EMAIL, address)]
    if username is not None:
        claimed.append((names.USERNAME, username))
    rows: list[Row] = [
        *(
            ClaimRow(kind, digest, account_id)
            for kind, text in claimed
            for digest in ports.digests.claims(kind, text)
        ),
        ports.vault.new_data_key(account_id),
        PasswordRow(account_id, hash),
    ]
    result = Registered(registered.state, address, command.profile)
    position = await commit(ports, context, now, [registered], rows, result=result)
    return result, position


def check_password(password: str) -> None:
    """Its length only, in characters (NIST SP 800-63B-4, 3.1.1.2: any Unicode, no rules of
    composition)."""
    if not MIN_PASSWORD_CHARACTERS <= len(password) <= MAX_PASSWORD_CHARACTERS:
        raise InvalidCommand(
            "password", f"{MIN_PASSWORD_CHARACTERS} to {MAX_PASSWORD_CHARACTERS} characters"
        )


async def profile(ports: Ports, account_id: str) -> Registered:
    """The account with what is personal, unsealed, for its owner. NotFound."""
    account: Account | None = None
    first: accounts.AccountRegistered | None = None
    for recorded in await ports.store.read(account_id, personal=True):
        account = ACCOUNT.evolve(account, recorded.event, recorded.metadata.at)
        if isinstance(recorded.event, accounts.AccountRegistered):
            first = recorded.event
    if account is None or first is None:
        raise NotFound("account", account_id)
    given = {field: getattr(first, field) for field in Profile.__struct_fields__}
    return Registered(account, first.email or "", Profile(**given))


async def find(ports: Ports, name: str) -> str:
    """The id of the account with this id, address or @username. NotFound."""
    if name.startswith("acct_"):
        return name
    kind, text = (
        (names.USERNAME, names.username(name.removeprefix("@")))
        if "@" not in name[1:]
        else (names.EMAIL, names.email(name))
    )
    holder = await ports.lookups.claim_holder(kind, ports.digests.claims(kind, text))
    if holder is None:
        raise NotFound("account", name)
    return holder


async def suspend(ports: Ports, context: Context, account_id: str, reason: str | None) -> int:
    """Stop everything of this account for now; staff only. Answers the position."""
    return await _decide(ports, context, account_id, accounts.suspend, reason)


async def reinstate(ports: Ports, context: Context, account_id: str, reason: str | None) -> int:
    """Undo a suspension; staff only. Answers the position."""
    return await _decide(ports, context, account_id, accounts.reinstate, reason)


async def _decide(
    ports: Ports,
    context: Context,
    account_id: str,
    decide: Callable[[Account], Sequence[Event]],
    reason: str | None,
) -> int:
    if not context.principal.is_staff:
        raise NotPermitted("staff")

    async def attempt() -> int:
        stream = await load(ports, ACCOUNT, account_id)
        if stream.state is None:
            raise NotFound("account", account_id)
        events = decide(stream.state)
        if not events:
            return ports.directory.position
        now = ports.clock()
        changes = [change(stream, events, now, account_id)]
        return await commit(ports, context, now, changes, reason=reason)

    return await retrying(attempt)
