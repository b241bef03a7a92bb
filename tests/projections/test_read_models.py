"""Read models: what they hold is what the log folds to, and nothing that must stay in the log."""

from datetime import UTC, datetime

import msgspec
import pytest

from application import accounts, api_keys
from domain.api_keys import AmendApiKey, ApiKey
from domain.quotas import MAX_AMOUNT, Quota
from projections.api_keys import without_digest
from tests.application.house import House, context, opened, owner
from tests.factories import an_id, an_issued, registered
from tests.infra.following import (
    caught_up,
    checkpoint,
    end_of,
    followed,
    kept,
    rows,
    run,
    until,
    usage,
    written,
)

pytestmark = pytest.mark.anyio

MICROSECOND = 1_790_000_000_000_001


async def lived_in(house: House) -> None:
    """Accounts and keys to which everything has happened that can."""
    for number in range(3):
        account = await house.account(f"canary-{number}@example.org", plan="pro")
        kept_key = await house.key(account, f"key {number}", Quota(10, "day"))
        command = AmendApiKey(
            name="renamed \\ \"quoted\" 'ü' \U0001f600",
            permissions=("orders.read",),
            expires_at=datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
            metadata={"big": 1e300, "float": 1.0, "text": "\\u0000", "null": None},
            tags=("a,b", "{}"),
            external_id="NULL",
            enabled=False,
        )
        await api_keys.amend(house.ports, context(owner(account)), kept_key.key.id, command)
        ended = await house.key(account, "ended")
        await api_keys.revoke(house.ports, context(), ended.key.id, "canary-reason")
        await accounts.suspend(house.ports, context(), account.id, "canary-reason")
        if number:
            await accounts.reinstate(house.ports, context(), account.id, None)


async def test_accounts_and_keys_are_what_commands_wrote_in_their_transactions(
    database_url: str,
) -> None:
    async with opened(database_url) as house:
        await lived_in(house)
    await followed(database_url)
    made = rows(database_url, "SELECT account_id, version, state FROM account_list ORDER BY 1")
    states = rows(
        database_url,
        "SELECT stream_id, version, convert_from(state, 'UTF8') FROM states "
        "WHERE noun = 'account' ORDER BY 1",
    )
    assert made == states
    assert len(made) == 3
    made = rows(database_url, "SELECT key_id, version, state FROM key_list ORDER BY 1")
    states = rows(
        database_url,
        "SELECT stream_id, version, state FROM states WHERE noun = 'api_key' ORDER BY 1",
    )
    assert [
        (id, version, msgspec.json.decode(state, type=ApiKey)) for id, version, state in made
    ] == [
        (id, version, without_digest(msgspec.json.decode(state, type=ApiKey)))
        for id, version, state in states
    ]
    assert len(made) == 6


async def test_columns_say_what_the_state_says(database_url: str) -> None:
    async with opened(database_url) as house:
        await lived_in(house)
    await followed(database_url, "accounts", "keys")
    found = rows(
        database_url,
        "SELECT DISTINCT plan, status, kind, roles, email_verified FROM account_list ORDER BY 2",
    )
    assert found == [
        ("pro", "active", "personal", [], False),
        ("pro", "suspended", "personal", [], False),
    ]
    for name, expires_at, external_id, enabled, revoked_at, state in rows(
        database_url,
        "SELECT name, expires_at, external_id, enabled, revoked_at, state FROM key_list",
    ):
        key = msgspec.json.decode(state, type=ApiKey)
        assert (name, external_id, enabled) == (key.name, key.external_id, key.enabled)
        assert (revoked_at is None) == (key.revoked_at is None)
        if expires_at is not None:
            assert expires_at == datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


async def test_it_is_the_same_in_one_batch_and_event_by_event(database_url: str) -> None:
    everything = "SELECT to_jsonb(t)::text FROM {} t ORDER BY 1"
    tables = ("account_list", "key_list", "history")
    async with kept(database_url):
        async with opened(database_url) as house:
            await lived_in(house)
        await caught_up(database_url)
    live = [rows(database_url, everything.format(table)) for table in tables]
    for table in tables:
        run(database_url, f"TRUNCATE {table}")
    run(database_url, "UPDATE followers SET position = 0")
    await followed(database_url)
    assert [rows(database_url, everything.format(table)) for table in tables] == live


