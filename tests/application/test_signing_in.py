"""Signing in: nothing opens without every factor that the account has, and nothing opens twice."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from application import (
    challenges,
    closing,
    factors,
    passkeys,
    passwords,
    restoring,
    signing_in,
)
from application.deciding import PUBLIC, Principal
from application.errors import (
    FreshSignInRequired,
    MfaRequired,
    PasskeyNotAccepted,
    SignInsThrottled,
    TooManyAttempts,
    WrongCredentials,
)
from application.password_proof import Client, Presented
from application.ports import Policy, Ports, ThrottlePolicy
from application.second_factors import SecondFactor
from application.sessions import SignedIn
from domain import totp
from domain.accounts import Account
from domain.errors import InvalidCommand, NoSecondFactor, NotFound, NotPermitted, Taken
from infra.embedded import RunningPostgres
from tests.application.house import PASSWORD, House, context, opened
from tests.conftest import fresh_database
from tests.factories import an_id
from tests.mailbox import last_code, mail_to
from tests.soft_passkey import PRESENT, SoftPasskey

pytestmark = pytest.mark.anyio

HERE = Client(network="192.0.2.1", ip="192.0.2.1", user_agent="test")
NOTHING = SecondFactor()


@pytest.fixture(scope="module")
async def house(postgres_server: RunningPostgres) -> AsyncIterator[House]:
    with fresh_database(postgres_server) as url:
        async with opened(url) as house:
            yield house


class Person:
    """Somebody with an account, at an instant that a test moves on."""

    def __init__(self, ports: Ports, account: Account, email: str) -> None:
        self.later = timedelta()
        self.ports = msgspec.structs.replace(ports, clock=lambda: datetime.now(UTC) + self.later)
        self.account = account
        self.email = email
        self.secret = b""

    def principal(self, *amr: str, age: int = 0, **more: Any) -> Principal:
        """Signed in so many seconds ago."""
        since = self.ports.clock() - timedelta(seconds=age)
        id = self.account.id
        return Principal(
            kind="account", id=id, account_id=id, amr=amr or ("pwd",), signed_in_at=since, **more
        )

    async def sign_in(
        self, second: SecondFactor = NOTHING, password: str = PASSWORD, name: str | None = None
    ) -> SignedIn:
        name = self.email if name is None else name
        done = await signing_in.by_password(
            self.ports, context(PUBLIC), Presented(name, password, second), HERE
        )
        return done[0]

    async def token(self) -> str:
        """The proof of a code that was mailed for a sign-in."""
        begun = await challenges.begin(self.ports, "sign_in", self.email)
        code = await last_code(self.ports, self.email, "sign_in_code")
        return (await challenges.verify(self.ports, begun.id, code)).token

    async def by_token(self, token: str, second: SecondFactor = NOTHING) -> SignedIn:
        done = await signing_in.by_token(self.ports, context(PUBLIC), token, None, second, HERE)
        return done[0]

    async def by_passkey(self, credential: dict[str, Any]) -> SignedIn:
        return (await signing_in.by_passkey(self.ports, context(PUBLIC), credential, HERE))[0]

    def code(self, drift: int = 0) -> SecondFactor:
        """What the app shows so many steps from now."""
        step = totp.step_at(self.ports.clock().timestamp()) + drift
        return SecondFactor(totp=totp.code(self.secret, step))

    async def set_up_app(self, *amr: str) -> tuple[str, ...]:
        """An authenticator app; answers the recovery codes. Its first code is used."""
        offered = await factors.offer_totp(self.ports, self.principal(*amr))
        self.secret = base64.b32decode(offered.secret)
        code = self.code().totp or ""
        codes, _ = await factors.confirm_totp(self.ports, context(self.principal(*amr)), code)
        self.later += timedelta(seconds=30)
        return codes.codes

    async def add(self, passkey: SoftPasskey, *amr: str) -> passkeys.AddedPasskey:
        options: Any = await passkeys.options(self.ports, self.principal(*amr))
        made = context(self.principal(*amr))
        return (await passkeys.add(self.ports, made, passkey.create(options), "Laptop"))[0]

    def challenge(self) -> dict[str, Any]:
        return dict(signing_in.passkey_options(self.ports))

    async def told(self) -> list[str]:
        return [mail.template for mail in await mail_to(self.ports, self.email)]


Somebody = Callable[[], Any]


@pytest.fixture
def somebody(house: House) -> Somebody:
    async def make() -> Person:
        email = f"{an_id('u')}@example.org"
        return Person(house.ports, await house.account(email), email)

    return make


class Meanwhile:
    """Passwords that take their time: something happens while the first one is checked."""

    def __init__(self, passwords: Any, happens: Callable[[], Any]) -> None:
        self._passwords = passwords
        self._happens: Callable[[], Any] | None = happens

    def __getattr__(self, name: str) -> Any:
        return getattr(self._passwords, name)

    async def verify(self, hash: str | None, password: str) -> bool:
        right: bool = await self._passwords.verify(hash, password)
        happens, self._happens = self._happens, None
        if happens is not None:
            await happens()
        return right


@pytest.mark.parametrize("restores", [False, True])
async def test_password_that_is_changed_while_it_is_checked_opens_nothing(
    somebody: Somebody, restores: bool
) -> None:
    """The epoch alone can't tell: it has risen already when the account is looked at."""
    person = await somebody()

    async def changed() -> None:
        new = "seven green bottles, one violin"
        made = context(person.principal())
        await passwords.change_own(person.ports, made, PASSWORD, new, HERE.network)
        if restores:
            await closing.close(person.ports, made, person.account.id)

    meanwhile: Any = Meanwhile(person.ports.passwords, changed)
    ports = msgspec.structs.replace(person.ports, passwords=meanwhile)
    enter = restoring.by_password if restores else signing_in.by_password
    with pytest.raises(WrongCredentials):
        await enter(ports, context(PUBLIC), Presented(person.email, PASSWORD, NOTHING), HERE)


