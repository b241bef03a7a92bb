"""The use cases on a real Postgres: what `main` wires together, with cheap passwords."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from application.accounts import RegisterAccount, register
from application.api_keys import IssuedApiKey, issue
from application.closing_ports import NoLedger
from application.deciding import FOLLOWED, OPERATOR, PUBLIC, Context, Principal
from application.ending import ended
from application.password_proof import Client, Presented
from application.plans import publish_shipped
from application.ports import Policy, Ports, Strength
from application.second_factors import SecondFactor
from application.sessions import SignedIn
from application.signing_in import by_password
from domain.accounts import Account
from domain.api_keys import IssueApiKey
from domain.quotas import Quota
from infra.event_mapper import EventMapper
from infra.event_store import PostgresEventStore
from infra.passkeys import WebAuthnPasskeys
from infra.password_strength import strength
from infra.postgres.account_pages import PostgresAccountPages
from infra.postgres.challenges import PostgresBreached, PostgresChallenges
from infra.postgres.closings import PostgresClosings
from infra.postgres.factors import PostgresFactors
from infra.postgres.log_pages import PostgresLogPages
from infra.postgres.lookups import PostgresLookups
from infra.postgres.read_models import PostgresReadModels
from infra.postgres.sessions import PostgresSessions
from infra.postgres.states import load_states
from infra.postgres.throttles import PostgresThrottles
from infra.refresh_tokens import PepperedRefreshTokens
from infra.signing_keys import Keyring, StoredSigningKeys, first_keys
from infra.tokens import SignedTokens
from projections.key_directory import KeyDirectory
from tests.factories import DIGESTS, a_vault, an_id

PASSWORD = "correct horse battery"


class CheapPasswords:
    """Argon2id at the lowest cost, in this process: for tests only."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        self.verified: list[str | None] = []

    async def hash(self, password: str) -> str:
        return self._hasher.hash(password.encode("utf-8", "surrogatepass"))

    async def verify(self, hash: str | None, password: str) -> bool:
        self.verified.append(hash)
        try:
            given = password.encode("utf-8", "surrogatepass")
            return hash is not None and self._hasher.verify(hash, given)
        except VerificationError:
            return False

    def needs_rehash(self, hash: str) -> bool:
        return not hash.startswith("$argon2id$")

    async def strength(self, password: str, words: Sequence[str]) -> Strength:
        return strength(password, words)


class House:
    """One process: its ports, its directory, and short ways to do what many tests do."""

    def __init__(self, url: str, policy: Policy) -> None:
        self.url = url
        self.vault = a_vault()
        self.store = PostgresEventStore(url, "log1", self.vault, EventMapper(), "decisions")
        self.lookups = PostgresLookups(url)
        self.directory = KeyDirectory({event: noun.evolve for event, noun in FOLLOWED.items()})
        self.directory.erased = self.vault.forget
        self.passwords = CheapPasswords()
        self.directory.gate.keep_for(policy.access_token_ttl_seconds)
        keys = first_keys(url, self.vault)
        self.ring = Keyring(keys, policy.access_token_ttl_seconds)
        self.ports = Ports(
            store=self.store,
            lookups=self.lookups,
            read_models=PostgresReadModels(self.lookups),
            log_pages=PostgresLogPages(self.lookups, self.vault),
            account_pages=PostgresAccountPages(self.lookups),
            directory=self.directory,
            digests=DIGESTS,
            passwords=self.passwords,
            vault=self.vault,
            tokens=SignedTokens(self.ring, "https://issuer", "tollhouse"),
            sessions=PostgresSessions(self.lookups),
            refresh_tokens=PepperedRefreshTokens(b"p" * 32),
            gate=self.directory.gate,
            signing_keys=StoredSigningKeys(self.lookups, self.vault, self.ring, days=90),
            throttles=PostgresThrottles(self.lookups),
            factors=PostgresFactors(self.lookups),
            passkeys=WebAuthnPasskeys(None, "Tollhouse"),
            closings=PostgresClosings(self.lookups),
            ledger=NoLedger(),
            policy=policy,
            clock=lambda: datetime.now(UTC),
            entropy=os.urandom,
            challenges=PostgresChallenges(self.lookups),
            breached=PostgresBreached(self.lookups),
        )

    async def account(self, email: str | None = None, plan: str = "free") -> Account:
        """Register somebody."""
        command = RegisterAccount(
            email=email or f"{an_id('u')}@example.org", password=PASSWORD, plan=plan
        )
        registered, _ = await register(self.ports, context(PUBLIC), command)
        return registered.account

    async def key(
        self, account: Account, name: str = "a key", quota: Quota | None = None
    ) -> IssuedApiKey:
        """Issue a key as the account's owner."""
        command = IssueApiKey(account_id=account.id, name=name)
        issued, _ = await issue(self.ports, context(owner(account)), command, quota)
        return issued


def context(principal: Principal = OPERATOR) -> Context:
    """A command of its own by this principal."""
    return Context(principal=principal, command_id=an_id("cmd"), request_id=an_id("req"))


def owner(account: Account) -> Principal:
    """Who has signed in to this account."""
    return Principal(kind="account", id=account.id, account_id=account.id)


async def sign_in(
    ports: Ports,
    context: Context,
    name: str,
    password: str,
    ip: str | None = None,
    user_agent: str | None = None,
) -> tuple[SignedIn, int]:
    """Sign in by a password alone, from a network of one's own."""
    client = Client(network=ip or "192.0.2.1", ip=ip, user_agent=user_agent)
    return await by_password(ports, context, Presented(name, password, SecondFactor()), client)


@asynccontextmanager
async def opened(url: str, policy: Policy | None = None) -> AsyncIterator[House]:
    """A process on this database: loads the states, and follows the log while it is open."""
    house = House(url, policy or Policy())
    await house.lookups.open()
    house.directory.start_at(await load_states(url, house.directory))
    steps = house.store.follow(house.directory.position)
    following = asyncio.create_task(house.directory.run(steps))
    try:
        await publish_shipped(house.ports, an_id("cmd"))
        yield house
    finally:
        await ended(following)
        await house.lookups.close()
        await house.store.close()


def states(directory: KeyDirectory) -> dict[str, msgspec.Struct]:
    """Everything that a directory holds, by id, to compare two of them."""
    return directory.states()
