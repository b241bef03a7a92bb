"""Guessing is bounded by name, by network and for all together; nobody is locked out for good.

SECURITY 4. The clock is the test's: nothing waits.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from application import challenges, registration, throttling
from application.accounts import RegisterAccount
from application.errors import (
    ApplicationError,
    SignInsThrottled,
    TooManyAttempts,
    WrongCredentials,
)
from application.password_proof import Client, Presented
from application.ports import Policy, Ports, ThrottlePolicy
from application.second_factors import SecondFactor
from application.signing_in import by_password
from domain.account_events import SignInsRefused
from domain.accounts import Account
from domain.errors import NotFound
from infra.embedded import RunningPostgres
from tests.application.house import PASSWORD, House, context, opened
from tests.conftest import fresh_database
from tests.factories import an_id

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOME, ABROAD = "192.0.2.7", "198.51.100.9"
NOBODY = "nobody@example.org"


@pytest.fixture(scope="module")
async def house(postgres_server: RunningPostgres) -> AsyncIterator[House]:
    with fresh_database(postgres_server) as url:
        async with opened(url) as house:
            yield house


class World:
    """One house at a time of its own, under the throttles that a test is about."""

    def __init__(self, house: House, **throttles: int) -> None:
        self.now = NOON
        self.house = house
        policy = Policy(throttles=ThrottlePolicy(**throttles))
        self.ports: Ports = msgspec.structs.replace(
            house.ports, policy=policy, clock=lambda: self.now
        )

    def later(self, **by: float) -> None:
        self.now += timedelta(**by)

    async def sign_in(
        self, name: str, password: str, network: str = HOME, second: SecondFactor | None = None
    ) -> Any:
        """The session, or why not."""
        client = Client(network=network)
        try:
            done, _ = await by_password(
                self.ports, context(), Presented(name, password, second or SecondFactor()), client
            )
        except ApplicationError as error:
            return error
        return done

    async def says(self, name: str, password: str, network: str = HOME) -> str:
        answer = await self.sign_in(name, password, network)
        if isinstance(answer, SignInsThrottled):
            return answer.by
        if isinstance(answer, ApplicationError):
            assert isinstance(answer, WrongCredentials), answer
            return "wrong"
        return "in"

    async def person(self) -> tuple[Account, str]:
        email = f"{an_id('u')}@example.org"
        return await self.house.account(email), email


@pytest.mark.parametrize("after", [3, 5])
async def test_so_many_failures_in_a_row_lock_and_the_right_password_waits_too(
    house: House, after: int
) -> None:
    world = World(house, lockout_after=after, lockout_seconds=60)
    _, email = await world.person()
    assert [await world.says(email, "wrong") for _ in range(after)] == ["wrong"] * after
    assert await world.says(email, PASSWORD) == "locked"
    refused = await world.sign_in(email, PASSWORD)
    assert refused.retry_after_seconds == 60
    world.later(seconds=60)
    assert await world.says(email, PASSWORD) == "in"


async def test_the_lock_grows_with_each_failure_up_to_its_most(house: House) -> None:
    world = World(house, lockout_after=2, lockout_seconds=10, lockout_max_seconds=35)
    _, email = await world.person()
    await world.says(email, "wrong")
    waits = []
    for _ in range(4):
        assert await world.says(email, "wrong") == "wrong"
        refused = await world.sign_in(email, "wrong")
        waits.append(refused.retry_after_seconds)
        world.later(seconds=refused.retry_after_seconds)
    assert waits == [10, 20, 35, 35]


async def test_failures_are_forgotten_in_time_and_by_a_sign_in(house: House) -> None:
    world = World(house, lockout_after=3, lockout_forget_seconds=500)
    _, email = await world.person()
    for _ in range(2):  # never three in a row
        assert [await world.says(email, "wrong") for _ in range(2)] == ["wrong", "wrong"]
        assert await world.says(email, PASSWORD, ABROAD) == "in"
    _, other = await world.person()
    assert [await world.says(other, "wrong") for _ in range(2)] == ["wrong", "wrong"]
    world.later(seconds=501)
    assert [await world.says(other, "wrong") for _ in range(2)] == ["wrong", "wrong"]
    assert await world.says(other, PASSWORD) == "in"


async def test_any_number_of_guesses_at_once_gets_no_more_than_one_after_the_other(
    house: House,
) -> None:
    world = World(house, lockout_after=5)
    _, email = await world.person()
    said = await asyncio.gather(*(world.says(email, f"guess {n}") for n in range(50)))
    assert sorted(said) == ["locked"] * 45 + ["wrong"] * 5


async def test_names_that_nobody_has_are_counted_and_locked_alike(house: House) -> None:
    world = World(house, lockout_after=2, failed_logins_per_hour=4, lockout_seconds=77)
    _, email = await world.person()
    told = []
    for name, network in ((email, HOME), (NOBODY, ABROAD)):
        answers = [await world.sign_in(name, "wrong", network) for _ in range(3)]
        other = [await world.sign_in(f"{n}@example.org", "wrong", network) for n in range(3)]
        told.append([(type(each), vars(each)) for each in (*answers, *other)])
    assert told[0] == told[1]


@pytest.mark.parametrize(
    "spelled",
    [str.upper, lambda email: email.replace("e", "\uff45"), lambda email: f" {email}\u3000"],
)
async def test_a_name_is_counted_as_one_however_it_is_spelled(
    house: House, spelled: Callable[[str], str]
) -> None:
    """Or each letter of another width would give a guesser as many tries again."""
    world = World(house, lockout_after=2)
    _, email = await world.person()
    assert await world.says(spelled(email), PASSWORD, ABROAD) == "in"
    username = an_id("u")
    for name, other in ((email, spelled(email)), (username, f"@{username}")):
        said = [await world.says(each, "wrong") for each in (name, other, name, other)]
        assert said == ["wrong", "wrong", "locked", "locked"]


async def test_an_address_and_a_username_never_tell_that_they_belong_together(
    house: House,
) -> None:
    world = World(house, lockout_after=1)
    _, email = await world.person()
    await world.says(email, "wrong")
    assert await world.says(email, "wrong") == "locked"
    assert await world.says(email.partition("@")[0][:32], "wrong") == "wrong"


@pytest.mark.parametrize("limit", [3, 10])
async def test_failures_of_one_network_are_bounded_whatever_names_it_tries(
    house: House, limit: int
) -> None:
    world = World(house, failed_logins_per_hour=limit)
    network = an_id("net")
    _, email = await world.person()
    said = [await world.says(f"{n}@example.net", "wrong", network) for n in range(limit)]
    assert said == ["wrong"] * limit
    assert await world.says(email, PASSWORD, network) == "network"
    assert await world.says(email, PASSWORD, an_id("net")) == "in"
    refused = await world.sign_in(email, PASSWORD, network)
    assert 0 < refused.retry_after_seconds <= 7200
    world.later(seconds=refused.retry_after_seconds)
    assert await world.says(email, PASSWORD, network) == "in"


async def test_one_try_on_each_of_many_accounts_trips_the_rule_for_all_and_homes_stay_open(
    house: House,
) -> None:
    """Each guess is at another account from another network: nothing but their sum shows it."""
    world = World(house, global_failed_logins_per_hour=30, lockout_after=5)
    world.later(days=10)
    _, email = await world.person()
    assert await world.says(email, PASSWORD, HOME) == "in"
    said = [await world.says(f"u{n}@example.net", "wrong", an_id("net")) for n in range(40)]
    assert said == ["wrong"] * 30 + ["stuffing"] * 10
    assert await world.says(email, PASSWORD, ABROAD) == "stuffing"
    assert await world.says(email, PASSWORD, HOME) == "in"
    world.later(hours=2)
    assert await world.says(email, PASSWORD, ABROAD) == "in"


async def test_a_network_is_known_for_so_many_days(house: House) -> None:
    world = World(house, global_failed_logins_per_hour=1, known_network_days=3)
    world.later(days=20)
    _, email = await world.person()
    assert await world.says(email, PASSWORD, HOME) == "in"
    world.later(days=3, minutes=1)
    await world.says(NOBODY, "wrong", ABROAD)
    assert await world.says(email, PASSWORD, HOME) == "stuffing"


async def test_strangers_elsewhere_never_lock_the_owner_out_at_home(house: House) -> None:
    world = World(house, lockout_after=2)
    _, email = await world.person()
    assert await world.says(email, PASSWORD, HOME) == "in"
    said = [await world.says(email, "wrong", an_id("net")) for _ in range(5)]
    assert said == ["wrong", "wrong", "locked", "locked", "locked"]
    assert await world.says(email, PASSWORD, HOME) == "in"
    # And whoever is at home gets no more guesses than anybody.
    said = [await world.says(email, "wrong", HOME) for _ in range(3)]
    assert said == ["wrong", "wrong", "locked"]


async def test_a_locked_name_is_opened_by_a_reset_and_by_a_code_by_mail(house: House) -> None:
    world = World(house, lockout_after=1)
    account, email = await world.person()
    await world.says(email, "wrong", ABROAD)
    assert await world.says(email, PASSWORD, ABROAD) == "locked"
    await house.lookups.write(throttling.opened(world.ports, account.id, None, world.now))
    assert await world.says(email, PASSWORD, ABROAD) == "in"


async def test_a_second_factor_that_is_none_opens_nothing_and_tells_nothing(house: House) -> None:
    """A locked account without a factor: a code beside the password is no way around the lock,
    and the answer doesn't tell whether the password was right."""
    world = World(house, lockout_after=1, second_factors_per_hour=3)
    _, email = await world.person()
    code = SecondFactor(totp="123456")
    for name in (email, f"x{email}"):
        await world.says(name, "wrong")
        answers = [
            await world.sign_in(name, password, second=code) for password in (PASSWORD, "wrong")
        ]
        assert [(type(each), each.by) for each in answers] == [(SignInsThrottled, "locked")] * 2


