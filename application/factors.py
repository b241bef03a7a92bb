"""Second factors of the own account: an authenticator app, recovery codes, passkeys.

Who changes them has just signed in, with the second factor where there is one, and in person:
a session that somebody took over, or staff that acts as the account, can't make itself at home
(ASVS 5.0 V7.5.1). The owner is told by mail of every change (SECURITY 6).
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from application import accounts
from application.deciding import (
    Context,
    Principal,
    change,
    commit,
    retrying,
)
from application.errors import FreshSignInRequired
from application.known_account import KnownAccount, known_account, require_active
from application.mail import Mail, MailTemplate, mail_row
from application.ports import Ports
from application.rows import MailRow, RecoveryCodesRow, Row, TotpGoneRow, TotpRow
from domain import factors, recovery_codes, totp
from domain.accounts import Account
from domain.errors import InvalidCommand, NotPermitted

ENROLMENT_SECONDS = 600
APP = "an authenticator app"


class OfferedTotp(msgspec.Struct, frozen=True):
    """A secret for an authenticator app, shown once. `uri` is what its QR code says."""

    secret: str
    uri: str
    expires_in: int = ENROLMENT_SECONDS


class Codes(msgspec.Struct, frozen=True):
    """Recovery codes, shown this once; none where those from before still count."""

    codes: tuple[str, ...] = ()


async def offer_totp(ports: Ports, principal: Principal) -> OfferedTotp:
    """Make a secret for an app. Nothing changes before a code of it is confirmed.

    Raises FreshSignInRequired, NotPermitted.
    """
    account = (await fresh_account(ports, principal)).state
    secret = ports.entropy(totp.SECRET_BYTES)
    sealed, master_key_id = ports.vault.seal_secret(secret, totp_bound_to(account.id))
    until = ports.clock() + timedelta(seconds=ENROLMENT_SECONDS)
    await ports.factors.offer_totp(account.id, sealed, master_key_id, until)
    address = await address_of(ports, account.id)
    return OfferedTotp(totp.base32(secret), totp.uri(secret, ports.policy.service_name, address))


async def confirm_totp(ports: Ports, context: Context, code: str) -> tuple[Codes, int]:
    """The app shows this code, so it has the secret: it is a second factor from now on.

    Answers recovery codes where there were none, and the position. The code counts as used.
    Raises InvalidCommand, FreshSignInRequired, NotPermitted.
    """

    async def attempt() -> tuple[Codes, int]:
        stream = await fresh_account(ports, context.principal)
        account, now = stream.state, ports.clock()
        offered = await ports.factors.offered_totp(account.id, now)
        if offered is None:
            raise InvalidCommand("code", "not what the app shows now, or its setup is over")
        secret = ports.vault.open_secret(
            offered.sealed, offered.master_key_id, totp_bound_to(account.id)
        )
        step = totp.matching_step(secret, code, now.timestamp(), offered.last_step)
        if step is None:
            raise InvalidCommand("code", "not what the app shows now, or its setup is over")
        codes, rows = first_codes(ports, account)
        rows.append(TotpRow(account.id, offered.sealed, offered.master_key_id, step))
        rows.append(await told(ports, "factor_added", account.id, now, APP))
        changes = [change(stream, factors.enrol_totp(account), now, account.id)]
        return codes, await commit(ports, context, now, changes, rows, result=codes)

    return await retrying(attempt)


async def remove_totp(ports: Ports, context: Context) -> int:
    """The app's codes count no more. Raises NotFound, FreshSignInRequired, NotPermitted."""

    async def attempt() -> int:
        stream = await fresh_account(ports, context.principal)
        account, now = stream.state, ports.clock()
        removed = change(stream, factors.remove_totp(account), now, account.id)
        rows: list[Row] = [
            TotpGoneRow(account.id),
            await told(ports, "factor_removed", account.id, now, APP),
            *void_codes(removed.state),
        ]
        return await commit(ports, context, now, [removed], rows)

    return await retrying(attempt)


