"""The master key rotates: everything under it opens under the next one, and nothing changes."""

from datetime import UTC, datetime, timedelta

import pytest

from application.mail import Mail, bound_to, mail_row
from application.rewrapping import Rewrapped
from infra.rewrapping import SEALED, rewrap
from infra.vault import MasterKeyVault
from tests.application.house import House, opened
from tests.factories import MASTER_KEY, a_vault
from tests.infra.following import rows, run

pytestmark = pytest.mark.anyio

NEXT = b"n" * 32


def test_every_table_that_is_sealed_under_the_master_key_is_among_them(database_url: str) -> None:
    found = rows(
        database_url,
        "SELECT table_name FROM information_schema.columns "
        "WHERE table_schema = 'tollhouse' AND column_name = 'master_key_id'",
    )
    assert {each[0] for each in found} == {each.table for each in SEALED}


async def sealed_things(house: House) -> None:
    """A row at least in every table."""
    await house.account("ada@example.org")
    now = datetime.now(UTC)
    for index in range(3):
        mail = Mail("verify_email", f"p{index}@example.org", {"code": "123456"})
        await house.lookups.write([mail_row(house.ports, mail, now)])
    for each in SEALED:
        if each.table in ("data_keys", "mail"):
            continue
        blob, master_key_id = house.vault.seal_secret(b"it", each.bound_to.format("x"))
        values: dict[str, object] = {each.id: "x", each.blob: blob}
        values["master_key_id"] = master_key_id
        for column, type in rows(
            house.url,
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = "
            "'tollhouse' AND table_name = %s AND is_nullable = 'NO' AND column_default IS NULL",
            each.table,
        ):
            some = {"text": "y", "bytea": b"y", "bigint": 1, "integer": 1, "smallint": 1}
            values.setdefault(column, some.get(type, now + timedelta(days=1)))
        names, marks = ", ".join(values), ", ".join(["%s"] * len(values))
        run(house.url, f"INSERT INTO {each.table} ({names}) VALUES ({marks})", *values.values())


def opened_by(vault: MasterKeyVault, url: str) -> dict[tuple[str, str], bytes]:
    """Everything that is sealed under the master key, by table and row."""
    return {
        (each.table, name): vault.open_secret(bytes(blob), key_id, each.bound_to.format(name))
        for each in SEALED
        for name, blob, key_id in rows(
            url, f"SELECT {each.id}, {each.blob}, master_key_id FROM {each.table}"
        )
    }


async def test_another_master_key_takes_everything_over_and_the_old_one_can_go(
    database_url: str,
) -> None:
    async with opened(database_url) as house:
        await sealed_things(house)
    before = opened_by(a_vault(), database_url)
    assert {table for table, _ in before} == {each.table for each in SEALED}
    both = MasterKeyVault(NEXT, MASTER_KEY)
    told: dict[str, int] = {}
    done = rewrap(database_url, both, told.__setitem__)
    assert told == {each.table: each.rewrapped for each in done}
    assert sum(told.values()) == len(before)
    assert not [each for each in done if each.unreadable]
    assert opened_by(MasterKeyVault(NEXT), database_url) == before
    again = rewrap(database_url, both, told.__setitem__)
    assert [each.rewrapped for each in again] == [0] * len(SEALED)


async def test_what_no_key_opens_is_counted_and_left_alone(database_url: str) -> None:
    async with opened(database_url) as house:
        await house.lookups.write(
            [mail_row(house.ports, Mail("account_closed", "a@b.example"), datetime.now(UTC))]
        )
    before = rows(database_url, "SELECT sealed, master_key_id FROM mail")
    stranger = MasterKeyVault(NEXT, b"o" * 32)
    done = rewrap(database_url, stranger, lambda table, count: None)
    assert Rewrapped(table="mail", rewrapped=0, unreadable=1) in done
    assert rows(database_url, "SELECT sealed, master_key_id FROM mail") == before
    assert a_vault().open_secret(bytes(before[0][0]), before[0][1], _place(database_url))


def _place(url: str) -> str:
    return bound_to(rows(url, "SELECT mail_id FROM mail")[0][0])
