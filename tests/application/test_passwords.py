"""Passwords: which are taken, and who may set another one (SECURITY 1, 2, 6)."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from application import accounts, challenges, passwords
from application.accounts import RegisterAccount, Registered
from application.breached import read_line
from application.deciding import PUBLIC, Context, Principal
from application.errors import SignInsThrottled, WrongCode, WrongCredentials
from application.password_rules import judge, require_acceptable, words_of
from application.ports import Policy
from application.throttle_ports import ThrottlePolicy
from domain.accounts import PasswordSet, Profile
from domain.errors import InvalidCommand
from infra.embedded import RunningPostgres
from tests.application.house import PASSWORD, House, context, opened
from tests.conftest import fresh_database
from tests.factories import an_id
from tests.mailbox import last_code, mail_to

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def house(postgres_server: RunningPostgres) -> AsyncIterator[House]:
    """One for all tests here: each is about people of its own."""
    with fresh_database(postgres_server) as url:
        async with opened(url) as house:
            yield house


NEW = "seven green bottles, one violin"
NETWORK = "192.0.2.1"


async def registered(house: House, **fields: Any) -> Registered:
    given = {"email": f"{an_id('p')}@example.org", "password": PASSWORD, **fields}
    command = RegisterAccount(**given)
    return (await accounts.register(house.ports, context(PUBLIC), command))[0]


def as_owner(person: Registered, session_id: str | None = None) -> Context:
    account_id = person.account.id
    return context(
        Principal(kind="account", id=account_id, account_id=account_id, session_id=session_id)
    )


async def reset_token(house: House, person: Registered) -> str:
    begun = await challenges.begin(house.ports, "reset_password", person.email)
    code = await last_code(house.ports, person.email, "reset_password")
    return (await challenges.verify(house.ports, begun.id, code)).token


async def opens(house: House, person: Registered, password: str) -> bool:
    hash = await house.lookups.password_hash(person.account.id)
    return await house.passwords.verify(hash, password)


@pytest.mark.parametrize("length", [10, 11, 64, 127, 128])
async def test_password_of_allowed_length_is_taken_whole(house: House, length: int) -> None:
    password = "Zw7!kQ9#vM2x" * 11
    person = await registered(house, password=password[:length])
    assert await opens(house, person, password[:length])
    assert not await opens(house, person, password[: length - 1])  # nothing is cut off
    assert not await opens(house, person, password[:length].lower())  # nothing is folded


@pytest.mark.parametrize("password", ["Zw7!kQ9#v", "x" * 129, "", "Zw7!kQ9#vM2x" * 11])
async def test_password_too_short_or_too_long_is_refused(house: House, password: str) -> None:
    with pytest.raises(InvalidCommand) as refused:
        await registered(house, password=password)
    assert refused.value.param == "password"
    assert "10 to 128 characters" in refused.value.reason


async def test_least_length_is_a_setting(database_url: str) -> None:
    async with opened(database_url, Policy(password_min_length=15)) as strict:
        with pytest.raises(InvalidCommand):
            await require_acceptable(strict.ports, "Zw7!kQ9#vM2xyy")
        await require_acceptable(strict.ports, "Zw7!kQ9#vM2xyyz")


@pytest.mark.parametrize(
    "password",
    [
        "зелёная черепаха спит",
        "緑の亀が静かに眠っている夜",
        "🐢🎻🌋 violin under water",
        "e\u0301te\u0301 a\u0300 la mer du nord",
        " leading and trailing spaces ",
        "null\u0000inside a long password",
    ],
)
async def test_password_of_any_characters_makes_the_round_trip(house: House, password: str) -> None:
    person = await registered(house, password=password)
    assert await opens(house, person, password)
    assert not await opens(house, person, password.strip() + "!")
    composed = password.replace("e\u0301", "\u00e9")
    if composed != password:
        assert not await opens(house, person, composed)  # taken as typed, not normalised


@pytest.mark.parametrize("password", ["password123", "qwertyuiop", "1234567890", "aaaaaaaaaaaa"])
async def test_common_password_is_blocked(house: House, password: str) -> None:
    with pytest.raises(InvalidCommand) as refused:
        await registered(house, password=password)
    assert refused.value.param == "password"
    assert not (await judge(house.ports, password)).acceptable


@pytest.mark.parametrize(
    "password",
    [
        "tollhouse-tollhouse",
        "Tollhouse2026",
        "ada.lovelace@example",
        "AdaLovelace1815",
        "Countess-Ada!",
    ],
)
async def test_words_of_product_address_and_name_are_blocked(house: House, password: str) -> None:
    known: dict[str, Any] = {
        "email": f"ada.lovelace{an_id('')}@example.org",
        "username": f"countess-{an_id('')[-6:]}",
        "profile": Profile(name="Ada Lovelace"),
    }
    with pytest.raises(InvalidCommand) as refused:
        await registered(house, password=password, **known)
    assert refused.value.param == "password"
    # The same words among enough of others are nobody's business.
    await registered(house, password=f"{password} seven green bottles", **known)


async def test_password_of_a_breached_list_is_refused(house: House) -> None:
    breached = "seven breached bottles, one lyre"
    digest = hashlib.sha1(breached.encode()).hexdigest().upper()
    whole = read_line(f"{digest}:42\n")
    assert read_line(digest[5:] + ":7", digest[:5]) == whole  # as the range API has it
    assert whole.sha1 is not None
    await require_acceptable(house.ports, breached)
    assert [await house.ports.breached.add([whole.sha1] * 2) for _ in range(2)] == [1, 0]
    with pytest.raises(InvalidCommand):
        await require_acceptable(house.ports, breached)
    judged = await judge(house.ports, breached)
    assert (judged.score, judged.acceptable) == (0, False)
    assert read_line(digest[5:], "list").fault
    assert read_line("hunter2").fault
    assert read_line(digest[5:] + ":0", digest[:5]) == read_line("") == (None, False)


def test_words_are_those_that_a_guesser_knows() -> None:
    found = words_of("ada.lovelace@mail.example.com", None, "Ada King-Noel")
    assert set(found) == {
        *("ada", "lovelace", "mail", "example", "adalovelace", "king", "noel", "adakingnoel")
    }


async def test_changed_password_is_the_one_that_opens_and_the_owner_is_told(house: House) -> None:
    person = await registered(house)
    position = await passwords.change_own(house.ports, as_owner(person), PASSWORD, NEW, NETWORK)
    assert house.directory.position >= position
    assert await opens(house, person, NEW)
    assert not await opens(house, person, PASSWORD)
    account = house.directory.account(person.account.id)
    assert account is not None
    assert account.epoch == person.account.epoch + 1
    assert [mail.template for mail in await mail_to(house.ports, person.email)] == [
        "password_changed"
    ]


async def test_wrong_current_password_changes_nothing(house: House) -> None:
    person = await registered(house)
    for wrong in ("not the password", PASSWORD.upper()):
        with pytest.raises(WrongCredentials):
            await passwords.change_own(house.ports, as_owner(person), wrong, NEW, NETWORK)
    for refused in ("short", "password123", PASSWORD):
        with pytest.raises(InvalidCommand) as error:
            await passwords.change_own(house.ports, as_owner(person), PASSWORD, refused, NETWORK)
        assert error.value.param == "new_password"
    assert await opens(house, person, PASSWORD)


async def test_guesses_of_the_current_password_are_locked_like_sign_ins(database_url: str) -> None:
    async with opened(database_url, Policy(throttles=ThrottlePolicy(lockout_after=3))) as house:
        person = await registered(house)
        outcomes: list[type[Exception]] = []
        for _ in range(5):
            with pytest.raises((WrongCredentials, SignInsThrottled)) as refused:
                await passwords.change_own(house.ports, as_owner(person), "wrong", NEW, NETWORK)
            outcomes.append(refused.type)
        assert outcomes[:3] == [WrongCredentials] * 3
        assert outcomes[-1] is SignInsThrottled
        with pytest.raises(SignInsThrottled):
            await passwords.change_own(house.ports, as_owner(person), PASSWORD, NEW, NETWORK)


async def test_changes_at_once_with_one_old_password_are_one_change(house: House) -> None:
    person = await registered(house)
    tried = [f"{NEW} number {n}" for n in range(4)]
    outcomes = await asyncio.gather(
        *(
            passwords.change_own(house.ports, as_owner(person), PASSWORD, new, NETWORK)
            for new in tried
        ),
        return_exceptions=True,
    )
    assert sorted(type(each).__name__ for each in outcomes) == ["WrongCredentials"] * 3 + ["int"]
    won = tried[next(n for n, each in enumerate(outcomes) if isinstance(each, int))]
    assert await opens(house, person, won)


async def test_reset_sets_another_password_once_and_proves_the_address(house: House) -> None:
    person = await registered(house)
    token = await reset_token(house, person)
    with pytest.raises(InvalidCommand):
        await passwords.reset(house.ports, context(PUBLIC), token, "password123")
    await passwords.reset(house.ports, context(PUBLIC), token, NEW)
    assert await opens(house, person, NEW)
    account = house.directory.account(person.account.id)
    assert account is not None
    assert account.email_verified
    assert account.epoch > person.account.epoch
    with pytest.raises(WrongCredentials):
        await passwords.reset(house.ports, context(PUBLIC), token, PASSWORD)
    templates = [mail.template for mail in await mail_to(house.ports, person.email)]
    assert templates == ["reset_password", "password_changed"]


async def test_token_resets_once_however_many_present_it_at_once(house: House) -> None:
    person = await registered(house)
    token = await reset_token(house, person)
    outcomes = await asyncio.gather(
        *(
            passwords.reset(house.ports, context(PUBLIC), token, f"{NEW} number {n}")
            for n in range(6)
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(each, int) for each in outcomes) == 1
    assert all(isinstance(each, int | WrongCredentials) for each in outcomes)
    events = [each.event for each in await house.store.read(person.account.id)]
    assert sum(isinstance(event, PasswordSet) for event in events) == 1


async def test_reset_does_not_touch_the_second_factor(house: House) -> None:
    from application.deciding import ACCOUNT, change, commit, load
    from domain.accounts import TotpEnrolled

    person = await registered(house)
    stream = await load(house.ports, ACCOUNT, person.account.id)
    now = house.ports.clock()
    enrolled = change(stream, [TotpEnrolled()], now, person.account.id)
    await commit(house.ports, as_owner(person), now, [enrolled])
    await passwords.reset(house.ports, context(PUBLIC), await reset_token(house, person), NEW)
    account = house.directory.account(person.account.id)
    assert account is not None
    assert account.second_factor


async def test_token_of_one_purpose_opens_nothing_else(house: House) -> None:
    person = await registered(house)
    for purpose in ("sign_in", "verify_email"):
        begun = await challenges.begin(house.ports, purpose, person.email)
        code = await last_code(house.ports, person.email)
        token = (await challenges.verify(house.ports, begun.id, code)).token
        with pytest.raises(WrongCredentials):
            await passwords.reset(house.ports, context(PUBLIC), token, NEW)
        with pytest.raises(WrongCode):
            await challenges.judge(house.ports, begun.id, "register", code)


async def test_judgement_says_what_to_change(house: House) -> None:
    judged = await judge(house.ports, "short")
    assert (judged.acceptable, judged.warnings[0]) == (False, "10 to 128 characters")
    fine = await judge(house.ports, NEW)
    assert (fine.score, fine.strength, fine.acceptable) == (4, "very strong", True)
    assert msgspec.json.encode(fine)