async def test_second_factors_are_tried_so_often_while_locked(house: House) -> None:
    world = World(house, lockout_after=1, second_factors_per_hour=3)
    _, email = await world.person()
    digest = throttling.digest_of_name(world.ports, email)
    await throttling.check_login(world.ports, digest, ABROAD, None)

    async def guarded() -> bool:
        try:
            login = await throttling.check_login(
                world.ports, digest, ABROAD, None, second_factor=True
            )
        except SignInsThrottled:
            return False
        return login.guarded

    assert [await guarded() for _ in range(5)] == [True] * 3 + [False] * 2


async def test_what_was_not_judged_does_not_count(house: House) -> None:
    world = World(house, lockout_after=2)
    digest = throttling.digest_of_name(world.ports, NOBODY + "2")
    for _ in range(5):
        login = await throttling.check_login(world.ports, digest, HOME, None)
        await throttling.login_undone(world.ports, login)


async def test_a_lock_is_in_the_history_once_and_its_owner_is_told(house: House) -> None:
    world = World(house, lockout_after=2, lockout_seconds=60)
    world.later(days=60)
    while await throttling.tell_locks(world.ports):
        pass  # those of other tests
    began = world.now
    account, email = await world.person()
    for _ in range(6):
        await world.says(email, "wrong")
    await world.says(f"x{email}", "wrong")
    assert await throttling.tell_locks(world.ports) == 0  # it may turn out well still
    world.later(seconds=6)
    both = await asyncio.gather(*(throttling.tell_locks(world.ports) for _ in range(2)))
    assert sum(both) == 1
    assert await throttling.tell_locks(world.ports) == 0
    told = [
        each.event
        for each in await house.store.read(account.id)
        if isinstance(each.event, SignInsRefused)
    ]
    assert told == [SignInsRefused(failures=2, locked_until=began + timedelta(seconds=60))]
    rows = await house.lookups.rows(
        "SELECT count(*) FROM mail WHERE account_id = %s AND template = 'locked_out'",
        (account.id,),
    )
    assert rows[0][0] == 1