async def test_name_that_changes_hands_while_it_is_checked_opens_neither_account(
    house: House, somebody: Somebody
) -> None:
    """The failure was counted for the one that had it; the next try finds the other."""
    person = await somebody()
    made = context(person.principal())
    heirs: list[str] = []

    async def inherited() -> None:
        await closing.close_own(person.ports, made, erase=True, grace_days=0)
        heirs.append((await house.account(person.email)).id)

    meanwhile: Any = Meanwhile(person.ports.passwords, inherited)
    ports = msgspec.structs.replace(person.ports, passwords=meanwhile)
    with pytest.raises(WrongCredentials):
        await signing_in.by_password(
            ports, context(PUBLIC), Presented(person.email, PASSWORD, NOTHING), HERE
        )
    assert [(await person.sign_in()).account.id] == heirs


async def test_what_cannot_be_undone_takes_a_fresh_sign_in(somebody: Somebody) -> None:
    """Or whoever finds a token destroys an account, and not only closes it."""
    person = await somebody()
    old = context(person.principal(age=601))
    for days in (0, 29):
        with pytest.raises(FreshSignInRequired):
            await closing.close_own(person.ports, old, erase=True, grace_days=days)
    assert (await closing.close_own(person.ports, old, erase=True))[0].status == "closed"
    other = await somebody()
    fresh = context(other.principal())
    receipt, _ = await closing.close_own(other.ports, fresh, erase=True, grace_days=0)
    assert receipt.status == "erased"


async def test_restoring_is_no_failed_sign_in(somebody: Somebody) -> None:
    person = await somebody()
    policy = Policy(throttles=ThrottlePolicy(lockout_after=1))
    person.ports = msgspec.structs.replace(person.ports, policy=policy)
    await closing.close(person.ports, context(person.principal()), person.account.id)
    await restoring.by_password(
        person.ports, context(PUBLIC), Presented(person.email, PASSWORD, NOTHING), HERE
    )
    assert await person.sign_in()


async def test_locked_account_tells_nobody_at_restoring_that_a_password_is_right(
    somebody: Somebody,
) -> None:
    """Nor by the guesses of its app, which are counted only where it is."""
    person = await somebody()
    await person.set_up_app()
    policy = Policy(throttles=ThrottlePolicy(lockout_after=1), totp_guesses_per_hour=1)
    person.ports = msgspec.structs.replace(person.ports, policy=policy)
    with pytest.raises(WrongCredentials):
        await person.sign_in(password="wrong")
    wrong = SecondFactor(totp="000000")
    for _ in range(3):
        with pytest.raises(SignInsThrottled):
            await restoring.by_password(
                person.ports, context(PUBLIC), Presented(person.email, PASSWORD, wrong), HERE
            )


