"""Accounts: one address has one account, and what is personal is nowhere in plain."""

import asyncio

import msgspec
import psycopg
import pytest

from application import accounts
from application.accounts import RegisterAccount
from application.deciding import PUBLIC
from application.rules import account_rules
from domain.accounts import Profile
from domain.errors import (
    AccountNotActive,
    InvalidCommand,
    NotFound,
    NotPermitted,
    Taken,
    UnknownPlan,
)
from infra.digests import PepperedDigests
from tests.application.house import PASSWORD, House, context, opened, owner, sign_in

pytestmark = pytest.mark.anyio


def asked(email: str = "ada@example.org", **fields: object) -> RegisterAccount:
    return RegisterAccount(email=email, **{"password": PASSWORD, **fields})  # type: ignore[arg-type]


async def test_registered_account_is_on_its_plan_with_its_shared_quota(house: House) -> None:
    registered, position = await accounts.register(
        house.ports, context(PUBLIC), asked(" Ada@Example.org", username="Ada")
    )
    account = registered.account
    assert (account.plan, account.username, account.status) == ("free", "ada", "active")
    assert registered.email == "ada@example.org"
    assert house.directory.position >= position
    assert house.directory.account(account.id) == account
    assert house.directory.allowances(account.id) == ()  # none of its own: its plan's holds
    (rule,) = account_rules(house.directory, account)
    assert (rule.scope, rule.limit, rule.name) == ("shared", 10, "day")


async def test_address_registered_twice_at_once_makes_one_account(
    house: House, database_url: str
) -> None:
    async with opened(database_url) as other:

        async def register(at: House, email: str) -> str:
            try:
                made, _ = await accounts.register(at.ports, context(PUBLIC), asked(email))
            except Taken as taken:
                return taken.kind
            return made.account.id

        spellings = ["ada@example.org", "ADA@example.org", " ada@EXAMPLE.org"] * 3
        outcomes = await asyncio.gather(
            *(register((house, other)[n % 2], email) for n, email in enumerate(spellings))
        )
    assert outcomes.count("email") == 8
    assert len(await house.lookups.accounts(None, 100)) == 1


async def test_taken_username_leaves_the_address_free(house: House) -> None:
    await accounts.register(house.ports, context(PUBLIC), asked("a@example.org", username="ada"))
    with pytest.raises(Taken) as taken:
        await accounts.register(
            house.ports, context(PUBLIC), asked("b@example.org", username="ADA")
        )
    assert taken.value.kind == "username"
    await accounts.register(house.ports, context(PUBLIC), asked("b@example.org", username="bob"))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"email": "nobody"}, "email"),
        ({"username": "a"}, "username"),
        ({"password": "short"}, "password"),
        ({"password": "x" * 129}, "password"),
        ({"profile": Profile(name="x" * 201)}, "name"),
    ],
)
async def test_refused_registration_names_the_field_and_leaves_nothing(
    house: House, fields: dict[str, object], param: str
) -> None:
    with pytest.raises(InvalidCommand) as refused:
        await accounts.register(house.ports, context(PUBLIC), asked(**fields))  # type: ignore[arg-type]
    assert refused.value.param == param
    assert await house.lookups.accounts(None, 10) == []


async def test_unknown_plan_is_refused(house: House) -> None:
    with pytest.raises(UnknownPlan):
        await accounts.register(house.ports, context(), asked(plan="platinum"))


async def test_account_is_found_by_id_address_and_username(house: House) -> None:
    made, _ = await accounts.register(house.ports, context(PUBLIC), asked(username="ada"))
    account_id = made.account.id
    for name in (account_id, "ADA@example.org", "@Ada", "ada"):
        assert await accounts.find(house.ports, name) == account_id
    with pytest.raises(NotFound):
        await accounts.find(house.ports, "bob@example.org")
    with pytest.raises(NotFound):
        await accounts.find(house.ports, "acct_\0")  # no row can have it, nor be asked for it


async def test_owner_reads_what_is_personal_also_in_another_process(
    house: House, database_url: str
) -> None:
    profile = Profile(name="Ada", about="writes programs", kind="business")
    made, _ = await accounts.register(house.ports, context(PUBLIC), asked(profile=profile))
    async with opened(database_url) as other:
        seen = await accounts.profile(other.ports, made.account.id)
    assert (seen.email, seen.profile) == ("ada@example.org", profile)
    with pytest.raises(NotFound):
        await accounts.profile(house.ports, "acct_nobody")