async def test_a_lock_that_can_not_be_told_stops_none_behind_it(house: House) -> None:
    world = World(house, lockout_after=1)
    world.later(days=400)
    await house.lookups.rows(
        "INSERT INTO sign_in_failures SELECT gen_random_uuid()::text::bytea, 'acct_gone', "
        "1, 0, 0, 0 FROM generate_series(1, 20) RETURNING 1",
        (),
    )
    account, email = await world.person()
    await world.says(email, "wrong")
    world.later(seconds=6)
    with pytest.raises(NotFound):
        await throttling.tell_locks(world.ports)
    told = [each.event for each in await house.store.read(account.id)]
    assert any(isinstance(each, SignInsRefused) for each in told)
    await house.lookups.rows(
        "DELETE FROM sign_in_failures WHERE account_id = 'acct_gone' RETURNING 1", ()
    )


@pytest.mark.parametrize("limit", [2, 5])
async def test_codes_to_one_address_are_limited_for_each_network(house: House, limit: int) -> None:
    world = World(house, otp_per_hour=limit)
    address = throttling.digest_of_address(world.ports, f"{an_id('u')}@example.org")
    for _ in range(limit):
        await throttling.otp_requested(world.ports, address, HOME)
    with pytest.raises(TooManyAttempts) as refused:
        await throttling.otp_requested(world.ports, address, HOME)
    assert (refused.value.what, refused.value.limit) == ("otp", limit)
    await throttling.otp_requested(world.ports, address, ABROAD)
    other = throttling.digest_of_address(world.ports, f"{an_id('u')}@example.org")
    await throttling.otp_requested(world.ports, other, HOME)