async def outcomes(tries: list[Any]) -> list[type]:
    found = await asyncio.gather(*tries, return_exceptions=True)
    return [type(each) for each in found]


async def test_password_alone_opens_nothing_once_there_is_an_app(somebody: Somebody) -> None:
    ada = await somebody()
    await ada.set_up_app()
    with pytest.raises(MfaRequired) as missing:
        await ada.sign_in()
    assert missing.value.factors == ("totp", "recovery_code")
    assert missing.value.wrong is None
    wrong = SecondFactor(totp="000000" if ada.code().totp != "000000" else "111111")
    with pytest.raises(MfaRequired) as refused:
        await ada.sign_in(wrong)
    assert refused.value.wrong == "totp"
    with pytest.raises(WrongCredentials):
        await ada.sign_in(ada.code(), password="not her password")
    signed_in = await ada.sign_in(ada.code())
    claims = ada.ports.tokens.check(signed_in.access_token, ada.ports.clock())
    assert claims.amr == ["pwd", "otp", "mfa"]


async def test_fifty_replays_of_a_totp_code_at_once_open_once(somebody: Somebody) -> None:
    ada = await somebody()
    await ada.set_up_app()
    code = ada.code()
    found = await outcomes([ada.sign_in(code) for _ in range(50)])
    assert found.count(SignedIn) == 1
    assert set(found) <= {SignedIn, MfaRequired, TooManyAttempts}
    with pytest.raises((MfaRequired, TooManyAttempts)):
        await ada.sign_in(code)


async def test_the_code_that_confirmed_an_app_signs_nobody_in(somebody: Somebody) -> None:
    ada = await somebody()
    await ada.set_up_app()
    with pytest.raises(MfaRequired):
        await ada.sign_in(ada.code(-1))


async def test_guesses_of_a_totp_code_are_limited_and_a_recovery_code_still_opens(
    somebody: Somebody,
) -> None:
    ada = await somebody()
    codes = await ada.set_up_app()
    wrong = SecondFactor(totp="0" if ada.code().totp == "000000" else "000000")
    found = await outcomes([ada.sign_in(wrong) for _ in range(30)])
    assert (found.count(MfaRequired), found.count(TooManyAttempts)) == (10, 20)
    with pytest.raises(TooManyAttempts):
        await ada.sign_in(ada.code())
    await ada.sign_in(SecondFactor(recovery_code=codes[0]))
    ada.later += timedelta(hours=1)
    await ada.sign_in(ada.code())


async def test_twenty_uses_of_a_recovery_code_at_once_open_once(somebody: Somebody) -> None:
    ada = await somebody()
    codes = await ada.set_up_app()
    assert len(codes) == 10
    typed = SecondFactor(recovery_code=codes[3].upper().replace("-", " "))
    found = await outcomes([ada.sign_in(typed) for _ in range(20)])
    assert found.count(SignedIn) == 1
    with pytest.raises(MfaRequired):
        await ada.sign_in(typed)
    state = ada.ports.directory.account(ada.account.id)
    assert state is not None
    assert state.recovery_codes == 9


async def test_an_email_otp_is_never_a_second_factor(somebody: Somebody) -> None:
    ada = await somebody()
    await ada.set_up_app()
    token = await ada.token()
    with pytest.raises(MfaRequired) as missing:
        await ada.by_token(token)
    assert missing.value.factors == ("totp", "recovery_code")
    # It stays good while the factor is missing, opens with it, and then never again.
    signed_in = await ada.by_token(token, ada.code())
    claims = ada.ports.tokens.check(signed_in.access_token, ada.ports.clock())
    assert claims.amr == ["otp", "mfa"]
    ada.later += timedelta(seconds=30)
    with pytest.raises(WrongCredentials):
        await ada.by_token(token, ada.code())


async def test_an_email_otp_signs_in_once_and_proves_the_address(somebody: Somebody) -> None:
    ada = await somebody()
    token = await ada.token()
    found = await outcomes([ada.by_token(token) for _ in range(5)])
    assert sorted(each.__name__ for each in found) == ["SignedIn", *["WrongCredentials"] * 4]
    state = ada.ports.directory.account(ada.account.id)
    assert state is not None
    assert state.email_verified
    for odd in ("", "thv_", "thv_" + "a" * 43, "\ud800"):
        with pytest.raises(WrongCredentials):
            await ada.by_token(odd)


