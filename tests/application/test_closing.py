"""Closing, restoring, erasing: decided on the log, and nothing of the person is left."""

import copy
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from application import (
    account_admin,
    account_amending,
    account_import,
    accounts,
    api_keys,
    challenges,
    closing,
    erasing,
    housekeeping,
    quotas,
    staff,
    starting,
)
from application.account_import import ImportedAccount
from application.closing import Receipt
from application.deciding import ACCOUNT, Principal, load
from application.errors import StoreUnavailable
from application.ports import Policy
from domain.accounts import Account, Profile
from domain.errors import (
    AccountIsStaff,
    AccountNotActive,
    ImportRefused,
    InvalidCommand,
    NotClosed,
    NotFound,
    NotPermitted,
)
from domain.quotas import Quota
from infra.embedded import RunningPostgres
from infra.erasure_ledger import FolderLedger
from tests.application.house import House, context, opened, owner
from tests.conftest import fresh_database
from tests.factories import an_id

pytestmark = pytest.mark.anyio

# Hashes of "correct horse battery" that other systems made.
FOREIGN = "pbkdf2_sha256$1000$saltysalt$0vU4z3U7ZgqzvPjVxd+Jv4v9W4dZy9kq0b1gq8m1w5c="


@pytest.fixture(scope="module")
async def shared(postgres_server: RunningPostgres) -> AsyncIterator[House]:
    with fresh_database(postgres_server) as url:
        async with opened(url, Policy(close_grace_days=30)) as house:
            yield house


@pytest.fixture
def house(shared: House) -> House:
    """The one house of this file; its ports are each test's own."""
    return copy.copy(shared)


async def status(house: House, account_id: str) -> str:
    state = (await load(house.ports, ACCOUNT, account_id)).state
    assert state is not None
    return state.status


async def close(
    house: House, account: Account, by: Principal | None = None, **how: object
) -> Receipt:
    asked = context(by or owner(account))
    receipt, _ = await closing.close(house.ports, asked, account.id, **how)  # type: ignore[arg-type]
    return receipt


def days_later(house: House, days: int) -> House:
    """The same house with a clock that is ahead."""
    house.ports = msgspec.structs.replace(
        house.ports, clock=lambda: datetime.now(UTC) + timedelta(days=days)
    )
    return house


async def test_a_closed_account_can_be_restored_by_its_owner_within_the_grace_period(
    house: House,
) -> None:
    account = await house.account()
    receipt = await close(house, account)
    assert (receipt.mode, receipt.status, receipt.erased) == ("close", "closed", None)
    assert receipt.final_at is not None
    assert receipt.final_at - receipt.at == timedelta(days=30)
    assert await status(house, account.id) == "closed"

    restored, _ = await closing.restore(house.ports, context(owner(account)), account.id)
    assert restored.status == "active"
    with pytest.raises(NotClosed):
        await closing.restore(house.ports, context(owner(account)), account.id)


async def test_nothing_is_restored_when_the_grace_period_is_over(house: House) -> None:
    account = await house.account()
    await close(house, account)
    days_later(house, 30)
    with pytest.raises(NotClosed):
        await closing.restore(house.ports, context(owner(account)), account.id)


async def test_what_staff_closed_its_owner_does_not_restore(house: House) -> None:
    account = await house.account()
    await close(house, account, context().principal, reason="abuse")
    with pytest.raises(NotPermitted):
        await closing.restore(house.ports, context(owner(account)), account.id)
    await closing.restore(house.ports, context(), account.id)
    assert await status(house, account.id) == "active"


async def test_nobody_closes_an_account_of_somebody_else(house: House) -> None:
    account, stranger = await house.account(), await house.account()
    with pytest.raises(NotFound):
        await close(house, account, owner(stranger))
    acting = msgspec.structs.replace(owner(account), impersonator=stranger.id)
    with pytest.raises(NotPermitted):
        await close(house, account, acting)
    advanced = msgspec.structs.replace(owner(stranger), roles=frozenset({"advanced"}))
    with pytest.raises(NotPermitted):
        await close(house, account, advanced, erase=True)
    assert await status(house, account.id) == "active"


