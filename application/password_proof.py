"""Proving oneself by a name, its password and a second factor: what every door that takes a
password has in common. Who fails learns nothing of why: the same answer after the same work,
whether or not there is such an account (ASVS 5.0 V6.3.8).
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import TypeVar

import msgspec

from application.deciding import ACCOUNT, load, retrying
from application.errors import (
    MfaRequired,
    SignInsThrottled,
    TooManyAttempts,
    VersionConflict,
    WrongCredentials,
)
from application.known_account import KnownAccount
from application.ports import Ports
from application.reading_ports import Credential
from application.second_factors import Proof, SecondFactor, prove_second_factor
from application.throttling import (
    LoginTry,
    check_login,
    digest_of_name,
    login_failed,
    login_undone,
)
from domain import claims
from domain.accounts import Account
from domain.errors import InvalidCommand

T = TypeVar("T")


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, as far as the connection tells. `network` is what throttles count by."""

    network: str
    ip: str | None = None
    user_agent: str | None = None


class Presented(msgspec.Struct, frozen=True):
    """What somebody proves themselves by."""

    name: str
    password: str
    second: SecondFactor


class PasswordTry(msgspec.Struct, frozen=True):
    """A try that is counted, and what its password is checked against."""

    login: LoginTry
    presented: Presented
    credential: Credential | None

    @property
    def hash(self) -> str | None:
        """What the password is checked against; None where there is none."""
        return self.credential.hash if self.credential else None


async def begin(ports: Ports, presented: Presented, client: Client) -> PasswordTry:
    """Count the try, before anything of it is judged. Raises SignInsThrottled."""
    credential = await _credential_of(ports, presented.name)
    login = await check_login(
        ports,
        digest_of_name(ports, presented.name),
        client.network,
        credential.account_id if credential else None,
        second_factor=presented.second.presented,
    )
    return PasswordTry(login, presented, credential)


async def decided(
    ports: Ports, tried: PasswordTry, decide: Callable[[PasswordTry], Awaitable[T]]
) -> T:
    """What is decided of this try; where the account changed meanwhile, against what holds then."""
    looks = count()

    async def attempt() -> T:
        if not next(looks):
            return await decide(tried)
        found = await _credential_of(ports, tried.presented.name)
        return await decide(msgspec.structs.replace(tried, credential=found))

    return await retrying(attempt)


@asynccontextmanager
async def judged(ports: Ports, tried: PasswordTry) -> AsyncIterator[None]:
    """While the try is judged: whatever ends it without its being wrong uncounts it."""
    try:
        yield
    except (WrongCredentials, SignInsThrottled, TooManyAttempts):
        raise  # counted where it was found out
    except MfaRequired as missing:
        if missing.wrong is None:
            await login_undone(ports, tried.login)
        raise
    except BaseException:
        await login_undone(ports, tried.login)
        raise


async def account_of(ports: Ports, tried: PasswordTry) -> KnownAccount:
    """The account whose password this is; the same work where there is none.

    Raises WrongCredentials; VersionConflict where the account, and the password perhaps with
    it, changed while it was checked.
    """
    login, credential = tried.login, tried.credential
    # The same hashing for names that nobody has.
    right = await ports.passwords.verify(tried.hash, tried.presented.password)
    if not right or credential is None or credential.account_id != login.attempt.account_id:
        raise await login_failed(ports, login)
    stream = await load(ports, ACCOUNT, credential.account_id)
    if stream.state is None:
        raise await login_failed(ports, login)
    if stream.version != credential.version:
        raise VersionConflict
    # While the password alone opens nothing, only a second factor beside it does.
    if login.guarded and not stream.state.second_factor:
        raise await login_failed(ports, login)
    return KnownAccount(stream.noun, stream.id, stream.version, stream.state)


async def prove_factor(ports: Ports, tried: PasswordTry, account: Account) -> Proof:
    """What proves the second factor of who knows the password; a wrong one counts.

    Raises MfaRequired, TooManyAttempts; SignInsThrottled while the account is guarded.
    """
    try:
        return await prove_second_factor(ports, account, tried.presented.second)
    except (MfaRequired, TooManyAttempts) as refused:
        if isinstance(refused, MfaRequired) and refused.wrong is None:
            raise
        failure = await login_failed(ports, tried.login)
        raise failure if tried.login.guarded else refused from None


async def holder_of(ports: Ports, name: str) -> str | None:
    """Whose name this is: an address or a username; None for nobody's, after the same work."""
    kind, digests = _claim(ports, name)
    return await ports.lookups.claim_holder(kind, digests)


async def _credential_of(ports: Ports, name: str) -> Credential | None:
    """What the password of this name's holder is checked against; None for nobody's."""
    kind, digests = _claim(ports, name)
    return await ports.lookups.credential(kind, digests)


def _claim(ports: Ports, name: str) -> tuple[str, list[bytes]]:
    try:
        kind, text = claims.of_name(name)
    except InvalidCommand:
        kind, text = claims.EMAIL, ""
    return kind, ports.digests.claims(kind, text)
