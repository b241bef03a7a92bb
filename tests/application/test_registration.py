"""Registration by proof, codes by mail, addresses and profiles (SECURITY 3, 5, 6)."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from application import accounts, challenges, email_addresses, profile_changes, registration
from application.accounts import RegisterAccount, Registered
from application.challenges import OTP_PURPOSES, Begun, Verified
from application.deciding import PUBLIC, Context, Principal
from application.errors import (
    FreshSignInRequired,
    TooManyAttempts,
    WrongCode,
    WrongCredentials,
)
from application.ports import Policy, Ports
from application.profile_changes import AmendProfile
from application.throttle_ports import ThrottlePolicy
from domain import claims
from domain.accounts import EmailVerified, Profile
from domain.errors import InvalidCommand, Taken
from infra.embedded import RunningPostgres
from tests.application.house import PASSWORD, House, context, opened
from tests.conftest import fresh_database
from tests.factories import an_id
from tests.mailbox import last_code, mail_to

pytestmark = pytest.mark.anyio

NETWORK = "192.0.2.1"
UNLIMITED = ThrottlePolicy(otp_per_hour=0, otp_per_hour_address=0)


@pytest.fixture(scope="module")
async def house(postgres_server: RunningPostgres) -> AsyncIterator[House]:
    """One for all tests here, where addresses must be proven: each has people of its own."""
    policy = Policy(require_verified_email=True, throttles=UNLIMITED)
    with fresh_database(postgres_server) as url:
        async with opened(url, policy) as house:
            yield house


def an_address() -> str:
    return f"{an_id('p')}@example.org"


def asked(email: str, **fields: Any) -> RegisterAccount:
    return RegisterAccount(**{"email": email, "password": PASSWORD, **fields})


async def begun(house: House, command: RegisterAccount) -> Begun:
    result, _ = await registration.register(house.ports, context(PUBLIC), command, NETWORK)
    assert isinstance(result, Begun)
    return result


async def registered(house: House, email: str | None = None, **fields: Any) -> Registered:
    command = asked(email or an_address(), email_verified=True, **fields)
    return (await accounts.register(house.ports, context(PUBLIC), command))[0]


async def confirm(house: House, id: str, code: str, username: str | None = None) -> Registered:
    made, _ = await registration.confirm(house.ports, context(PUBLIC), id, code, username)
    return made


def as_owner(person: Registered, **fields: Any) -> Context:
    account_id = person.account.id
    return context(Principal(kind="account", id=account_id, account_id=account_id, **fields))


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06}"


def later(house: House, **by: float) -> Ports:
    at = house.ports.clock() + timedelta(**by)
    return msgspec.structs.replace(house.ports, clock=lambda: at)


async def test_confirmed_registration_makes_the_account_as_it_was_asked_for(house: House) -> None:
    email, username = an_address(), an_id("ada")[-20:].replace("_", "-")
    said = Profile(name="Ada", hobbies="sums", actor_type="creator", kind="business")
    pending = await begun(house, asked(email.upper(), username=username, profile=said))
    assert pending.id.startswith("reg_")
    assert pending.expires_in == 600
    code = await last_code(house.ports, email, "register_code")
    assert code.isdigit()
    assert len(code) == 6
    made = await confirm(house, pending.id, f" {code} ")
    assert (made.email, made.account.username, made.profile) == (email, username, said)
    assert made.account.email_verified
    assert (made.account.plan, made.account.roles) == ("free", ())
    hash = await house.lookups.password_hash(made.account.id)
    assert await house.passwords.verify(hash, PASSWORD)
    assert await accounts.profile(house.ports, made.account.id) == made
    with pytest.raises(WrongCode):
        await confirm(house, pending.id, code)


async def test_pending_registration_reserves_nothing(house: House) -> None:
    email, username = an_address(), an_id("bob")[-20:].replace("_", "-")
    first = await begun(house, asked(email, username=username))
    code = await last_code(house.ports, email)
    rival = await registered(house, username=username)
    with pytest.raises(Taken) as taken:
        await confirm(house, first.id, code)
    assert taken.value.kind == "username"
    # The code is right still: only the name was not free.
    made = await confirm(house, first.id, code, username=f"{username}2")
    assert made.account.username == f"{username}2"
    assert rival.account.username == username


async def test_two_registrations_of_one_address_are_one_account(house: House) -> None:
    email = an_address()
    both = await asyncio.gather(*(begun(house, asked(email)) for _ in range(2)))
    codes = [mail.values["code"] for mail in await mail_to(house.ports, email)]
    found: dict[str, str] = {}
    for pending in both:  # which code is whose, the mails don't say
        for code in codes:
            try:
                judged = await challenges.judge(house.ports, pending.id, "register", code)
            except WrongCode:
                continue
            found[judged.id] = code
    outcomes = await asyncio.gather(
        *(confirm(house, id, code) for id, code in found.items()), return_exceptions=True
    )
    assert sorted(type(each).__name__ for each in outcomes) == ["Registered", "Taken"]


async def test_code_confirms_once_however_many_present_it_at_once(house: House) -> None:
    email = an_address()
    pending = await begun(house, asked(email))
    code = await last_code(house.ports, email)
    outcomes = await asyncio.gather(
        *(confirm(house, pending.id, code) for _ in range(50)), return_exceptions=True
    )
    assert sum(isinstance(each, Registered) for each in outcomes) == 1
    assert all(isinstance(each, Registered | WrongCode) for each in outcomes)


async def test_token_is_given_once_for_fifty_replays_of_a_code(house: House) -> None:
    person = await registered(house)
    asked_for = await challenges.begin(house.ports, "sign_in", person.email)
    code = await last_code(house.ports, person.email)
    outcomes = await asyncio.gather(
        *(challenges.verify(house.ports, asked_for.id, code) for _ in range(50)),
        return_exceptions=True,
    )
    assert sum(isinstance(each, Verified) for each in outcomes) == 1
    assert all(isinstance(each, Verified | WrongCode) for each in outcomes)


async def test_sixth_guess_is_never_right(house: House) -> None:
    person = await registered(house)
    asked_for = await challenges.begin(house.ports, "reset_password", person.email)
    code = await last_code(house.ports, person.email)
    outcomes = await asyncio.gather(
        *(challenges.verify(house.ports, asked_for.id, wrong(code)) for _ in range(5)),
        return_exceptions=True,
    )
    assert all(isinstance(each, WrongCode) for each in outcomes)
    with pytest.raises(WrongCode):
        await challenges.verify(house.ports, asked_for.id, code)


async def test_who_knows_only_the_address_never_uses_up_all_guesses(house: House) -> None:
    """Or a stranger could make every code worthless before it is typed."""
    person = await registered(house)
    asked_for = await challenges.begin(house.ports, "reset_password", person.email)
    code = await last_code(house.ports, person.email)

    async def guess() -> Verified:
        return await challenges.verify_newest(
            house.ports, person.email, "reset_password", wrong(code)
        )

    outcomes = await asyncio.gather(*(guess() for _ in range(10)), return_exceptions=True)
    assert all(isinstance(each, WrongCode) for each in outcomes)
    with pytest.raises(WrongCode):  # nor does it help to know the code then
        await challenges.verify_newest(house.ports, person.email, "reset_password", code)
    assert (await challenges.verify(house.ports, asked_for.id, code)).address == person.email


async def test_wrong_codes_of_one_network_are_bounded_whatever_addresses_it_tries(
    house: House,
) -> None:
    policy = Policy(throttles=ThrottlePolicy(failed_logins_per_hour=3))
    ports = msgspec.structs.replace(house.ports, policy=policy)
    here, elsewhere = an_id("net"), an_id("net")
    for _ in range(3):
        person = await registered(house)
        asked_for = await challenges.begin(ports, "sign_in", person.email)
        code = await last_code(ports, person.email)
        with pytest.raises(WrongCode):
            await challenges.verify(ports, asked_for.id, wrong(code), network=here)
    with pytest.raises(TooManyAttempts):
        await challenges.verify(ports, asked_for.id, code, network=here)
    with pytest.raises(TooManyAttempts):
        await challenges.verify_newest(ports, person.email, "sign_in", code, network=here)
    with pytest.raises(TooManyAttempts):
        await registration.confirm(ports, context(PUBLIC), asked_for.id, code, network=here)
    verified = await challenges.verify(ports, asked_for.id, code, network=elsewhere)
    assert verified.address == person.email


async def test_fifth_guess_may_still_be_right(house: House) -> None:
    person = await registered(house)
    asked_for = await challenges.begin(house.ports, "reset_password", person.email)
    code = await last_code(house.ports, person.email)
    for _ in range(4):
        with pytest.raises(WrongCode):
            await challenges.verify(house.ports, asked_for.id, wrong(code))
    assert (await challenges.verify(house.ports, asked_for.id, code)).purpose == "reset_password"


async def test_code_is_over_after_ten_minutes_and_token_after_an_hour(house: House) -> None:
    person = await registered(house)
    asked_for = await challenges.begin(house.ports, "sign_in", person.email)
    code = await last_code(house.ports, person.email)
    with pytest.raises(WrongCode):
        await challenges.verify(later(house, seconds=601), asked_for.id, code)
    just_in_time = later(house, seconds=590)
    token = (await challenges.verify(just_in_time, asked_for.id, code)).token
    redeemed = await challenges.redeem(later(house, seconds=4000), token, "sign_in")
    assert redeemed.address == person.email
    with pytest.raises(WrongCredentials):
        await challenges.redeem(later(house, seconds=4191), token, "sign_in")


async def test_code_is_bound_to_purpose_address_and_challenge(house: House) -> None:
    person, other = await registered(house), await registered(house)
    ids = {}
    for purpose in OTP_PURPOSES:
        ids[purpose] = (await challenges.begin(house.ports, purpose, person.email)).id
    code = await last_code(house.ports, person.email, "sign_in_code")
    for id in (ids["verify_email"], ids["reset_password"], "chl_nobody", "", "x" * 5_000):
        with pytest.raises(WrongCode):
            await challenges.verify(house.ports, id, code)
    with pytest.raises(WrongCode):
        await challenges.verify(house.ports, ids["sign_in"], code, ("reset_password",))
    await challenges.begin(house.ports, "sign_in", other.email)
    with pytest.raises(WrongCode):
        await challenges.verify_newest(house.ports, other.email, "sign_in", code)
    verified = await challenges.verify_newest(house.ports, person.email, "sign_in", code)
    for purpose in ("reset_password", "verify_email"):
        with pytest.raises(WrongCredentials):
            await challenges.redeem(house.ports, verified.token, purpose)
    assert (await challenges.redeem(house.ports, verified.token, "sign_in")).account_id == (
        person.account.id
    )


async def test_nobody_learns_from_a_challenge_whether_an_address_has_an_account(
    house: House,
) -> None:
    person, nobody = await registered(house), an_address()
    for purpose in OTP_PURPOSES:
        real = await challenges.begin(house.ports, purpose, person.email)
        made_up = await challenges.begin(house.ports, purpose, nobody)
        assert (len(real.id), real.expires_in) == (len(made_up.id), made_up.expires_in)
    assert await mail_to(house.ports, nobody) == []
    rows = await house.lookups.rows(
        "SELECT address_digest = ANY (%s), count(*), avg(length(sealed))::float8 "
        "FROM challenges WHERE address_digest = ANY (%s || %s) GROUP BY 1",
        (
            house.ports.digests.claims(claims.EMAIL, nobody),
            house.ports.digests.claims(claims.EMAIL, nobody),
            house.ports.digests.claims(claims.EMAIL, person.email),
        ),
    )
    assert {(count, size) for _, count, size in rows} == {(3, rows[0][2])}


async def test_owner_of_a_taken_address_is_told_and_the_registration_can_t_be_confirmed(
    house: House,
) -> None:
    person = await registered(house)
    pending = await begun(house, asked(person.email))
    mails = await mail_to(house.ports, person.email)
    assert [(mail.template, mail.values) for mail in mails] == [("address_taken", {})]
    assert len(pending.id) == len((await begun(house, asked(an_address()))).id)


async def test_registration_that_is_refused_is_refused_before_anybody_is_asked_for(
    house: House,
) -> None:
    taken = (await registered(house)).email
    for email in (taken, an_address()):
        for fields, param in (
            ({"password": "password123"}, "password"),
            ({"username": "a"}, "username"),
            ({"profile": Profile(wallet_address="0x12")}, "wallet_address"),
        ):
            with pytest.raises(InvalidCommand) as refused:
                await begun(house, asked(email, **fields))
            assert refused.value.param == param
    assert await mail_to(house.ports, taken) == []


async def test_codes_are_counted_by_address_whoever_has_it(database_url: str) -> None:
    policy = Policy(require_verified_email=True, throttles=ThrottlePolicy(otp_per_hour=2))
    async with opened(database_url, policy) as house:
        known = (await registered(house)).email
        for email in (known, an_address()):
            await challenges.begin(house.ports, "sign_in", email, network=NETWORK)
            await begun(house, asked(email))
            with pytest.raises(TooManyAttempts):
                await challenges.begin(house.ports, "reset_password", email, network=NETWORK)
            with pytest.raises(TooManyAttempts):
                await begun(house, asked(email))


async def test_code_and_pending_password_stand_nowhere_in_clear(house: House) -> None:
    email = an_address()
    pending = await begun(house, asked(email, profile=Profile(name="canary5e7c")))
    code = await last_code(house.ports, email)
    (row,) = await house.lookups.rows(
        "SELECT to_jsonb(c)::text, c.sealed FROM challenges c WHERE challenge_id = %s",
        (pending.id,),
    )
    for secret in ("canary5e7c", email, "argon2", code):
        assert secret.encode() not in bytes(row[1])
    assert email not in row[0]
    assert "canary5e7c" not in row[0]


async def test_registration_that_is_done_leaves_nothing_behind(house: House) -> None:
    email = an_address()
    pending = await begun(house, asked(email))
    await confirm(house, pending.id, await last_code(house.ports, email))
    digests = house.ports.digests.claims(claims.EMAIL, email)
    left = await house.lookups.rows(
        "SELECT count(*) FROM challenges WHERE challenge_id = %s OR address_digest = ANY (%s)",
        (pending.id, digests),
    )
    assert left[0][0] == 0


async def test_verified_address_is_marked_once(house: House) -> None:
    made, _ = await accounts.register(house.ports, context(PUBLIC), asked(an_address()))
    assert not made.account.email_verified
    for _ in range(2):
        asked_for = await challenges.begin(house.ports, "verify_email", made.email)
        code = await last_code(house.ports, made.email)
        verified = await challenges.verify(house.ports, asked_for.id, code)
        await email_addresses.mark_verified(house.ports, context(PUBLIC), verified)
    events = [each.event for each in await house.store.read(made.account.id)]
    assert sum(isinstance(event, EmailVerified) for event in events) == 1


async def change_begun(house: House, person: Registered, address: str) -> tuple[Begun, str]:
    pending = await email_addresses.begin_change(
        house.ports, as_owner(person), address, PASSWORD, NETWORK
    )
    return pending, await last_code(house.ports, address, "email_change_code")


async def test_changed_address_was_proven_and_the_old_one_is_told(house: House) -> None:
    person, new = await registered(house), an_address()
    reset = await challenges.begin(house.ports, "reset_password", person.email)
    code = await last_code(house.ports, person.email)
    token = (await challenges.verify(house.ports, reset.id, code)).token
    pending, code = await change_begun(house, person, new)
    changed, _ = await email_addresses.confirm_change(
        house.ports, as_owner(person), pending.id, code
    )
    assert (changed.email, changed.account.email_verified) == (new, True)
    assert (await accounts.profile(house.ports, person.account.id)).email == new
    assert await accounts.find(house.ports, new) == person.account.id
    told = [mail.template for mail in await mail_to(house.ports, person.email)]
    assert told[-1] == "email_changed"
    # What the old address had proven proves nothing any more, and it is free.
    with pytest.raises(WrongCredentials):
        await challenges.redeem(house.ports, token, "reset_password")
    await registered(house, person.email)


async def test_change_of_address_needs_the_password_or_a_fresh_sign_in(house: House) -> None:
    person, new = await registered(house), an_address()
    now = house.ports.clock()
    stale = as_owner(person, signed_in_at=now - timedelta(minutes=11), amr=("pwd",))
    fresh = as_owner(person, signed_in_at=now - timedelta(minutes=1), amr=("pwd",))
    with pytest.raises(FreshSignInRequired):
        await email_addresses.begin_change(house.ports, stale, new, None, NETWORK)
    with pytest.raises(WrongCredentials):
        await email_addresses.begin_change(house.ports, fresh, new, "wrong", NETWORK)
    with pytest.raises(InvalidCommand):
        await email_addresses.begin_change(house.ports, fresh, person.email, None, NETWORK)
    assert await mail_to(house.ports, new) == []
    await email_addresses.begin_change(house.ports, fresh, new, None, NETWORK)
    await email_addresses.begin_change(house.ports, stale, new, PASSWORD, NETWORK)


async def test_code_of_an_address_change_is_only_for_who_asked(house: House) -> None:
    person, thief, new = await registered(house), await registered(house), an_address()
    pending, code = await change_begun(house, person, new)
    with pytest.raises(WrongCode):
        await email_addresses.confirm_change(house.ports, as_owner(thief), pending.id, code)
    rival = await registered(house, new)
    with pytest.raises(Taken):
        await email_addresses.confirm_change(house.ports, as_owner(person), pending.id, code)
    assert (await accounts.profile(house.ports, person.account.id)).email == person.email
    # Where somebody has it already, they are told, and the answer is the same.
    await email_addresses.begin_change(
        house.ports, as_owner(person), rival.email, PASSWORD, NETWORK
    )
    assert (await mail_to(house.ports, rival.email))[-1].template == "address_taken"


async def test_profile_changes_what_is_given_and_nothing_else(house: House) -> None:
    said = Profile(name="Ada", phone="+44 20", about="writes programs")
    person = await registered(house, profile=said)
    command = AmendProfile(
        phone=None, wallet_address="0xfb6916095ca1df60bb79ce92ce3ea74c37c5d359", kind="business"
    )
    changed, position = await profile_changes.amend(
        house.ports, as_owner(person), person.account.id, command
    )
    wanted = Profile(
        name="Ada",
        about="writes programs",
        wallet_address="0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        kind="business",
    )
    assert (changed.profile, changed.account.kind) == (wanted, "business")
    assert await accounts.profile(house.ports, person.account.id) == changed
    again, same = await profile_changes.amend(
        house.ports, as_owner(person), person.account.id, command
    )
    assert (again, same) == (changed, position)
    for wrong, field in (
        (AmendProfile(avatar_url="javascript:alert(1)"), "avatar_url"),
        (AmendProfile(name="x" * 201), "name"),
    ):
        with pytest.raises(InvalidCommand) as refused:
            await profile_changes.amend(house.ports, as_owner(person), person.account.id, wrong)
        assert refused.value.param == field


async def test_username_moves_with_its_claim(house: House) -> None:
    names = [f"{an_id('n')[-20:].replace('_', '-')}-{n}" for n in range(2)]
    person, other = await registered(house, username=names[0]), await registered(house)

    async def rename(who: Registered, name: str | None) -> Registered:
        command = AmendProfile(username=name)
        made, _ = await profile_changes.amend(house.ports, as_owner(who), who.account.id, command)
        return made

    with pytest.raises(Taken):
        await rename(other, names[0].upper())
    assert (await rename(person, names[1].upper())).account.username == names[1]
    assert await accounts.find(house.ports, f"@{names[1]}") == person.account.id
    assert (await rename(other, names[0])).account.username == names[0]
    assert (await rename(person, None)).account.username is None
    assert (await rename(other, names[1])).account.username == names[1]
