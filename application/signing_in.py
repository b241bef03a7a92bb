"""Signing in: the whole decision, from what was presented to the session.

A password, or a code that was mailed in its place, is one factor; where the account has a second
one, nothing opens without it. A passkey is both. Who fails learns nothing of why: the same
answer after the same work, whether or not there is such an account (ASVS 5.0 V6.3.8). What is
known only to who got the password right is said then: that a factor is missing, that the account
is suspended.
"""

from collections.abc import Sequence
from itertools import count
from typing import Any

import msgspec
import structlog

from application import challenges, passkey_challenges, sessions
from application.deciding import ACCOUNT, Change, Context, Stream, change, load, retrying
from application.errors import (
    MfaRequired,
    SignInsThrottled,
    TooManyAttempts,
    VersionConflict,
    WrongCredentials,
)
from application.factor_ports import HeldPasskey, Json, PasskeyRefused, UsedPasskey
from application.factors import code_digests, code_use_told, totp_bound_to
from application.passkey_challenges import Challenge
from application.ports import Ports
from application.reading_ports import Credential
from application.rows import PasswordRow, RecoveryCodeUsedRow, Row
from application.sessions import SignedIn
from application.throttling import (
    LoginTry,
    check_login,
    digest_of_name,
    login_failed,
    login_succeeded,
    login_undone,
    opened,
)
from domain import accounts, claims, factors, totp
from domain.accounts import Account
from domain.errors import AccountNotActive, InvalidCommand
from domain.event import Event

log = structlog.get_logger()