async def test_a_lock_is_opened_by_a_second_factor_a_code_by_mail_or_a_passkey(
    house: House, somebody: Somebody
) -> None:
    ada = await somebody()
    strict = ThrottlePolicy(lockout_after=3, second_factors_per_hour=10)
    ada.ports = msgspec.structs.replace(
        ada.ports, policy=msgspec.structs.replace(house.ports.policy, throttles=strict)
    )
    await ada.set_up_app()
    passkey = SoftPasskey()
    await ada.add(passkey, "mfa")

    async def lock() -> None:
        for _ in range(3):
            with pytest.raises(WrongCredentials):
                await ada.sign_in(password="not her password")
        with pytest.raises(SignInsThrottled):
            await ada.sign_in()

    await lock()
    for second, password in (
        (SecondFactor(totp="000000"), PASSWORD),
        (ada.code(), "not her password"),
        (SecondFactor(recovery_code="abcd"), PASSWORD),
    ):
        with pytest.raises(SignInsThrottled):  # which part was wrong is not told
            await ada.sign_in(second, password)
    await ada.sign_in(ada.code())
    ada.later += timedelta(seconds=30)
    await lock()
    await ada.by_token(await ada.token(), ada.code())
    await lock()
    await ada.by_passkey(passkey.get(ada.challenge()))
    ada.later += timedelta(seconds=30)
    await ada.sign_in(ada.code())  # the lock is over with each of them


async def test_a_lock_stays_shut_for_an_account_without_a_second_factor(
    house: House, somebody: Somebody
) -> None:
    ada = await somebody()
    strict = ThrottlePolicy(lockout_after=3, second_factors_per_hour=10)
    ada.ports = msgspec.structs.replace(
        ada.ports, policy=msgspec.structs.replace(house.ports.policy, throttles=strict)
    )
    for _ in range(3):
        with pytest.raises(WrongCredentials):
            await ada.sign_in(password="not her password")
    for second in (NOTHING, SecondFactor(totp="123456")):
        with pytest.raises(SignInsThrottled):
            await ada.sign_in(second)


async def test_a_passkey_is_both_factors(somebody: Somebody) -> None:
    ada = await somebody()
    passkey = SoftPasskey()
    added = await ada.add(passkey)
    assert len(added.codes.codes) == 10
    signed_in = await ada.by_passkey(passkey.get(ada.challenge()))
    claims = ada.ports.tokens.check(signed_in.access_token, ada.ports.clock())
    assert (claims.sub, claims.amr) == (ada.account.id, ["pop", "user", "mfa"])
    with pytest.raises(MfaRequired) as missing:
        await ada.sign_in()
    assert missing.value.factors == ("passkey", "recovery_code")
    beside = SecondFactor(passkey=passkey.get(ada.challenge()))
    both = await ada.sign_in(beside)
    assert ada.ports.tokens.check(both.access_token, ada.ports.clock()).amr[0] == "pwd"
    with pytest.raises(MfaRequired):  # the challenge was used
        await ada.sign_in(beside)
    (listed,) = await passkeys.of_caller(ada.ports, ada.principal())
    assert (listed.name, listed.passkey.sign_count) == ("Laptop", 2)
    assert listed.passkey.last_used_at is not None


async def test_fifty_replays_of_a_passkeys_answer_at_once_open_once(somebody: Somebody) -> None:
    for counter in (0, None):
        ada = await somebody()
        passkey = SoftPasskey(counter=counter)
        await ada.add(passkey)
        answer = passkey.get(ada.challenge())
        found = await outcomes([ada.by_passkey(answer) for _ in range(50)])
        assert (found.count(SignedIn), found.count(WrongCredentials)) == (1, 49)


