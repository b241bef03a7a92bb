"""Import: accounts that were made elsewhere come with their passwords' hashes, not their passwords.

A hash is checked as the other system made it, and replaced by ours at the first sign-in. What is
wrong with an item is said of it, and the others are imported: a list of a million people always
has some that can't be, and nobody should have to find them one by one. What is imported of one
call is one transaction.
"""

import asyncio
from collections.abc import Sequence

import msgspec

from application.account_making import EXTERNAL_ID, PERMISSION, RIGHT, external_id
from application.deciding import ACCOUNT, Change, Context, change, commit, fresh, new_id
from application.ports import Ports
from application.rows import ClaimRow, PasswordRow, Row
from domain import accounts, claims, foreign_hashes, plans
from domain.accounts import Account, Profile
from domain.errors import ImportFault, ImportRefused, InvalidCommand, NotPermitted, Taken
from domain.event import Event

MAX_ITEMS = 1_000
AT_ONCE = 50
ATTEMPTS = 4

_WHAT = {claims.EMAIL: "email", claims.USERNAME: "username", EXTERNAL_ID: "external_id"}


class ImportedAccount(msgspec.Struct, frozen=True, kw_only=True):
    """One account to bring in. Without a hash its owner sets a password by a reset.
    `email_verified`: the other system had proven the address."""

    email: str
    username: str | None = None
    external_id: str | None = None
    password_hash: str | None = None
    email_verified: bool = False
    plan: str = plans.FREE
    profile: Profile = Profile()


class Imported(msgspec.Struct, frozen=True):
    """An item that became an account. Ids only: the answer is kept for its Idempotency-Key."""

    index: int
    id: str


class ImportReport(msgspec.Struct, frozen=True):
    """What became of the items: each is in one of the two, in their order."""

    imported: list[Imported]
    refused: list[ImportFault]


class _Checked(msgspec.Struct, frozen=True):
    index: int
    item: ImportedAccount
    claimed: dict[str, str]
    digests: dict[bytes, str]
    """Digests of what it claims, by the kind of claim."""


async def bring_in(
    ports: Ports, context: Context, items: Sequence[ImportedAccount], reason: str | None = None
) -> tuple[ImportReport, int]:
    """Bring in these accounts, those that can be; answers the report and the position.

    Raises NotPermitted, InvalidCommand for none or too many items, and ImportRefused where not
    one of them can be imported.
    """
    principal = context.principal
    if not principal.may(RIGHT) and PERMISSION not in principal.permissions:
        raise NotPermitted(RIGHT if principal.kind == "account" else PERMISSION)
    if principal.kind == "account" and not (reason and reason.strip()):
        raise InvalidCommand("reason", "staff says why")
    if not 1 <= len(items) <= MAX_ITEMS:
        raise InvalidCommand("items", f"1 to {MAX_ITEMS}")
    faults: dict[int, ImportFault] = {}
    checked = await _checked(ports, items, faults)
    for attempt in range(ATTEMPTS):
        left = await _untaken(ports, checked, faults)
        if not left:
            raise ImportRefused([faults[index] for index in sorted(faults)], len(items))
        try:
            return await _make(ports, context, left, faults, reason)
        except Taken:  # by somebody who registers at this moment: look again at what is left
            if attempt == ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


async def _checked(
    ports: Ports, items: Sequence[ImportedAccount], faults: dict[int, ImportFault]
) -> list[_Checked]:
    """Those that are right in themselves and not twice in the list."""
    first: dict[bytes, int] = {}
    found = []
    for index, item in enumerate(items):
        if index % AT_ONCE == 0:
            await asyncio.sleep(0)  # verifications go first
        try:
            each = _check(ports, index, item)
        except InvalidCommand as error:
            faults[index] = ImportFault(index, error.param, error.reason)
            continue
        twice = next((digest for digest in each.digests if digest in first), None)
        if twice is not None:
            reason = f"is that of items[{first[twice]}], too"
            faults[index] = ImportFault(index, _WHAT[each.digests[twice]], reason)
            continue
        first |= dict.fromkeys(each.digests, index)
        found.append(each)
    return found


def _check(ports: Ports, index: int, item: ImportedAccount) -> _Checked:
    """The item with what it claims. InvalidCommand."""
    claimed = {claims.EMAIL: claims.email(item.email)}
    if item.username is not None:
        claimed[claims.USERNAME] = claims.username(item.username)
    if item.external_id is not None:
        claimed[EXTERNAL_ID] = external_id(item.external_id)
    if item.password_hash is not None:
        try:
            foreign_hashes.parse(item.password_hash)
        except ValueError as error:
            raise InvalidCommand("password_hash", str(error)) from None
    plan = ports.directory.plan(item.plan)
    if plan is None or plan.retired or plan.name == plans.INTERNAL:
        raise InvalidCommand("plan", "no plan that takes new accounts")
    accounts.register("", item.email, None, item.profile, plan.name)  # judges the profile
    digests: dict[bytes, str] = {}
    for kind, text in claimed.items():
        digests |= dict.fromkeys(ports.digests.claims(kind, text), kind)
    return _Checked(index, item, claimed, digests)


async def _untaken(
    ports: Ports, checked: list[_Checked], faults: dict[int, ImportFault]
) -> list[_Checked]:
    """Those whose address, name and id nobody has; what is said of the others goes to `faults`."""
    wanted = [digest for each in checked for digest in each.digests]
    held = await ports.closings.held_claims(wanted)
    left = []
    for each in checked:
        taken = next((digest for digest in each.digests if digest in held), None)
        if taken is None:
            left.append(each)
        else:
            kind = _WHAT[each.digests[taken]]
            faults[each.index] = ImportFault(each.index, kind, "an account here has it already")
    return left


async def _make(
    ports: Ports,
    context: Context,
    checked: list[_Checked],
    faults: dict[int, ImportFault],
    reason: str | None,
) -> tuple[ImportReport, int]:
    now = ports.clock()
    changes: list[Change[Account]] = []
    claimed: list[Row] = []
    data_keys: list[Row] = []
    passwords: list[Row] = []
    imported = []
    for number, each in enumerate(checked):
        if number % AT_ONCE == 0:
            await asyncio.sleep(0)
        account_id = new_id(ports, "acct")
        events = _events(account_id, each)
        changes.append(change(fresh(ACCOUNT, account_id), events, now, account_id))
        claimed += [ClaimRow(kind, digest, account_id) for digest, kind in each.digests.items()]
        data_keys.append(ports.vault.new_data_key(account_id))
        if each.item.password_hash is not None:
            passwords.append(PasswordRow(account_id, each.item.password_hash))
        imported.append(Imported(each.index, account_id))
    report = ImportReport(imported, [faults[index] for index in sorted(faults)])
    # In runs, which are written at once.
    rows = [*claimed, *data_keys, *passwords]
    return report, await commit(ports, context, now, changes, rows, result=report, reason=reason)


def _events(account_id: str, each: _Checked) -> list[Event]:
    item, claimed = each.item, each.claimed
    events = accounts.register(
        account_id,
        claimed[claims.EMAIL],
        claimed.get(claims.USERNAME),
        item.profile,
        item.plan,
        claimed.get(EXTERNAL_ID),
    )
    return [*events, accounts.EmailVerified()] if item.email_verified else events
