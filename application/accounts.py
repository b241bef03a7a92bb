"""Accounts: register, and what an account may see of itself."""

from collections.abc import Callable, Sequence

import msgspec

from application.claiming import claimed
from application.deciding import (
    ACCOUNT,
    Context,
    Stream,
    change,
    commit,
    fresh,
    new_id,
    retrying,
)
from application.known_account import known_account
from application.password_rules import require_acceptable, require_length, words_of
from application.persons import folded
from application.ports import Ports
from application.rows import PasswordRow, Row
from domain import accounts, plans, profiles
from domain import claims as names
from domain.accounts import Account, Profile
from domain.errors import NotFound, NotPermitted, UnknownPlan
from domain.event import Event
from domain.ids import is_id


class RegisterAccount(msgspec.Struct, frozen=True, kw_only=True):
    """The command behind POST /v1/auth/register, and behind accounts that staff make.

    `roles`, `email_verified` and `external_id` are for the operator, staff and services: no
    client can set them. Without a password only a code by mail, or a reset, opens the account.
    """

    email: str
    password: str | None
    username: str | None = None
    profile: Profile = Profile()
    plan: str = plans.FREE
    roles: tuple[str, ...] = ()
    email_verified: bool = False
    external_id: str | None = None


class Registered(msgspec.Struct, frozen=True):
    """A new account, with what only it may see."""

    account: Account
    email: str
    profile: Profile


async def register(
    ports: Ports, context: Context, command: RegisterAccount
) -> tuple[Registered, int]:
    """Make an account on a plan; answers it and the position. Its quota is the plan's.

    Raises Taken for an address or username that somebody has, InvalidCommand, UnknownPlan.
    Whether its address must be proven before is `application.registration`'s question.
    """
    if command.password is not None:
        await require_acceptable(ports, command.password, words_of_command(command))
    return await make_account(ports, context, command)


async def make_account(
    ports: Ports,
    context: Context,
    command: RegisterAccount,
    claims: Sequence[tuple[str, str]] = (),
    *,
    hash: str | None = None,
    rows: Sequence[Row] = (),
    reason: str | None = None,
) -> tuple[Registered, int]:
    """`register` without a judgement of the password but its length. `claims` are further things
    that only this account may hold; `hash` is of a password that was hashed already; `rows` are
    committed with it."""
    address = names.email(command.email)
    username = None if command.username is None else names.username(command.username)
    if command.password is not None:
        require_length(ports, command.password)
    plan = ports.directory.plan(command.plan)
    if plan is None:
        raise UnknownPlan(command.plan)

    now = ports.clock()
    account_id = new_id(ports, "acct")
    profile = profiles.checked(command.profile)
    events = accounts.register(
        account_id, address, username, profile, plan.name, command.external_id
    )
    if command.email_verified:
        events.append(accounts.EmailVerified())
    events += [accounts.RoleGranted(role=role) for role in command.roles]
    registered = change(fresh(ACCOUNT, account_id), events, now, account_id)
    held = [*claims, (names.EMAIL, address)]
    if username is not None:
        held.append((names.USERNAME, username))
    if command.password is not None:
        hash = await ports.passwords.hash(command.password)
    made = [*rows, *_first_rows(ports, account_id, held, hash)]
    result = Registered(registered.state, address, profile)
    position = await commit(ports, context, now, [registered], made, result=result, reason=reason)
    return result, position


def _first_rows(
    ports: Ports, account_id: str, claims: Sequence[tuple[str, str]], hash: str | None
) -> list[Row]:
    """What an account has from the first: its claims, the key of what is personal, a password."""
    rows: list[Row] = [
        row for kind, text in claims for row in claimed(ports, kind, text, account_id)
    ]
    rows.append(ports.vault.new_data_key(account_id))
    if hash is not None:
        rows.append(PasswordRow(account_id, hash))
    return rows


def words_of_command(command: RegisterAccount) -> tuple[str, ...]:
    """What a guesser knows of who registers."""
    return words_of(command.email, command.username, command.profile.name)


async def profile(ports: Ports, account_id: str) -> Registered:
    """The account with what is personal, unsealed, for its owner. NotFound."""
    return (await load_person(ports, account_id))[1]


async def load_person(ports: Ports, account_id: str) -> tuple[Stream[Account], Registered]:
    """The account's stream as it stands, with what is personal, unsealed. NotFound."""
    events = await ports.store.read(account_id, personal=True)
    found = folded(events)
    if found is None:
        raise NotFound("account", account_id)
    stream = Stream(ACCOUNT, account_id, events[-1].version, found.account)
    return stream, Registered(found.account, found.email or "", found.profile)


async def find(ports: Ports, name: str) -> str:
    """The id of the account with this id, address or @username. NotFound."""
    if name.startswith("acct_"):
        if not is_id("acct", name):
            raise NotFound("account", name)
        return name
    kind, text = names.of_name(name)
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
    if not context.principal.may("accounts.suspend"):
        raise NotPermitted("accounts.suspend")

    async def attempt() -> int:
        stream = await known_account(ports, account_id)
        events = decide(stream.state)
        if not events:
            return ports.directory.position
        now = ports.clock()
        changes = [change(stream, events, now, account_id)]
        return await commit(ports, context, now, changes, reason=reason)

    return await retrying(attempt)