BY_PASSWORD = ("pwd",)
BY_MAIL = ("otp",)
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


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, as far as the connection tells. `network` is what throttles count by."""

    network: str
    ip: str | None = None
    user_agent: str | None = None


class Proof(msgspec.Struct, frozen=True):
    """What a factor adds to the sign-in: methods, and what is committed with the session."""

    amr: tuple[str, ...] = ()
    events: Sequence[Event] = ()
    rows: Sequence[Row] = ()


async def by_password(
    ports: Ports,
    context: Context,
    name: str,
    password: str,
    second: SecondFactor,
    client: Client,
) -> tuple[SignedIn, int]:
    """Sign in by address or username, password, and a second factor where there is one.

    Raises WrongCredentials; SignInsThrottled before anything was judged; MfaRequired,
    TooManyAttempts (of the app's codes) and AccountNotActive for who knows the password.
    """
    name = name.encode("utf-8", "replace").decode()  # half a surrogate pair has no digest
    found = await credential_of(ports, name)
    login = await check_login(
        ports,
        digest_of_name(ports, name),
        client.network,
        found.account_id if found else None,
        second_factor=second.presented,
    )
    looks = count()

    async def attempt() -> tuple[SignedIn, int]:
        credential = await credential_of(ports, name) if next(looks) else found
        return await _by_password(ports, context, login, credential, password, second, client)

    try:
        return await retrying(attempt)
    except (WrongCredentials, SignInsThrottled, TooManyAttempts):
        raise  # counted where it was found out
    except MfaRequired as missing:
        if missing.wrong is None:
            await login_undone(ports, login)
        raise
    except BaseException:
        await login_undone(ports, login)
        raise


async def by_token(
    ports: Ports,
    context: Context,
    token: str,
    name: str | None,
    second: SecondFactor,
    client: Client,
) -> tuple[SignedIn, int]:
    """Sign in with the proof of a mailed code in the place of the password.

    It is never the second factor. Opens a locked account, as nothing was guessed. The token
    stays good while a factor is missing. Raises WrongCredentials, MfaRequired, AccountNotActive.
    """

    async def attempt() -> tuple[SignedIn, int]:
        redeemed = await challenges.redeem(ports, token, "sign_in")
        if name is not None and await holder_of(ports, name) != redeemed.account_id:
            raise WrongCredentials
        stream = await load(ports, ACCOUNT, redeemed.account_id)
        account = stream.state
        if account is None:
            raise WrongCredentials
        proven = accounts.verify_email(account)  # the code went to this very address
        _require_active(ports, account, verified=True)
        proof = await prove_second_factor(ports, account, second)
        now = ports.clock()
        return await sessions.start(
            ports,
            context,
            account,
            _methods(BY_MAIL, proof),
            ip=client.ip,
            user_agent=client.user_agent,
            changes=_changes(ports, stream, [*proven, *proof.events]),
            rows=[*proof.rows, redeemed.spent, *opened(ports, account.id, client.network, now)],
        )

    return await retrying(attempt)


def passkey_options(ports: Ports) -> Json:
    """What `navigator.credentials.get` takes; good for five minutes and once."""
    challenge = passkey_challenges.make(ports, "sign_in")
    return ports.passkeys.request_options(challenge, passkey_challenges.TTL_SECONDS)


async def by_passkey(
    ports: Ports, context: Context, credential: Json, client: Client
) -> tuple[SignedIn, int]:
    """Sign in with a passkey alone. Raises WrongCredentials, AccountNotActive."""
    asserted = await _asserted(ports, credential)

    async def attempt() -> tuple[SignedIn, int]:
        account = (await load(ports, ACCOUNT, asserted.held.account_id)).state
        if account is None:
            raise WrongCredentials
        _require_active(ports, account)
        return await sessions.start(
            ports,
            context,
            account,
            BY_PASSKEY,
            ip=client.ip,
            user_agent=client.user_agent,
            rows=opened(ports, account.id, client.network, ports.clock()),
        )

    await _use(ports, asserted)
    return await retrying(attempt)


async def _by_password(
    ports: Ports,
    context: Context,
    login: LoginTry,
    credential: Credential | None,
    password: str,
    second: SecondFactor,
    client: Client,
) -> tuple[SignedIn, int]:
    # The same hashing for names that nobody has.
    hash = credential.hash if credential else None
    right = await ports.passwords.verify(hash, password)
    if not right or credential is None or credential.account_id != login.attempt.account_id:
        raise await login_failed(ports, login)
    stream = await load(ports, ACCOUNT, credential.account_id)
    account = stream.state
    if account is None:
        raise await login_failed(ports, login)
    if stream.version != credential.version:
        raise VersionConflict  # changed while it was checked, and the password perhaps with it
    if login.guarded and not account.second_factor:
        raise await login_failed(ports, login)
    if not login.guarded:
        _require_active(ports, account)
    try:
        proof = await prove_second_factor(ports, account, second)
    except (MfaRequired, TooManyAttempts) as refused:
        if isinstance(refused, MfaRequired) and refused.wrong is None:
            raise
        failure = await login_failed(ports, login)
        raise failure if login.guarded else refused from None
    _require_active(ports, account)
    now = ports.clock()
    rows = [*proof.rows, *login_succeeded(ports, login, now)]
    if hash is not None and ports.passwords.needs_rehash(hash):
        rows.append(PasswordRow(account.id, await ports.passwords.hash(password)))
    return await sessions.start(
        ports,
        context,
        account,
        _methods(BY_PASSWORD, proof),
        ip=client.ip,
        user_agent=client.user_agent,
        changes=_changes(ports, stream, proof.events),
        rows=rows,
    )


async def holder_of(ports: Ports, name: str) -> str | None:
    """Whose name this is: an address or a username; None for nobody's, after the same work."""
    kind, digests = _claim(ports, name)
    return await ports.lookups.claim_holder(kind, digests)


async def credential_of(ports: Ports, name: str) -> Credential | None:
    """What the password of this name's holder is checked against; None for nobody's."""
    kind, digests = _claim(ports, name)
    return await ports.lookups.credential(kind, digests)


def _claim(ports: Ports, name: str) -> tuple[str, list[bytes]]:
    try:
        kind, text = claims.of_name(name)
    except InvalidCommand:
        kind, text = claims.EMAIL, ""
    return kind, ports.digests.claims(kind, text)


def _require_active(ports: Ports, account: Account, *, verified: bool = False) -> None:
    if account.status != "active":
        raise AccountNotActive(account.id, account.status)
    if ports.policy.require_verified_email and not (account.email_verified or verified):
        raise AccountNotActive(account.id, "unverified")


def _methods(first: tuple[str, ...], proof: Proof) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *proof.amr)))


def _changes(ports: Ports, stream: Stream[Account], events: Sequence[Event]) -> list[Change[Any]]:
    return [change(stream, events, ports.clock(), stream.id)] if events else []


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
        asserted = await _asserted(ports, credential)
        if asserted.held.account_id != account.id:
            return None
        await _use(ports, asserted)
    except WrongCredentials:
        return None
    return Proof(BY_PASSKEY)


class _Asserted(msgspec.Struct, frozen=True):
    """A passkey that was there, was meant for us, and answers a challenge of ours."""

    held: HeldPasskey
    used: UsedPasskey
    challenge: Challenge


async def _asserted(ports: Ports, credential: Json) -> _Asserted:
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
    return _Asserted(held, used, challenge)


async def _use(ports: Ports, asserted: _Asserted) -> None:
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