async def test_codes_to_one_address_are_limited_over_all_networks_together(house: House) -> None:
    world = World(house, otp_per_hour=2, otp_per_hour_address=3)
    address = throttling.digest_of_address(world.ports, f"{an_id('u')}@example.org")
    for network in (HOME, HOME, ABROAD):
        await throttling.otp_requested(world.ports, address, network)
    with pytest.raises(TooManyAttempts, match="otp_address"):
        await throttling.otp_requested(world.ports, address, ABROAD)


async def test_no_stranger_keeps_an_owner_from_mailed_codes(house: House) -> None:
    world = World(house, otp_per_hour=2, otp_per_hour_address=3)
    account, email = await world.person()
    assert await world.says(email, PASSWORD, HOME) == "in"

    async def ask(network: str, address: str = email) -> str:
        try:
            await challenges.begin(world.ports, "reset_password", address, network=network)
        except TooManyAttempts as refused:
            return refused.what
        return "sent"

    foreign = [f"203.0.113.{number}" for number in range(4)]
    nobodys = f"{an_id('u')}@example.org"
    said = [await ask(network) for network in foreign]
    assert said == ["sent", "sent", "sent", "otp_address"]
    # Strangers read the same of an address that nobody has.
    assert [await ask(network, nobodys) for network in foreign] == said
    assert await ask(HOME, nobodys) == "otp_address"
    # At home codes go on, and are bounded as well.
    assert [await ask(HOME) for _ in range(3)] == ["sent", "sent", "otp"]
    # What was asked for at home leaves strangers no fewer.
    world.later(hours=2)
    assert [await ask(HOME) for _ in range(2)] == ["sent", "sent"]
    assert [await ask(network) for network in foreign] == said
    # Homes together are bounded, too: a mailbox is not to be filled from there either.
    world.later(hours=2)
    now = world.now
    for network in foreign:
        await house.lookups.write(throttling.opened(world.ports, account.id, network, now))
    assert [await ask(network) for network in foreign] == said


async def test_registration_with_an_address_that_is_taken_is_counted_for_its_owner_apart(
    house: House,
) -> None:
    world = World(house, otp_per_hour_address=1)
    _, email = await world.person()
    assert await world.says(email, PASSWORD, HOME) == "in"
    command = RegisterAccount(email=email, password="a quite uncommon phrase 7")
    await registration.begin(world.ports, context(), command, ABROAD)
    with pytest.raises(TooManyAttempts, match="otp_address"):
        await registration.begin(world.ports, context(), command, ABROAD)
    await registration.begin(world.ports, context(), command, HOME)


async def test_a_limit_of_0_is_none(house: House) -> None:
    world = World(house)
    _, email = await world.person()
    said = [await world.says(email, "wrong") for _ in range(12)]
    assert said == ["wrong"] * 12
    address = throttling.digest_of_address(world.ports, email)
    for _ in range(30):
        await throttling.otp_requested(world.ports, address, HOME)
    count = await house.lookups.rows(
        "SELECT count(*) FROM sign_in_failures WHERE subject = %s",
        (throttling.digest_of_name(world.ports, email),),
    )
    assert count[0][0] == 0


async def test_nothing_is_kept_in_the_clear_and_what_is_over_is_pruned(house: House) -> None:
    world = World(house, lockout_after=3, failed_logins_per_hour=9, otp_per_hour=5)
    world.later(days=-3000)
    email = f"{an_id('canary')}@example.org"
    await world.says(email, "wrong", "203.0.113.99")
    await throttling.otp_requested(
        world.ports, throttling.digest_of_address(world.ports, email), "203.0.113.99"
    )
    texts = await house.lookups.rows(
        "SELECT string_agg(t::text, ' ') FROM (SELECT t::text FROM throttles t "
        "UNION ALL SELECT f::text FROM sign_in_failures f "
        "UNION ALL SELECT k::text FROM known_networks k) t",
        (),
    )
    assert email not in texts[0][0]
    assert email.encode().hex() not in texts[0][0]
    assert "203.0.113.99" not in texts[0][0]
    throttles = world.ports.throttles
    policy = world.ports.policy.throttles
    assert await throttles.prune(policy, world.now) == 0
    world.later(days=2)
    assert await throttles.prune(policy, world.now) == 3
