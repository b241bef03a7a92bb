"""The use cases on a real Postgres: what `main` wires together, with cheap passwords."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import VerificationError
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from application.accounts import RegisterAccount, register
from application.api_keys import IssuedApiKey, issue
from application.deciding import FOLLOWED, OPERATOR, PUBLIC, Context, Principal
from application.plans import publish_shipped
from application.ports import Policy, Ports
from domain.accounts import Account
from domain.allowances import Quota
from domain.api_keys import IssueApiKey
from infra.event_mapper import EventMapper
from infra.event_store import PostgresEventStore
from infra.postgres.lookups import PostgresLookups
from infra.postgres.read_models import PostgresReadModels
from infra.postgres.states import load_states
from infra.tokens import SignedTokens
from projections.key_directory import KeyDirectory
from tests.factories import DIGESTS, a_vault, an_id

PASSWORD = "correct horse battery"
SIGNING_KEY = Ed25519PrivateKey.from_private_bytes(b"s" * 32)


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


class House:
    """One process: its ports, its directory, and short ways to do what many tests do."""

    def __init__(self, url: str, policy: Policy) -> None:
        self.url = url
        self.vault = a_vault()
        self.store = PostgresEventStore(url, "log1", self.vault, EventMapper(), "decisions")
        self.lookups = PostgresLookups(url)
        self.directory = KeyDirectory({event: noun.evolve for event, noun in FOLLOWED.items()})
        self.passwords = CheapPasswords()
        self.ports = Ports(
            store=self.store,
            lookups=self.lookups,
            read_models=PostgresReadModels(self.lookups),
            directory=self.directory,
            digests=DIGESTS,
            passwords=self.passwords,
            vault=self.vault,
            tokens=SignedTokens({"k1": SIGNING_KEY}, "https://issuer", "tollhouse"),
            policy=policy,
            clock=lambda: datetime.now(UTC),
            entropy=os.urandom,
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
        following.cancel()
        await asyncio.wait([following])
        await house.lookups.close()
        await house.store.close()


def states(directory: KeyDirectory) -> dict[str, msgspec.Struct]:
    """Everything that a directory holds, by id, to compare two of them."""
    return directory.states()