async def test_history_is_the_log_without_what_is_personal_or_internal(database_url: str) -> None:
    async with opened(database_url) as house:
        await lived_in(house)
    await followed(database_url, "history")
    assert rows(
        database_url, "SELECT position, stream, version, type FROM history ORDER BY 1"
    ) == rows(
        database_url,
        "SELECT notification_id, originator_id, originator_version, topic FROM decisions "
        "ORDER BY 1",
    )
    text = str(rows(database_url, "SELECT to_jsonb(h)::text FROM history h"))
    assert "canary" not in text
    assert "digest" not in text
    assert "pepper" not in text


async def test_no_read_model_holds_a_digest_or_an_address(database_url: str) -> None:
    async with opened(database_url) as house:
        await lived_in(house)
        issued = await house.key(await house.account())
        digest = house.ports.digests.key(issued.secret)
    await followed(database_url)
    for table in ("account_list", "key_list", "history"):
        text = str(rows(database_url, f"SELECT to_jsonb(t)::text FROM {table} t"))
        assert "canary" not in text
        assert "example.org" not in text
        assert issued.secret not in text
        assert msgspec.json.encode(digest).decode().strip('"') not in text
        assert digest.hex() not in text


async def test_uses_are_sums_of_verdicts_and_nobody_counts_what_was_none(
    database_url: str,
) -> None:
    first, second, third = an_id("key"), an_id("key"), an_id("key")
    written(
        database_url,
        [
            usage(
                "usage_a",
                1,
                [
                    (first, "VALID", 2, MICROSECOND),
                    (first, "VALID", 3, MICROSECOND + 5),
                    (first, "EXPIRED", 1, MICROSECOND + 9),
                    (None, "NOT_FOUND", 1, MICROSECOND),
                    (second, "REVOKED", 1, MICROSECOND),
                    (third, "UNAVAILABLE", 1, MICROSECOND),
                    (third, "VALID", 1, MICROSECOND),
                    (second, "VALID", 1, MICROSECOND),
                ],
                # The last but one was asked again, and the last one was over its quota.
                refused=[6, 7],
                refused_by=[-1, 1],
            ),
            usage("usage_a", 2, [(first, "VALID", MAX_AMOUNT, MICROSECOND + 3)] * 1030),
        ],
    )
    await followed(database_url, "key_uses")
    found = {
        row[0]: row[1:]
        for row in rows(
            database_url,
            "SELECT key_id, verifications, denied, cost, "
            "(extract(epoch FROM last_used_at) * 1000000)::bigint FROM key_uses",
        )
    }
    assert found == {
        first: (1032, 1, 5 + 1030 * MAX_AMOUNT, MICROSECOND + 5),
        second: (0, 2, 0, None),
    }


async def test_usage_adds_to_what_was_there(database_url: str) -> None:
    key = an_id("key")
    for version in (1, 2, 3):
        verdicts = [(key, "VALID", 1, MICROSECOND - version), (key, "DISABLED", 1, MICROSECOND)]
        written(database_url, [usage("usage_a", version, verdicts)])
        await followed(database_url, "key_uses")
    assert rows(
        database_url,
        "SELECT verifications, denied, cost, "
        "(extract(epoch FROM last_used_at) * 1000000)::bigint FROM key_uses",
    ) == [(3, 3, 3, MICROSECOND - 1)]


async def test_an_event_that_does_not_follow_what_the_table_holds_stops_the_model(
    database_url: str,
) -> None:
    account_id = an_id("acct")
    key = an_issued(account_id)
    written(
        database_url,
        [(account_id, 1, registered(account_id)), (key.key_id, 1, key)],
        account_id,
    )
    await followed(database_url)
    run(database_url, "UPDATE followers SET position = 0 WHERE name = 'keys'")
    async with kept(database_url):
        await until(
            lambda: rows(
                database_url, "SELECT 1 FROM followers WHERE name = 'keys' AND stopped_at = 2"
            )
        )
    assert checkpoint(database_url, "keys") < end_of(database_url, "decisions")