async def test_staff_suspends_and_reinstates_and_twice_is_once(house: House) -> None:
    account = await house.account()
    first = await accounts.suspend(house.ports, context(), account.id, "spam")
    assert await accounts.suspend(house.ports, context(), account.id, "spam") == first
    suspended = house.directory.account(account.id)
    assert suspended is not None
    assert suspended.status == "suspended"
    with pytest.raises(AccountNotActive):
        await house.key(account)
    await accounts.reinstate(house.ports, context(), account.id, None)
    await house.key(account)
    last = (await house.store.read(account.id, personal=True))[2]
    assert last.metadata.reason == "spam"


async def test_nobody_but_staff_suspends(house: House) -> None:
    account = await house.account()
    for act in (accounts.suspend, accounts.reinstate):
        with pytest.raises(NotPermitted):
            await act(house.ports, context(owner(account)), account.id, None)
    with pytest.raises(NotFound):
        await accounts.suspend(house.ports, context(), "acct_nobody", None)


async def test_suspending_from_many_sides_at_once_is_one_event(house: House) -> None:
    account = await house.account()
    await asyncio.gather(
        *(accounts.suspend(house.ports, context(), account.id, None) for _ in range(4))
    )
    names = [type(each.event).__name__ for each in await house.store.read(account.id)]
    assert names.count("AccountSuspended") == 1


async def test_nothing_personal_and_no_secret_stands_in_any_table(
    house: House, database_url: str
) -> None:
    canary = "canary7f3a"
    profile = Profile(
        name=f"Name {canary}",
        phone=f"+{canary}",
        about=f"about {canary}",
        hobbies=f"hobbies {canary}",
        avatar_url=f"https://{canary}.example/a.png",
        wallet_address="0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    )
    password = f"seven green {canary} bottles"
    command = RegisterAccount(email=f"{canary}@example.org", password=password, profile=profile)
    made, _ = await accounts.register(house.ports, context(PUBLIC), command)
    signed_in, _ = await sign_in(
        house.ports,
        context(PUBLIC),
        command.email,
        password,
        ip=f"ip {canary}",
        user_agent=f"agent {canary}",
    )
    key = await house.key(made.account)
    await accounts.suspend(house.ports, context(), made.account.id, f"reason {canary}")
    seen = await accounts.profile(house.ports, made.account.id)
    assert seen.profile == profile  # it is there, sealed

    data_key = house.vault.known(made.account.id)
    assert data_key is not None
    secrets: list[str | bytes] = [
        canary,
        "fB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        key.secret,
        signed_in.refresh_token,
        signed_in.access_token,
        data_key,
    ]
    everything = await asyncio.to_thread(dump, database_url)
    assert made.account.id.encode() in everything
    for secret in secrets:
        plain = secret.encode() if isinstance(secret, str) else secret
        for form in (plain, plain.hex().encode()):
            assert form.lower() not in everything.lower()


def dump(url: str) -> bytes:
    """Every value of every table that holds text or bytes, as Postgres has it."""
    found: list[bytes] = []
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT quote_ident(table_schema) || '.' || quote_ident(table_name) "
            "FROM information_schema.tables WHERE table_schema NOT LIKE 'pg\\_%' "
            "AND table_schema <> 'information_schema' AND table_type = 'BASE TABLE'"
        ).fetchall()
        assert len(tables) > 8
        for (table,) in tables:
            for row in connection.execute(f"SELECT * FROM {table}".encode()):
                for value in row:
                    found.append(value if isinstance(value, bytes) else str(value).encode())
    return b"\n".join(found)


async def test_while_the_pepper_rotates_everybody_is_found_and_nothing_is_taken_twice(
    database_url: str,
) -> None:
    async with opened(database_url) as house:
        await house.account("ada@example.org")
        rotating = PepperedDigests(b"q" * 32, previous=b"p" * 32)
        ports = msgspec.structs.replace(house.ports, digests=rotating)
        signed_in, _ = await sign_in(ports, context(PUBLIC), "ada@example.org", PASSWORD)
        assert signed_in.account.plan == "free"
        with pytest.raises(Taken):
            await accounts.register(ports, context(PUBLIC), asked("ada@example.org"))
        # What is made meanwhile is found by a process that has not rotated yet.
        await accounts.register(ports, context(PUBLIC), asked("bob@example.org"))
        with pytest.raises(Taken):
            await house.account("bob@example.org")
