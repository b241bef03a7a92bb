"""Refresh tokens: each is exchanged once, a lost answer costs nothing, and a copy ends it all."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta

import msgspec
import pytest

from application.deciding import ACCOUNT, OPERATOR, PUBLIC, Context, change, commit, load
from application.errors import RefreshRefused, Unauthenticated, VersionConflict
from application.ports import Policy
from application.sessions import (
    SignedIn,
    end_all,
    end_one,
    ending,
    list_sessions,
    principal_of_token,
    refresh,
    start,
)
from domain import accounts
from domain.accounts import Account, PasswordSet
from domain.errors import AccountNotActive, NotFound
from domain.sessions import SessionEnded, SessionReuseDetected
from infra.embedded import RunningPostgres
from infra.refresh_tokens import PepperedRefreshTokens
from tests.application.house import House, context, opened, owner
from tests.conftest import fresh_database

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def one_house(postgres_server: RunningPostgres) -> AsyncIterator[House]:
    with fresh_database(postgres_server) as url:
        async with opened(url) as made:
            yield made


@pytest.fixture
def house(one_house: House) -> Iterator[House]:
    """The same for all tests here, but for what they change of its ports."""
    before = one_house.ports
    yield one_house
    one_house.ports = before


async def a_session(house: House, account: Account | None = None) -> SignedIn:
    account = account or await house.account()
    ctx = context(PUBLIC)
    signed_in, _ = await start(house.ports, ctx, account, ("pwd",), ip=None, user_agent=None)
    return signed_in


async def next_of(house: House, token: str) -> SignedIn:
    return (await refresh(house.ports, context(PUBLIC), token))[0]


def later(house: House, seconds: float) -> None:
    """The house's clock goes forward."""
    clock = house.ports.clock
    house.ports = msgspec.structs.replace(
        house.ports, clock=lambda: clock() + timedelta(seconds=seconds)
    )


def obey(house: House, policy: Policy) -> None:
    house.ports = msgspec.structs.replace(house.ports, policy=policy)


async def events_of(house: House, session_id: str) -> list[object]:
    return [each.event for each in await house.store.read(session_id)]


def holds(house: House, signed_in: SignedIn) -> bool:
    try:
        principal_of_token(house.ports, signed_in.access_token, house.ports.clock())
    except Unauthenticated:
        return False
    return True


async def _race(house: House, number: int) -> None:
    # At once by its clock, too: on a slow machine they take longer than ten seconds.
    now = house.ports.clock()
    house.ports = msgspec.structs.replace(house.ports, clock=lambda: now)
    first = await a_session(house)
    pace = asyncio.Semaphore(60)

    async def one() -> str:
        async with pace:
            return (await next_of(house, first.refresh_token)).refresh_token

    successors = await asyncio.gather(*(one() for _ in range(number)))
    assert len(set(successors)) == 1
    assert len(await events_of(house, first.session_id)) == 1
    second = await next_of(house, successors[0])
    assert second.refresh_token != successors[0]


async def test_a_thousand_refreshes_of_one_token_at_once_have_one_successor(house: House) -> None:
    await _race(house, 1000)


@pytest.mark.long
async def test_ten_thousand_refreshes_sign_nobody_out_and_have_one_successor(house: House) -> None:
    await _race(house, 10_000)


async def test_two_processes_rotate_to_the_same_successor(house: House) -> None:
    first = await a_session(house)
    async with opened(house.url) as other:
        found = await asyncio.gather(
            *(next_of(each, first.refresh_token) for each in (house, other) * 20)
        )
    assert len({each.refresh_token for each in found}) == 1


async def test_within_ten_seconds_the_same_successor_and_afterwards_the_family_ends(
    house: House,
) -> None:
    first = await a_session(house)
    second = await next_of(house, first.refresh_token)
    later(house, 9)
    assert (await next_of(house, first.refresh_token)).refresh_token == second.refresh_token
    assert holds(house, second)
    later(house, 2)
    with pytest.raises(RefreshRefused):
        await next_of(house, first.refresh_token)
    with pytest.raises(RefreshRefused):
        await next_of(house, second.refresh_token)
    assert not holds(house, second)
    assert (await events_of(house, first.session_id))[1:] == [
        SessionReuseDetected(generation=1),
        SessionEnded(reason="reuse"),
    ]
    mailed = "SELECT template FROM mail WHERE account_id = %s"
    assert await house.lookups.rows(mailed, (first.account.id,)) == [("reuse_detected",)]


async def test_a_token_two_generations_old_ends_the_family_whoever_presents_it(
    house: House,
) -> None:
    tokens = [(await a_session(house))]
    for _ in range(5):
        tokens.append(await next_of(house, tokens[-1].refresh_token))
    both = await asyncio.gather(
        *(next_of(house, tokens[1].refresh_token) for _ in range(10)), return_exceptions=True
    )
    assert all(isinstance(each, RefreshRefused) for each in both)
    told = await events_of(house, tokens[0].session_id)
    assert told[1:] == [SessionReuseDetected(generation=2), SessionEnded(reason="reuse")]
    assert not any(holds(house, each) for each in tokens)


