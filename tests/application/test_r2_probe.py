import asyncio, copy
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
import msgspec, psycopg, pytest
from application import account_import, accounts, challenges, closing, erasing, credits, plans, account_admin, staff
from application.account_import import ImportedAccount
from application.deciding import ACCOUNT, load, SYSTEM, OPERATOR, Principal
from application.ports import Policy
from infra.embedded import RunningPostgres
from tests.application.house import House, context, opened, owner
from tests.conftest import fresh_database
from tests.factories import an_id

pytestmark = pytest.mark.anyio

@pytest.fixture(scope="module")
async def shared(postgres_server: RunningPostgres) -> AsyncIterator[House]:
    with fresh_database(postgres_server) as url:
        async with opened(url, Policy(close_grace_days=30)) as house:
            yield house

@pytest.fixture
def house(shared):
    return copy.copy(shared)

def left(house, account_id):
    with psycopg.connect(house.url) as c:
        tables = c.execute("SELECT table_name, column_name FROM information_schema.columns WHERE table_schema='tollhouse' AND column_name IN ('account_id','stream_id')").fetchall()
        if not tables:
            tables = c.execute("SELECT table_name, column_name FROM information_schema.columns WHERE column_name IN ('account_id') AND table_schema NOT IN ('pg_catalog','information_schema')").fetchall()
        return {t: c.execute(f"SELECT count(*) FROM {t} WHERE {col} = %s", (account_id,)).fetchone()[0] for t, col in tables}

class After:
    """claim_holder, then something."""
    def __init__(self, inner, then):
        self._inner, self._then = inner, then
    def __getattr__(self, name):
        return getattr(self._inner, name)
    async def claim_holder(self, *a):
        found = await self._inner.claim_holder(*a)
        await self._then()
        return found

async def erase(house, account):
    return (await closing.close(house.ports, context(owner(account)), account.id, erase=True, grace_days=0))[0]

async def test_begin_race(house):
    email = f"{an_id('u')}@example.org"
    account = await house.account(email)
    plain = house.ports
    async def then():
        await closing.close(plain, context(owner(account)), account.id, erase=True, grace_days=0)
    ports = msgspec.structs.replace(plain, lookups=After(plain.lookups, then))
    await challenges.begin(ports, "sign_in", email)
    found = {k: v for k, v in left(house, account.id).items() if v}
    print(found)
    assert "mail" not in found and "challenges" not in found

async def test_former_address(house):
    a_old, a_new = f"{an_id('u')}@example.org", f"{an_id('u')}@example.org"
    a = await house.account(a_old)
    from application.account_amending import AmendAccount, amend
    await amend(house.ports, context(), a.id, AmendAccount(email=a_new), "typo")
    b = await house.account(a_old)
    await challenges.begin(house.ports, "reset_password", a_old)
    await erase(house, a)
    with psycopg.connect(house.url) as c:
        rows = c.execute("SELECT template, outcome FROM mail WHERE account_id=%s", (b.id,)).fetchall()
    print(rows)
    assert rows == [("reset_password", None)]

async def test_receipt_when_housekeeper_first(house):
    account = await house.account()
    inner = house.ports
    class Closings:
        def __init__(s, i): s.i = i
        def __getattr__(s, n): return getattr(s.i, n)
        async def held_of(s, a):
            await erasing.erase_due(inner)
            return await s.i.held_of(a)
    ports = msgspec.structs.replace(inner, closings=Closings(inner.closings))
    receipt, position = await closing.close(ports, context(owner(account)), account.id, erase=True, grace_days=0, reason="bye")
    print(receipt)
    assert receipt.status == "erased"

async def test_receipt_when_housekeeper_first_early(house):
    account = await house.account()
    inner = house.ports
    class Store:
        def __init__(s, i): s.i = i
        def __getattr__(s, n): return getattr(s.i, n)
        async def append(s, *a, **k):
            p = await s.i.append(*a, **k)
            await erasing.erase_due(inner)
            return p
    ports = msgspec.structs.replace(inner, store=Store(inner.store))
    receipt, position = await closing.close(ports, context(owner(account)), account.id, erase=True, grace_days=0, reason="bye")
    print(receipt)
    assert receipt.status == "erased"

async def test_imports_at_once(house):
    items = [ImportedAccount(email=f"p{n}x@example.com", username=f"p{n}x", external_id=f"x{n}") for n in range(200)]
    res = await asyncio.gather(*(account_import.bring_in(house.ports, context(), items if k%2 else list(reversed(items))) for k in range(4)), return_exceptions=True)
    for r in res: print(type(r), r if isinstance(r, Exception) else (len(r[0].imported), len(r[0].refused)))
    with psycopg.connect(house.url) as c:
        assert c.execute("SELECT count(*) FROM claims WHERE kind='external_id'").fetchone()[0] == 200

async def test_grant_to_erased(house):
    account = await house.account()
    await erase(house, account)
    for what in (
        lambda: plans.assign(house.ports, context(), account.id, "pro", reason="x"),
        lambda: plans.assign(house.ports, context(), account.id, "enterprise"),
        lambda: staff.appoint(house.ports, context(), account.id, "viewer", "x"),
        lambda: account_admin.suspend(house.ports, context(), account.id, "x"),
        lambda: account_admin.reinstate(house.ports, context(), account.id, "x"),
        lambda: account_admin.end_sessions(house.ports, context(), account.id, "x"),
        lambda: account_admin.start_reset(house.ports, context(), account.id, "x"),
        lambda: closing.close(house.ports, context(), account.id, reason="x"),
        lambda: closing.restore(house.ports, context(), account.id, reason="x"),
    ):
        try:
            r = await what()
            print("OK", r)
        except Exception as e:
            print(type(e), e)
    print({k: v for k, v in left(house, account.id).items() if v})

async def test_suspended_closed_restored(house):
    account = await house.account()
    await account_admin.suspend(house.ports, context(), account.id, "fraud")
    await closing.close(house.ports, context(), account.id, reason="x")
    await closing.restore(house.ports, context(), account.id, reason="x")
    s = (await load(house.ports, ACCOUNT, account.id)).state
    print(s.status)
    account = await house.account()
    await closing.close(house.ports, context(owner(account)), account.id)
    r = await account_admin.suspend(house.ports, context(), account.id, "fraud")
    await closing.restore(house.ports, context(owner(account)), account.id)
    s = (await load(house.ports, ACCOUNT, account.id)).state
    print(s.status)