async def test_staff_accounts_are_not_closed(house: House) -> None:
    command = accounts.RegisterAccount(
        email=f"{an_id('a')}@example.org", password="correct horse battery", roles=("admin",)
    )
    admin, _ = await accounts.make_account(house.ports, context(), command)
    with pytest.raises(AccountIsStaff):
        await close(house, admin.account)


async def test_days_may_be_waived_and_never_added(house: House) -> None:
    account = await house.account()
    with pytest.raises(InvalidCommand):
        await close(house, account, grace_days=31)
    first = await close(house, account, grace_days=3)
    again = await close(house, account, grace_days=30)
    assert again.final_at == first.final_at


async def test_erased_at_once_nothing_of_the_person_is_left_and_the_address_is_free(
    house: House, tmp_path: Path
) -> None:
    ledger = FolderLedger(tmp_path / "erasures")
    house.ports = msgspec.structs.replace(house.ports, ledger=ledger)
    email = f"{an_id('gone')}@example.org"
    account = await house.account(email)
    keys = [await house.key(account) for _ in range(2)]
    receipt = await close(house, account, erase=True, grace_days=0)

    assert (receipt.status, receipt.final_at) == ("erased", None)
    assert receipt.erased is not None
    assert receipt.erased["data_keys"] == 1
    assert receipt.erased["claims"] >= 1
    assert receipt.erased["keys_revoked"] == 2
    held = await house.ports.closings.held_of(account.id)
    assert {name: count for name, count in held.items() if count and name != "mail"} == {}
    assert house.vault.known(account.id) is None
    assert (await accounts.profile(house.ports, account.id)).email == ""
    for each in keys:
        key = await api_keys.get(house.ports, context().principal, each.key.id)
        assert key.revoked_at is not None
    assert [each.account_id for each in await ledger.read()] == [account.id]
    assert (await ledger.read())[0].position == receipt.position
    with pytest.raises(AccountNotActive):
        await close(house, account, erase=True)
    assert (await house.account(email)).id != account.id


class Between:
    """A port during whose method something else happens: before what it does, or after."""

    def __init__(
        self, port: Any, method: str, happens: Callable[[], Awaitable[Any]], *, before: bool
    ) -> None:
        self._port, self._method, self._happens, self._before = port, method, happens, before

    def __getattr__(self, name: str) -> Any:
        inner = getattr(self._port, name)
        if name != self._method:
            return inner

        async def call(*arguments: Any) -> Any:
            if self._before:
                await self._happens()
            found = await inner(*arguments)
            if not self._before:
                await self._happens()
            return found

        return call


async def test_who_has_keys_is_erased_at_once_by_staff_too(house: House) -> None:
    """The reason is good for all that the erasure writes."""
    account, admin = await house.account(), await house.account()
    await house.key(account)
    staffs = msgspec.structs.replace(owner(admin), roles=frozenset({"admin"}))
    receipt = await close(house, account, staffs, erase=True, grace_days=0, reason="asked to")
    assert receipt.status == "erased"
    assert receipt.erased is not None
    assert receipt.erased["keys_revoked"] == 1


@pytest.mark.parametrize(
    ("port", "method", "before"),
    [("closings", "held_of", True), ("store", "append", False), ("store", "append", True)],
)
async def test_there_is_a_receipt_of_the_erasure_whichever_process_did_it(
    house: House, tmp_path: Path, port: str, method: str, before: bool
) -> None:
    """Housekeeping may see the closing before its own process goes on."""
    account = await house.account()
    await house.key(account)
    ledger = FolderLedger(tmp_path)
    others = house.ports

    async def housekeeper() -> None:
        await erasing.erase_due(others)

    first = Between(getattr(others, port), method, housekeeper, before=before)
    changed: dict[str, Any] = {port: first, "ledger": ledger}
    house.ports = msgspec.structs.replace(others, **changed)
    receipt = await close(house, account, erase=True, grace_days=0, reason="enough")
    assert (receipt.status, receipt.final_at) == ("erased", None)
    assert receipt.erased is not None
    assert receipt.erased["data_keys"] == 1
    assert [(each.account_id, each.position) for each in await ledger.read()] == [
        (account.id, receipt.position)
    ]


