"""Second factors of an account: what adding, using and removing them means."""

from domain.account_events import (
    Factor,
    PasskeyAdded,
    PasskeyRemoved,
    RecoveryCodesIssued,
    RecoveryCodeUsed,
    TotpEnrolled,
    TotpRemoved,
)
from domain.accounts import Account
from domain.errors import NoSecondFactor, NotFound, TooManyPasskeys
from domain.event import Event
from domain.recovery_codes import COUNT

MAX_PASSKEYS = 20
FRESH_SECONDS = 600
"""For so long a sign-in counts as fresh enough to change factors (ASVS 5.0 V7.5.1)."""


def factors_of(account: Account) -> tuple[Factor, ...]:
    """What the account can prove a second factor with, the strongest first."""
    found: list[Factor] = []
    if account.passkeys:
        found.append("passkey")
    if account.totp:
        found.append("totp")
    if account.second_factor and account.recovery_codes:
        found.append("recovery_codes")
    return tuple(found)


def enrol_totp(account: Account) -> list[Event]:
    """Codes of an app are a factor from now on, in the place of those of an earlier app.
    Recovery codes come with it where `needs_codes`."""
    return [TotpEnrolled(), *_first_codes(account)]


def remove_totp(account: Account) -> list[Event]:
    """The app's codes count no more; NotFound where there is no app."""
    if not account.totp:
        raise NotFound("authenticator app", account.id)
    return [TotpRemoved(), *_void_codes(account, last=account.passkeys == 0)]


def add_passkey(account: Account, passkey_id: str, name: str | None) -> list[Event]:
    """Another passkey; as `enrol_totp`. Raises TooManyPasskeys."""
    if account.passkeys >= MAX_PASSKEYS:
        raise TooManyPasskeys(MAX_PASSKEYS)
    return [PasskeyAdded(passkey_id=passkey_id, name=name), *_first_codes(account)]


def remove_passkey(account: Account, passkey_id: str) -> list[Event]:
    """One passkey less; whether it is there is for the caller to know."""
    last = account.passkeys <= 1 and not account.totp
    return [PasskeyRemoved(passkey_id=passkey_id), *_void_codes(account, last=last)]


def issue_codes(account: Account) -> list[Event]:
    """New recovery codes in the place of all others. Raises NoSecondFactor."""
    if not account.second_factor:
        raise NoSecondFactor(account.id)
    return [RecoveryCodesIssued(count=COUNT)]


def use_code(account: Account) -> list[Event]:
    """One recovery code is spent."""
    return [RecoveryCodeUsed(left=max(0, account.recovery_codes - 1))]


def needs_codes(account: Account) -> bool:
    """Whether adding a factor comes with recovery codes: where none are left to fall back on."""
    return account.recovery_codes == 0


def _first_codes(account: Account) -> list[Event]:
    return [RecoveryCodesIssued(count=COUNT)] if needs_codes(account) else []


def _void_codes(account: Account, *, last: bool) -> list[Event]:
    # Codes without a factor would come back to life with the next one, long forgotten.
    return [RecoveryCodesIssued(count=0)] if last and account.recovery_codes else []