async def issue_recovery_codes(ports: Ports, context: Context) -> tuple[Codes, int]:
    """Ten new recovery codes; those from before count no more.

    Raises NoSecondFactor, FreshSignInRequired, NotPermitted.
    """

    async def attempt() -> tuple[Codes, int]:
        stream = await fresh_account(ports, context.principal)
        account, now = stream.state, ports.clock()
        changes = [change(stream, factors.issue_codes(account), now, account.id)]
        codes, rows = _new_codes(ports, account.id)
        rows.append(await told(ports, "recovery_codes_issued", account.id, now))
        return codes, await commit(ports, context, now, changes, rows, result=codes)

    return await retrying(attempt)


async def fresh_account(ports: Ports, principal: Principal) -> KnownAccount:
    """The caller's account, if they may change its factors now.

    Raises FreshSignInRequired, NotPermitted where staff acts as the account, AccountNotActive.
    """
    if principal.impersonator is not None:
        raise NotPermitted("a sign-in of one's own")
    known = await known_account(ports, principal.account_id or "")
    require_active(known.state)
    require_fresh(ports, principal, known.state)
    return known


def require_fresh(ports: Ports, principal: Principal, account: Account) -> None:
    """The caller signed in less than ten minutes ago, with the second factor if the account has
    one. Raises FreshSignInRequired."""
    since = principal.signed_in_at
    if since is None or ports.clock() - since > timedelta(seconds=factors.FRESH_SECONDS):
        raise FreshSignInRequired
    if account.second_factor and "mfa" not in principal.amr:
        raise FreshSignInRequired


def first_codes(ports: Ports, account: Account) -> tuple[Codes, list[Row]]:
    """The codes that come with a first factor, and their row; neither where there are some."""
    if not factors.needs_codes(account):
        return Codes(), []
    return _new_codes(ports, account.id)


def void_codes(account: Account) -> list[Row]:
    """The row that drops the codes of an account that has no factor any more."""
    return [] if account.second_factor else [RecoveryCodesRow(account.id, [])]


def _new_codes(ports: Ports, account_id: str) -> tuple[Codes, list[Row]]:
    made = recovery_codes.codes(ports.entropy(recovery_codes.COUNT * recovery_codes.ENTROPY_BYTES))
    digests = [code_digests(ports, account_id, each)[0] for each in made]
    return Codes(tuple(made)), [RecoveryCodesRow(account_id, digests)]


def code_digests(ports: Ports, account_id: str, given: str) -> Sequence[bytes]:
    """What stands for a recovery code of this account, under every pepper in use; nothing for
    what can't be one."""
    code = recovery_codes.normal(given)
    return [] if code is None else ports.digests.claims("recovery_code", f"{account_id}:{code}")


async def told(
    ports: Ports, template: MailTemplate, account_id: str, now: datetime, factor: str | None = None
) -> MailRow:
    """The mail that tells the owner of a change, for the change's own transaction."""
    values = {} if factor is None else {"factor": factor}
    address = await address_of(ports, account_id)
    return mail_row(ports, Mail(template, address, values, account_id), now)


async def code_use_told(ports: Ports, account: Account, digest: bytes, now: datetime) -> MailRow:
    """The mail that tells the owner that this recovery code lets somebody in, for the sign-in's
    own transaction: once for each code, however often that is tried."""
    values = {"left": str(max(0, account.recovery_codes - 1))}
    once = f"recovery code {digest.hex()}"
    mail = Mail("recovery_code_used", await address_of(ports, account.id), values, account.id, once)
    return mail_row(ports, mail, now)


async def address_of(ports: Ports, account_id: str) -> str:
    """The account's address."""
    return (await accounts.profile(ports, account_id)).email


def totp_bound_to(account_id: str) -> str:
    """What the sealed secret of an account's app is bound to."""
    return f"totp:{account_id}"
