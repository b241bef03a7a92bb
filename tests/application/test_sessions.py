"""Sign-in: who knows the password gets in, and nobody learns anything else."""

from datetime import timedelta

import msgspec
import pytest

from application import accounts
from application.accounts import RegisterAccount
from application.deciding import OPERATOR, PUBLIC, SYSTEM
from application.errors import Unauthenticated, WrongCredentials
from application.ports import Policy
from application.sessions import principal_of_token
from domain.errors import AccountNotActive
from domain.sessions import SessionStarted
from tests.application.house import PASSWORD, House, context, opened, sign_in

pytestmark = pytest.mark.anyio


async def test_address_or_username_and_password_start_a_session(house: House) -> None:
    command = RegisterAccount(email="ada@example.org", username="ada", password=PASSWORD)
    made, _ = await accounts.register(house.ports, context(PUBLIC), command)
    for name in ("ada@example.org", "ADA@Example.org ", "ada", "@Ada"):
        signed_in, _ = await sign_in(house.ports, context(PUBLIC), name, PASSWORD, "192.0.2.1")
        now = house.ports.clock()
        principal = principal_of_token(house.ports, signed_in.access_token, now)
        assert principal.account_id == made.account.id
        (started,) = await house.store.read(signed_in.session_id, personal=True)
        assert isinstance(started.event, SessionStarted)
        assert started.event.ip == "192.0.2.1"


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("ada@example.org", "wrong password"),
        ("bob@example.org", PASSWORD),
        ("nobody", PASSWORD),
        ("", PASSWORD),
        ("@", PASSWORD),
        ("\ud800@example.org", PASSWORD),
        ("acct_00000000000000000000000000", PASSWORD),
        ("ada@example.org", "\ud800"),
    ],
)
async def test_refusal_is_the_same_and_as_slow_whatever_was_wrong(
    house: House, name: str, password: str
) -> None:
    await house.account("ada@example.org")
    with pytest.raises(WrongCredentials):
        await sign_in(house.ports, context(PUBLIC), name, password)
    assert len(house.passwords.verified) == 1


async def test_suspended_account_gets_in_nowhere(house: House) -> None:
    account = await house.account("ada@example.org")
    signed_in, _ = await sign_in(house.ports, context(PUBLIC), "ada@example.org", PASSWORD)
    await accounts.suspend(house.ports, context(OPERATOR), account.id, None)
    with pytest.raises(AccountNotActive):
        await sign_in(house.ports, context(PUBLIC), "ada@example.org", PASSWORD)
    with pytest.raises(WrongCredentials):
        await sign_in(house.ports, context(PUBLIC), "ada@example.org", "wrong password")
    now = house.ports.clock()
    with pytest.raises(Unauthenticated):
        principal_of_token(house.ports, signed_in.access_token, now)
    await accounts.reinstate(house.ports, context(OPERATOR), account.id, None)
    with pytest.raises(Unauthenticated):  # tokens from before the suspension have ended
        principal_of_token(house.ports, signed_in.access_token, now)
    again, _ = await sign_in(house.ports, context(PUBLIC), "ada@example.org", PASSWORD)
    assert principal_of_token(house.ports, again.access_token, now).account_id == account.id


async def test_token_ends_and_is_worth_nothing_elsewhere(house: House) -> None:
    await house.account("ada@example.org")
    signed_in, _ = await sign_in(house.ports, context(PUBLIC), "ada@example.org", PASSWORD)
    now = house.ports.clock()
    for token, at in (
        (signed_in.access_token, now + timedelta(seconds=signed_in.expires_in + 10)),
        (signed_in.access_token, now - timedelta(minutes=1)),
        (signed_in.access_token[:-8] + "AAAAAAAA", now),
        (signed_in.refresh_token, now),
        ("", now),
        ("a.b.c", now),
    ):
        with pytest.raises(Unauthenticated):
            principal_of_token(house.ports, token, at)


async def test_unproven_address_can_t_sign_in_where_proof_is_required(database_url: str) -> None:
    async with opened(database_url) as lenient:
        await lenient.account("ada@example.org")
    async with opened(database_url, Policy(require_verified_email=True)) as strict:
        with pytest.raises(AccountNotActive):
            await sign_in(strict.ports, context(PUBLIC), "ada@example.org", PASSWORD)


async def test_roles_travel_in_the_principal(house: House) -> None:
    command = RegisterAccount(
        email="admin@example.org", password=PASSWORD, roles=("admin",), email_verified=True
    )
    await accounts.register(house.ports, context(SYSTEM), command)
    signed_in, _ = await sign_in(house.ports, context(PUBLIC), "admin@example.org", PASSWORD)
    principal = principal_of_token(house.ports, signed_in.access_token, house.ports.clock())
    assert principal.may("staff.manage")
    assert not msgspec.structs.replace(principal, roles=frozenset()).may("accounts.read")