async def test_what_was_on_its_way_to_who_was_erased_is_swept_up(house: House) -> None:
    """A code was asked for, and before it was written the account was gone."""
    email = f"{an_id('late')}@example.org"
    account = await house.account(email)
    plain = house.ports

    async def erased() -> None:
        asked = context(owner(account))
        await closing.close(plain, asked, account.id, erase=True, grace_days=0)

    slow: Any = Between(plain.lookups, "claim_holder", erased, before=False)
    await challenges.begin(msgspec.structs.replace(plain, lookups=slow), "sign_in", email)
    await plain.closings.sweep(plain.clock())
    found = await house.lookups.rows(
        "SELECT 'mail' FROM mail WHERE account_id = %s AND outcome IS DISTINCT FROM 'forgotten' "
        "UNION ALL SELECT 'challenge' FROM challenges WHERE account_id = %s",
        (account.id, account.id),
    )
    assert found == []


async def test_erasing_somebody_touches_no_mail_of_who_has_their_former_address_now(
    house: House,
) -> None:
    former = f"{an_id('former')}@example.org"
    account = await house.account(former)
    amended = account_amending.AmendAccount(email=f"{an_id('new')}@example.org")
    await account_amending.amend(house.ports, context(), account.id, amended, "a typo")
    other = await house.account(former)
    await challenges.begin(house.ports, "reset_password", former)
    await close(house, account, erase=True, grace_days=0)
    found = await house.lookups.rows(
        "SELECT template, outcome FROM mail WHERE account_id = %s", (other.id,)
    )
    assert found == [("reset_password", None)]


async def test_who_was_suspended_is_so_again_when_the_closing_is_undone(house: House) -> None:
    account = await house.account()
    await account_admin.suspend(house.ports, context(), account.id, "fraud")
    await close(house, account, context().principal, reason="more of it")
    restored, _ = await closing.restore(house.ports, context(), account.id)
    assert restored.status == await status(house, account.id) == "suspended"
    await account_admin.reinstate(house.ports, context(), account.id, "it was none")
    await close(house, account)
    restored, _ = await closing.restore(house.ports, context(owner(account)), account.id)
    assert restored.status == "active"


async def test_the_first_admin_is_made_once_even_if_they_are_gone_by_now(house: House) -> None:
    admin, secret = f"{an_id('first')}@example.org", f"th_live_{an_id('service')}"

    async def start() -> starting.Prepared:
        return await starting.prepare(
            house.ports, an_id("cmd"), admin, "the first admin's password", secret
        )

    made = await start()
    assert (made.admin_email, made.service_key) == (admin, True)
    account_id = await accounts.find(house.ports, admin)
    successor = await house.account()
    await staff.appoint(house.ports, context(), successor.id, "admin", "takes over")
    await accounts.suspend(house.ports, context(), account_id, "on leave")
    assert not (await start()).service_key  # and it starts
    await staff.dismiss(house.ports, context(), account_id, "left")
    await closing.close(house.ports, context(), account_id, erase=True, grace_days=0)
    again = await start()
    assert (again.admin_email, again.service_key) == (None, False)
    with pytest.raises(NotFound):
        await accounts.find(house.ports, admin)


async def test_every_process_forgets_the_data_key(house: House) -> None:
    account = await house.account()
    async with opened(house.url) as other:
        await accounts.profile(other.ports, account.id)
        assert other.vault.known(account.id) is not None
        receipt = await close(house, account, erase=True, grace_days=0)
        assert await other.directory.catch_up(receipt.position, 2)
        assert other.vault.known(account.id) is None