async def test_a_passkeys_answer_opens_only_what_it_was_made_for(somebody: Somebody) -> None:
    ada, bob = await somebody(), await somebody()
    passkey, his = SoftPasskey(), SoftPasskey()
    await ada.add(passkey)
    await bob.add(his)

    def changed(**fields: Any) -> dict[str, Any]:
        before = {name: getattr(passkey, name) for name in fields}
        for name, value in fields.items():
            setattr(passkey, name, value)
        answer = passkey.get(ada.challenge())
        for name, value in before.items():
            setattr(passkey, name, value)
        return answer

    old = ada.challenge()
    for_adding: Any = await passkeys.options(ada.ports, ada.principal("mfa"))
    answer = passkey.get(ada.challenge())
    cut = {**answer, "response": {**answer["response"], "signature": "AAAA"}}
    foreign = {**answer, "id": his.get(ada.challenge())["id"], "rawId": his.get(old)["id"]}
    refused = [
        changed(origin="https://evil.example"),
        changed(origin="http://localhost.evil.example:8080"),
        changed(flags=PRESENT),
        changed(flags=0),
        changed(handle=his.handle),
        changed(key=his.key),
        changed(id=b"unknown"),
        passkey.get({**old, "rpId": "evil.example"}),
        passkey.get({**old, "challenge": "AAAA"}),
        passkey.get({**old, "challenge": for_adding["challenge"]}),
        cut,
        foreign,
        {**answer, "response": {}},
        {},
    ]
    passkey.counter = 100
    for credential in refused:
        with pytest.raises(WrongCredentials):
            await ada.by_passkey(credential)
    late = passkey.get(old)
    ada.later += timedelta(minutes=6)
    with pytest.raises(WrongCredentials):
        await ada.by_passkey(late)
    await ada.by_passkey(passkey.get(ada.challenge()))
    passkey.counter = 50  # somebody has a copy that was used less often
    with pytest.raises(WrongCredentials):
        await ada.by_passkey(passkey.get(ada.challenge()))
    with pytest.raises(MfaRequired):  # nobody's passkey is another's second factor
        await ada.sign_in(SecondFactor(passkey=his.get(ada.challenge())))


async def test_a_passkey_is_registered_once_for_whom_the_options_were(somebody: Somebody) -> None:
    ada, bob = await somebody(), await somebody()
    passkey = SoftPasskey()
    hers: Any = await passkeys.options(ada.ports, ada.principal())
    answer = passkey.create(hers)
    with pytest.raises(PasskeyNotAccepted):
        await passkeys.add(bob.ports, context(bob.principal()), answer, None)
    tries = [passkeys.add(ada.ports, context(ada.principal()), answer, None) for _ in range(5)]
    found = await outcomes(tries)
    assert found.count(tuple) == 1
    assert set(found) <= {tuple, PasskeyNotAccepted, Taken, FreshSignInRequired}
    with pytest.raises(Taken):
        await bob.add(passkey)
    for wrong in (
        SoftPasskey(origin="https://evil.example"),
        SoftPasskey(flags=PRESENT),
    ):
        options: Any = await passkeys.options(bob.ports, bob.principal())
        with pytest.raises(PasskeyNotAccepted):
            await passkeys.add(bob.ports, context(bob.principal()), wrong.create(options), None)
    hers = await passkeys.options(ada.ports, ada.principal("mfa"))
    assert len(hers["excludeCredentials"]) == 1


async def test_factors_are_changed_only_by_a_fresh_sign_in_with_the_factor_there_is(
    somebody: Somebody,
) -> None:
    ada = await somebody()

    async def refused(error: type[Exception], *amr: str, **more: Any) -> None:
        principal = ada.principal(*amr, **more)
        made, ports = context(principal), ada.ports
        for attempt in (
            factors.offer_totp(ports, principal),
            factors.confirm_totp(ports, made, "123456"),
            factors.issue_recovery_codes(ports, made),
            passkeys.options(ports, principal),
            passkeys.add(ports, made, {}, None),
        ):
            with pytest.raises(error):
                await attempt

    await refused(FreshSignInRequired, age=601)
    await refused(NotPermitted, impersonator="acct_staff")
    await ada.set_up_app()
    added = await ada.add(SoftPasskey(), "pwd", "otp", "mfa")
    assert added.codes.codes == ()
    await refused(FreshSignInRequired)
    await refused(FreshSignInRequired, "pwd", "otp", "mfa", age=601)
    for amr, age in ((("pwd",), 0), (("mfa",), 601)):
        made = context(ada.principal(*amr, age=age))
        with pytest.raises(FreshSignInRequired):
            await factors.remove_totp(ada.ports, made)
        with pytest.raises(FreshSignInRequired):
            await passkeys.remove(ada.ports, made, added.named.passkey.passkey_id)