async def test_a_session_ends_for_good_however_often_it_was_refreshed(house: House) -> None:
    obey(house, Policy(refresh_token_ttl_seconds=1000, access_token_ttl_seconds=600))
    first = await a_session(house)
    assert (first.expires_in, first.refresh_expires_in) == (600, 1000)
    later(house, 500)
    second = await next_of(house, first.refresh_token)
    assert second.refresh_expires_in <= 500
    assert second.expires_in <= 500
    later(house, 495)
    third = await next_of(house, second.refresh_token)
    assert third.expires_in <= 5
    later(house, 11)
    assert not holds(house, third)
    with pytest.raises(RefreshRefused):
        await next_of(house, third.refresh_token)
    assert await list_sessions(house.ports, first.account.id, None, 10) == []


async def test_a_new_pepper_signs_nobody_out(house: House) -> None:
    first = await a_session(house)
    csrf = house.ports.refresh_tokens.csrf(first.session_id)
    rotated = PepperedRefreshTokens(b"q" * 32, b"p" * 32)
    before = house.ports
    house.ports = msgspec.structs.replace(before, refresh_tokens=rotated)
    second = await next_of(house, first.refresh_token)
    house.ports = before
    again = await next_of(house, first.refresh_token)
    assert again.refresh_token == second.refresh_token
    assert rotated.is_csrf(csrf, first.session_id)
    gone = PepperedRefreshTokens(b"q" * 32)
    assert gone.read(first.refresh_token) is None
    assert not gone.is_csrf(csrf, first.session_id)


async def test_every_change_of_a_token_makes_it_none_of_ours(house: House) -> None:
    tokens = house.ports.refresh_tokens
    token = (await a_session(house)).refresh_token
    assert tokens.read(token) is not None
    for place in range(4, len(token)):
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        assert tokens.read(changed) is None
    for odd in (token + "A", token[:-1], token + "=", " " + token, token + "\n"):
        assert tokens.read(odd) is None


async def test_refresh_tells_the_roles_and_the_epoch_of_now(house: House) -> None:
    first = await a_session(house)
    stream = await load(house.ports, ACCOUNT, first.account.id)
    assert stream.state is not None
    granted = accounts.grant_role(stream.state, "tester")
    now = house.ports.clock()
    await commit(house.ports, context(), now, [change(stream, granted, now, first.account.id)])
    assert not holds(house, first)
    second = await next_of(house, first.refresh_token)
    principal = principal_of_token(house.ports, second.access_token, house.ports.clock())
    assert principal.roles == {"tester"}
    assert principal.session_id == first.session_id
    assert principal.signed_in_at is not None
    assert abs((principal.signed_in_at - now).total_seconds()) < 60


async def test_a_suspended_account_refreshes_nothing_and_goes_on_when_it_is_reinstated(
    house: House,
) -> None:
    first = await a_session(house)
    await _decide(house, first.account.id, accounts.suspend)
    for _ in range(2):
        with pytest.raises(AccountNotActive):
            await next_of(house, first.refresh_token)
    later(house, 60)
    await _decide(house, first.account.id, accounts.reinstate)
    assert (await next_of(house, first.refresh_token)).session_id == first.session_id


async def _decide(house: House, account_id: str, decide: object) -> None:
    stream = await load(house.ports, ACCOUNT, account_id)
    now = house.ports.clock()
    events = decide(stream.state)  # type: ignore[operator]
    await commit(house.ports, context(OPERATOR), now, [change(stream, events, now, account_id)])


async def _new_password(house: House, account_id: str, but: str | None) -> None:
    """What a change of the password commits."""
    stream = await load(house.ports, ACCOUNT, account_id)
    now: datetime = house.ports.clock()
    changes, rows = await ending(house.ports, account_id, "password", but)
    changed = change(stream, [PasswordSet(how="changed")], now, account_id)
    await commit(house.ports, context(), now, [changed, *changes], rows)


async def test_a_new_password_ends_the_other_sessions_and_keeps_its_own(house: House) -> None:
    account = await house.account()
    own, *others = [await a_session(house, account) for _ in range(4)]
    await _new_password(house, account.id, own.session_id)
    for each in (own, *others):
        assert not holds(house, each)
    for each in others:
        with pytest.raises(RefreshRefused):
            await next_of(house, each.refresh_token)
        assert (await events_of(house, each.session_id))[1:] == [SessionEnded(reason="password")]
    assert holds(house, await next_of(house, own.refresh_token))


