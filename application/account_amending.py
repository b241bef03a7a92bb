"""Staff change an account: each field by a right of its own, all or nothing, with a reason.

The owner is told where it matters to them: of another address, at the old one.
"""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from application.account_reading import seen_by
from application.claiming import moved
from application.deciding import ACCOUNT, Context, Stream, change, commit, retrying
from application.mail import Mail, mail_row
from application.persons import AccountView, folded
from application.ports import Ports
from application.rows import Row
from application.staff_permits import permit_on
from domain import account_changes, claims, profiles
from domain.errors import AccountNotActive, NotFound
from domain.event import Event
from domain.staff import Right


class AmendAccount(msgspec.Struct, frozen=True, kw_only=True):
    """What is to change; UNSET is left. `profile` holds fields of a Profile."""

    email: str | UnsetType = UNSET
    username: str | UnsetType | None = UNSET
    note: str | UnsetType | None = UNSET
    roles: tuple[str, ...] | UnsetType = UNSET
    profile: dict[str, Any] = {}

    def rights(self) -> list[Right]:
        """What it takes to change this."""
        needed: list[Right] = []
        if self.email is not UNSET:
            needed.append("accounts.email")
        if self.username is not UNSET or self.profile:
            needed.append("accounts.change")
        if self.note is not UNSET:
            needed.append("accounts.notes")
        if self.roles is not UNSET:
            needed.append("accounts.roles")
        return needed or ["accounts.change"]


async def amend(
    ports: Ports, context: Context, account_id: str, command: AmendAccount, reason: str
) -> tuple[AccountView, int]:
    """Change what is given; answers the account as the principal sees it, and the position.

    Another address isn't proven: the owner is asked to, and the old address is told. Raises
    NotPermitted, OnOneself, NotFound, AccountNotActive for one that is closed or erased,
    InvalidCommand, Taken.
    """

    async def attempt() -> tuple[AccountView, int]:
        recorded = await ports.store.read(account_id, personal=True)
        known = folded(recorded)
        if known is None:
            raise NotFound("account", account_id)
        for right in command.rights():
            permit_on(context.principal, known.account, right)
        if known.account.status in ("closed", "erased"):
            raise AccountNotActive(account_id, known.account.status)
        events, after = _decided(known, command)
        if not events:
            return seen_by(context.principal, known), ports.directory.position
        now = ports.clock()
        stream = Stream(ACCOUNT, account_id, recorded[-1].version, known.account)
        changed = change(stream, events, now, account_id)
        after = msgspec.structs.replace(after, account=changed.state)
        rows = _claims(ports, known, after)
        if after.email != known.email and known.email:
            values = {"at": f"{now:%Y-%m-%d %H:%M} UTC"}
            letter = Mail("email_changed", known.email, values, account_id)
            rows.append(mail_row(ports, letter, now))
        result = seen_by(context.principal, after)
        position = await commit(ports, context, now, [changed], rows, result=result, reason=reason)
        return result, position

    return await retrying(attempt)


def _decided(known: AccountView, command: AmendAccount) -> tuple[list[Event], AccountView]:
    """The events, and the view with what they say but the account's own state."""
    account, after = known.account, known
    replace = msgspec.structs.replace
    wanted = replace(known.profile, **command.profile)
    events = profiles.change(known.profile, wanted)
    after = replace(after, profile=profiles.checked(wanted, known.profile))
    if command.username is not UNSET:
        name = None if command.username is None else claims.username(command.username)
        events += profiles.rename(account.username, name)
    if command.email is not UNSET:
        address = claims.email(command.email)
        events += account_changes.change_email(known.email, address)
        after = replace(after, email=address)
    if command.note is not UNSET:
        events += account_changes.write_note(known.note, command.note)
        after = replace(after, note=command.note)
    if command.roles is not UNSET:
        events += account_changes.set_roles(account, command.roles)
    return events, after


def _claims(ports: Ports, known: AccountView, after: AccountView) -> list[Row]:
    """What the account gives up, and what it holds instead."""
    rows: list[Row] = []
    for kind, before, now in (
        (claims.EMAIL, known.email, after.email),
        (claims.USERNAME, known.account.username, after.account.username),
    ):
        if before != now:
            rows += moved(ports, kind, before, now, known.account.id)
    return rows