async def test_an_erasure_is_carried_out_when_it_is_due_and_not_before(house: House) -> None:
    account, other = await house.account(), await house.account()
    await close(house, account, erase=True)
    await close(house, other, erase=True)
    await closing.restore(house.ports, context(owner(other)), other.id)
    assert await erasing.erase_due(house.ports) == 0
    days_later(house, 31)
    assert await erasing.erase_due(house.ports) >= 1
    assert await erasing.erase_due(house.ports) == 0
    assert await status(house, account.id) == "erased"
    assert await status(house, other.id) == "active"


async def test_closing_alone_erases_nobody(house: House) -> None:
    account = await house.account()
    await close(house, account)
    days_later(house, 400)
    assert await erasing.erase_due(house.ports) == 0
    assert await status(house, account.id) == "closed"


async def test_the_ledger_gets_what_a_killed_process_did_not_write(
    house: House, tmp_path: Path
) -> None:
    account = await house.account()
    await close(house, account, erase=True, grace_days=0)  # this house has no ledger
    ledger = FolderLedger(tmp_path)
    house.ports = msgspec.structs.replace(house.ports, ledger=ledger)
    has = await erasing.fill_ledger(house.ports, 0)
    assert account.id in [each.account_id for each in await ledger.read()]
    assert await erasing.fill_ledger(house.ports, has) == has


async def test_who_is_in_the_ledger_is_erased_again_in_an_older_copy(
    house: House, tmp_path: Path
) -> None:
    """As after the restore of a dump: the log knows nothing of the erasure."""
    account, other = await house.account(), await house.account()
    ledger = FolderLedger(tmp_path)
    house.ports = msgspec.structs.replace(house.ports, ledger=ledger)
    gone = erasing.Erased(account.id, {}, datetime.now(UTC), 10**9)
    await erasing.to_ledger(house.ports, gone)
    await erasing.to_ledger(house.ports, msgspec.structs.replace(gone, account_id=an_id("acct")))
    assert await erasing.erase_again(house.ports) == [account.id]
    assert await erasing.erase_again(house.ports) == []
    assert await status(house, account.id) == "erased"
    assert await status(house, other.id) == "active"


async def test_housekeeping_goes_on_after_trouble(house: House) -> None:
    account = await house.account()
    await close(house, account, erase=True)
    days_later(house, 31)
    asked = 0

    class Unwell:
        async def write(self, erasures: list[object]) -> None:
            nonlocal asked
            asked += 1
            if asked == 1:
                raise OSError("disk full")

        async def read(self) -> list[object]:
            return []

    house.ports = msgspec.structs.replace(house.ports, ledger=Unwell())
    async with housekeeping.housekeeping(house.ports, 0.01):
        while asked < 2:
            await house.lookups.ping()
    assert await status(house, account.id) == "erased"


async def test_a_step_that_fails_for_good_stops_none_behind_it_and_is_said_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds: Counter[str] = Counter()
    steps = ["erase_due", "fill_ledger", "sweep", "tell_locks", "prune", "prune_throttles"]

    def fails(name: str) -> Callable[..., Awaitable[Any]]:
        async def failing(*_: object) -> Any:
            rounds[name] += 1
            raise OSError(f"{name} can't")

        return failing

    closings: Any = SimpleNamespace(sweep=fails("sweep"), prune=fails("prune"))
    throttles: Any = SimpleNamespace(prune=fails("prune_throttles"))
    for name in ("erase_due", "fill_ledger", "tell_locks"):
        monkeypatch.setattr(housekeeping, name, fails(name))
    ports = msgspec.structs.replace(house.ports, closings=closings, throttles=throttles)
    with capture_logs() as said:
        async with housekeeping.housekeeping(ports, 0.001):
            while rounds["prune_throttles"] < 3:
                await house.lookups.ping()
    assert all(rounds[name] >= 3 for name in steps), rounds
    assert sorted(each["problem"] for each in said) == sorted(f"{name} can't" for name in steps)


def an_item(**fields: object) -> ImportedAccount:
    given = {"email": f"{an_id('i')}@example.org", "password_hash": FOREIGN, **fields}
    return ImportedAccount(**given)  # type: ignore[arg-type]