async def test_no_session_starts_by_a_password_that_was_just_changed(house: House) -> None:
    account = await house.account()
    await _new_password(house, account.id, None)
    with pytest.raises(VersionConflict):
        await a_session(house, account)
    # At the same moment, whichever is first: none of them lives on.
    fresh = (await load(house.ports, ACCOUNT, account.id)).state
    assert fresh is not None
    found = await asyncio.gather(
        *(a_session(house, fresh) for _ in range(8)),
        _new_password(house, account.id, None),
        return_exceptions=True,
    )
    started = [each for each in found if isinstance(each, SignedIn)]
    assert all(isinstance(each, SignedIn | VersionConflict) for each in found[:-1])
    for each in started:
        with pytest.raises(RefreshRefused):
            await next_of(house, each.refresh_token)
        assert not holds(house, each)


async def test_what_ended_has_ended_in_every_process_and_after_a_restart(house: House) -> None:
    account = await house.account()
    one, other = [await a_session(house, account) for _ in range(2)]
    async with opened(house.url) as elsewhere:
        assert holds(elsewhere, one)
        position = await end_one(
            house.ports, context(owner(account)), account.id, one.session_id, "signed_out"
        )
        assert await elsewhere.directory.catch_up(position, 1)
        assert [holds(elsewhere, each) for each in (one, other)] == [False, True]
    async with opened(house.url) as restarted:
        assert [holds(restarted, each) for each in (one, other)] == [False, True]
        await end_all(restarted.ports, context(owner(account)), account.id)
    async with opened(house.url) as again:
        assert not holds(again, other)
        assert again.directory.gate.epoch(account.id) == 1


async def test_nobody_ends_a_session_that_is_not_theirs(house: House) -> None:
    mine, theirs = await a_session(house), await a_session(house)
    ctx: Context = context(owner(mine.account))
    for session_id in (theirs.session_id, theirs.account.id, "sess_nonsense"):
        with pytest.raises(NotFound):
            await end_one(house.ports, ctx, mine.account.id, session_id, "ended")
    assert holds(house, theirs)


async def test_impersonation_is_marked_short_and_ends_with_the_right_to_it(house: House) -> None:
    account, staff = await house.account(), await house.account()
    await _decide(house, staff.id, lambda state: accounts.grant_role(state, "advanced"))
    signed_in, _ = await start(
        house.ports,
        context(),
        account,
        ("pwd",),
        ip=None,
        user_agent=None,
        impersonator=staff.id,
        ttl_seconds=60,
    )
    assert (signed_in.expires_in, signed_in.refresh_expires_in) == (60, 60)
    token = (await next_of(house, signed_in.refresh_token)).access_token
    principal = principal_of_token(house.ports, token, house.ports.clock())
    assert (principal.id, principal.impersonator) == (account.id, staff.id)
    ((record, _),) = await list_sessions(house.ports, account.id, None, 10)
    assert record.impersonator == staff.id
    await _decide(house, staff.id, lambda state: accounts.withdraw_role(state, "advanced"))
    with pytest.raises(Unauthenticated):
        principal_of_token(house.ports, token, house.ports.clock())


async def test_a_shortened_lifetime_holds_for_tokens_from_before(house: House) -> None:
    obey(house, Policy(access_token_ttl_seconds=3600))
    signed_in = await a_session(house)
    later(house, 1000)
    assert holds(house, signed_in)
    obey(house, Policy(access_token_ttl_seconds=900))
    assert not holds(house, signed_in)


async def test_an_account_has_so_many_sessions_and_one_more_ends_the_oldest(house: House) -> None:
    obey(house, Policy(sessions_per_account=3))
    account, other = await house.account(), await house.account()
    bystander = await a_session(house, other)
    first, second, third = [await a_session(house, account) for _ in range(3)]
    assert [holds(house, each) for each in (first, second, third)] == [True] * 3
    fourth = await a_session(house, account)
    held = [holds(house, each) for each in (first, second, third, fourth, bystander)]
    assert held == [False, True, True, True, True]
    assert (await events_of(house, first.session_id))[1:] == [SessionEnded(reason="ended")]
    with pytest.raises(RefreshRefused):
        await next_of(house, first.refresh_token)
    # One that has ended, or has expired, takes nobody's place.
    await end_one(house.ports, context(owner(account)), account.id, third.session_id, "ended")
    await a_session(house, account)
    assert holds(house, second)


async def test_sessions_that_start_at_once_are_no_more_than_an_account_may_have(
    house: House,
) -> None:
    obey(house, Policy(sessions_per_account=4))
    account = await house.account()
    await asyncio.gather(*(a_session(house, account) for _ in range(12)))
    assert len(await list_sessions(house.ports, account.id, None, 100)) == 4


async def test_0_sessions_are_any_number(house: House) -> None:
    assert Policy().sessions_per_account == 200
    obey(house, Policy(sessions_per_account=0))
    account = await house.account()
    kept = [await a_session(house, account) for _ in range(4)]
    assert all(holds(house, each) for each in kept)