async def test_every_change_of_factors_is_told_to_the_owner(somebody: Somebody) -> None:
    ada = await somebody()
    await ada.set_up_app()
    passkey = (await ada.add(SoftPasskey(), "mfa")).named.passkey
    fresh = context(ada.principal("mfa"))
    await factors.issue_recovery_codes(ada.ports, fresh)
    await factors.remove_totp(ada.ports, fresh)
    await passkeys.remove(ada.ports, fresh, passkey.passkey_id)
    expected = ["factor_added"] * 2 + ["recovery_codes_issued"] + ["factor_removed"] * 2
    assert await ada.told() == expected


async def test_a_recovery_code_that_opened_is_told_to_the_owner_once(somebody: Somebody) -> None:
    ada = await somebody()
    codes = await ada.set_up_app()
    with pytest.raises(MfaRequired):
        await ada.sign_in(SecondFactor(recovery_code="abcd-efgh-jkmn-pqrs"))
    second = SecondFactor(recovery_code=codes[0])
    await asyncio.gather(*(ada.sign_in(second) for _ in range(5)), return_exceptions=True)
    told = await mail_to(ada.ports, ada.email)
    assert [mail.template for mail in told] == ["factor_added", "recovery_code_used"]
    assert told[-1].values["left"] == "9"


async def test_new_recovery_codes_end_the_old_and_the_last_factor_ends_all(
    somebody: Somebody,
) -> None:
    ada = await somebody()
    with pytest.raises(NoSecondFactor):
        await factors.issue_recovery_codes(ada.ports, context(ada.principal()))
    old = await ada.set_up_app()
    fresh = context(ada.principal("mfa"))
    new, _ = await factors.issue_recovery_codes(ada.ports, fresh)
    assert not set(old) & set(new.codes)
    with pytest.raises(MfaRequired):
        await ada.sign_in(SecondFactor(recovery_code=old[0]))
    await ada.sign_in(SecondFactor(recovery_code=new.codes[0]))
    await factors.remove_totp(ada.ports, fresh)
    with pytest.raises(NotFound):
        await factors.remove_totp(ada.ports, fresh)
    await ada.sign_in()  # the password alone again
    again = await ada.set_up_app()
    assert len(again) == 10
    with pytest.raises(MfaRequired):
        await ada.sign_in(SecondFactor(recovery_code=new.codes[1]))


async def test_a_new_app_takes_the_place_of_the_old_one_only_once_it_is_confirmed(
    somebody: Somebody,
) -> None:
    ada = await somebody()
    await ada.set_up_app()
    old = ada.secret
    offered = await factors.offer_totp(ada.ports, ada.principal("mfa"))
    await ada.sign_in(ada.code())
    for wrong in ("", "123", ada.code().totp):
        with pytest.raises(InvalidCommand):
            await factors.confirm_totp(ada.ports, context(ada.principal("mfa")), wrong)
    ada.secret = base64.b32decode(offered.secret)
    code = ada.code().totp
    codes, _ = await factors.confirm_totp(ada.ports, context(ada.principal("mfa")), code)
    assert codes.codes == ()  # those from before still count
    with pytest.raises(InvalidCommand):  # there is nothing to confirm any more
        await factors.confirm_totp(ada.ports, context(ada.principal("mfa")), code)
    ada.later += timedelta(seconds=30)
    await ada.sign_in(ada.code())
    ada.later, ada.secret = ada.later + timedelta(seconds=60), old
    with pytest.raises(MfaRequired):
        await ada.sign_in(ada.code())


async def test_a_hash_that_is_out_of_date_is_renewed_by_the_sign_in(
    house: House, somebody: Somebody, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await somebody()
    before = await house.lookups.password_hash(ada.account.id)
    monkeypatch.setattr(house.passwords, "needs_rehash", lambda hash: hash == before)
    await ada.sign_in()
    after = await house.lookups.password_hash(ada.account.id)
    assert after != before
    await ada.sign_in()
    assert await house.lookups.password_hash(ada.account.id) == after


async def test_names_that_nobody_has_cost_the_same_work(house: House, somebody: Somebody) -> None:
    ada = await somebody()
    for name in (ada.email, "bob@example.org", "nobody", "", "@", "\ud800@example.org"):
        house.passwords.verified.clear()
        with pytest.raises(WrongCredentials):
            await ada.sign_in(password="wrong password", name=name)
        assert len(house.passwords.verified) == 1


def test_policy_has_a_limit_of_guesses() -> None:
    assert Policy().totp_guesses_per_hour == 10
