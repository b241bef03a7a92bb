"""Second factors at sign-in: a code of the app, a recovery code, or a passkey, which is both."""

from collections.abc import Sequence

import msgspec
import structlog

from application import passkey_challenges
from application.errors import MfaRequired, TooManyAttempts, WrongCredentials
from application.factor_ports import HeldPasskey, Json, PasskeyRefused, UsedPasskey
from application.factors import code_digests, code_use_told, totp_bound_to
from application.passkey_challenges import Challenge
from application.ports import Ports
from application.rows import RecoveryCodeUsedRow, Row
from domain import factors, totp
from domain.accounts import Account
from domain.event import Event

log = structlog.get_logger()

BY_PASSKEY = ("pop", "user", "mfa")
"""Methods by RFC 8176. `mfa` is what says that a second factor was proven; a passkey proves two,
since its authenticator verified the user."""

NAMES = {"passkey": "passkey", "totp": "totp", "recovery_codes": "recovery_code"}
"""What a sign-in calls the factors of the domain."""


class SecondFactor(msgspec.Struct, frozen=True, kw_only=True):
    """What was presented beside the first factor: one of these, or nothing."""

    totp: str | None = None
    recovery_code: str | None = None
    passkey: Json | None = None

    @property
    def presented(self) -> bool:
        """Whether there is one."""
        return self.field is not None

    @property
    def field(self) -> str | None:
        """What it is called."""
        given = (name for name in self.__struct_fields__ if getattr(self, name) is not None)
        return next(given, None)


class Proof(msgspec.Struct, frozen=True):
    """What a factor adds to the sign-in: methods, and what is committed with the session."""

    amr: tuple[str, ...] = ()
    events: Sequence[Event] = ()
    rows: Sequence[Row] = ()


async def prove_second_factor(ports: Ports, account: Account, second: SecondFactor) -> Proof:
    """What proves the second factor; nothing where the account has none. Raises MfaRequired."""
    if not account.second_factor:
        return Proof()
    proof: Proof | None = None
    if second.totp is not None:
        proof = await _totp(ports, account, second.totp)
    elif second.recovery_code is not None:
        proof = await _recovery_code(ports, account, second.recovery_code)
    elif second.passkey is not None:
        proof = await _passkey(ports, account, second.passkey)
    if proof is None:
        known = tuple(NAMES[each] for each in factors.factors_of(account))
        raise MfaRequired(known, wrong=second.field)
    return proof


async def _totp(ports: Ports, account: Account, given: str) -> Proof | None:
    """A code of the app. Counted before it is looked at, used up before it counts: so neither
    many guesses at once nor many sign-ins with one code get further than one would."""
    now = ports.clock()
    held = await ports.factors.totp_to_try(account.id, now, ports.policy.totp_guesses_per_hour)
    if held is None:
        if not account.totp:
            return None
        raise TooManyAttempts("totp", ports.policy.totp_guesses_per_hour, 3600, 3600)
    secret = ports.vault.open_secret(held.sealed, held.master_key_id, totp_bound_to(account.id))
    step = totp.matching_step(secret, given, now.timestamp(), held.last_step)
    if step is None or not await ports.factors.use_totp(account.id, step):
        return None
    return Proof(("otp", "mfa"))


async def _recovery_code(ports: Ports, account: Account, given: str) -> Proof | None:
    """A recovery code. The event that spends it is at the account's next version: of two
    sign-ins with one code, one has to decide again, and finds it gone."""
    digests = code_digests(ports, account.id, given)
    found = await ports.factors.recovery_code_among(account.id, digests)
    if found is None:
        return None
    told = await code_use_told(ports, account, found, ports.clock())
    spent = RecoveryCodeUsedRow(account.id, found)
    return Proof(("otp", "mfa"), factors.use_code(account), (spent, told))


async def _passkey(ports: Ports, account: Account, credential: Json) -> Proof | None:
    """A passkey of this account."""
    try:
        asserted = await assert_passkey(ports, credential)
        if asserted.held.account_id != account.id:
            return None
        await use_passkey(ports, asserted)
    except WrongCredentials:
        return None
    return Proof(BY_PASSKEY)


class Asserted(msgspec.Struct, frozen=True):
    """A passkey that was there, was meant for us, and answers a challenge of ours."""

    held: HeldPasskey
    used: UsedPasskey
    challenge: Challenge


async def assert_passkey(ports: Ports, credential: Json) -> Asserted:
    try:
        given = ports.passkeys.challenge_of(credential)
        challenge = passkey_challenges.opened(ports, given, "sign_in")
        if challenge is None:
            raise WrongCredentials
        held = await ports.factors.passkey(ports.passkeys.credential_id_of(credential))
        if held is None:
            raise WrongCredentials
        used = ports.passkeys.asserted(credential, given, held)
    except PasskeyRefused as refused:
        log.info("passkey_refused", reason=str(refused)[:200])
        raise WrongCredentials from refused
    return Asserted(held, used, challenge)


async def use_passkey(ports: Ports, asserted: Asserted) -> None:
    """Use the challenge up, and take note of the authenticator's counter (WebAuthn, 7.2.22)."""
    held, used, challenge = asserted.held, asserted.used, asserted.challenge
    if not await ports.factors.use_passkey(
        held.passkey_id,
        used.sign_count,
        used.backed_up,
        challenge.digest,
        challenge.expires_at,
        ports.clock(),
    ):
        log.warning("passkey_used_twice", passkey_id=held.passkey_id)
        raise WrongCredentials