async def test_what_can_be_imported_is_and_the_rest_is_told(house: House) -> None:
    taken = await house.account("taken@example.org")
    twice = an_item(username="twice")
    items = [
        an_item(external_id="one", username="first-one", email_verified=True, plan="pro"),
        an_item(email="taken@example.org"),
        an_item(email="no address"),
        an_item(password_hash="md5$x$y"),
        twice,
        an_item(username="twice"),
        an_item(external_id="one"),
        an_item(plan="internal"),
        an_item(password_hash=None),
        an_item(profile=Profile(name="Ada\x00")),
    ]
    report, _ = await account_import.bring_in(house.ports, context(), items)
    assert [each.index for each in report.imported] == [0, 4, 8]
    assert [(each.index, each.param) for each in report.refused] == [
        (1, "email"),
        (2, "email"),
        (3, "password_hash"),
        (5, "username"),
        (6, "external_id"),
        (7, "plan"),
        (9, "name"),
    ]
    first = (await load(house.ports, ACCOUNT, report.imported[0].id)).state
    assert first is not None
    assert (first.external_id, first.username) == ("one", "first-one")
    assert (first.plan, first.email_verified) == ("pro", True)
    assert await house.lookups.password_hash(first.id) == FOREIGN
    with pytest.raises(ImportRefused):
        await account_import.bring_in(house.ports, context(), items)
    with pytest.raises(NotPermitted):
        await account_import.bring_in(house.ports, context(owner(taken)), items)


async def test_a_thousand_accounts_are_imported_in_one_transaction(house: House) -> None:
    items = [an_item(external_id=f"many-{number}") for number in range(account_import.MAX_ITEMS)]
    report, position = await account_import.bring_in(house.ports, context(), items)
    assert (len(report.imported), report.refused) == (1000, [])
    assert house.directory.position >= position
    last = house.directory.account(report.imported[-1].id)
    assert last is not None
    assert last.external_id == "many-999"


async def test_no_table_about_a_person_is_forgotten_by_erasure(house: House) -> None:
    """A table with an account_id is erased, or is known to hold ids and numbers only."""
    tables = await house.lookups.rows(
        "SELECT table_name FROM information_schema.columns "
        "WHERE table_schema = 'tollhouse' AND column_name = 'account_id'",
        (),
    )
    source = (await house.lookups.rows("SELECT pg_get_functiondef('erase_account'::regproc)", ()))[
        0
    ]
    erased = {name for (name,) in tables if f"DELETE FROM {name} " in source[0]}
    by_row = {"mail"}
    ids_and_numbers = {
        *("states", "account_list", "key_list", "history", "erasures"),
        *("counters", "keys_issued"),
        *("credit_holds", "credit_decisions", "credit_uses", "credit_entries"),
    }
    assert {name for (name,) in tables} - erased - by_row <= ids_and_numbers
    assert erased >= {"data_keys", "claims", "passwords", "sessions", "passkeys", "totps"}


async def test_what_is_said_of_an_erased_account_is_refused_not_stored(house: House) -> None:
    """A reason can't be sealed any more, and is never written in clear."""
    account = await house.account()
    await close(house, account, erase=True, grace_days=0)
    with pytest.raises(AccountNotActive):
        await quotas.set_account_quota(
            house.ports, context(), account.id, Quota(5, "day"), "a reason"
        )


async def test_there_is_no_receipt_before_the_ledger_has_it(house: House, tmp_path: Path) -> None:
    account = await house.account()
    place = tmp_path / "full"
    place.write_text("a file where the folder should be")
    house.ports = msgspec.structs.replace(house.ports, ledger=FolderLedger(place))
    with pytest.raises(StoreUnavailable):
        await close(house, account, erase=True, grace_days=0)
    place.unlink()
    await erasing.fill_ledger(house.ports, 0)
    assert account.id in [each.account_id for each in await FolderLedger(place).read()]
