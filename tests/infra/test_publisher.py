"""The publisher on a real JetStream: every event once, in order, and what it refuses."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import msgspec
import nats
import nats.errors
import psycopg
import pytest
from structlog.testing import capture_logs

from domain.accounts import AccountSuspended, PlanAssigned
from domain.event import NewEvent
from infra.embedded import RunningNats
from infra.event_mapper import EventMapper
from infra.event_store import PostgresEventStore
from infra.postgres.connection import conninfo
from infra.postgres.usage_log import PostgresUsageLog
from tests.factories import a_vault, metadata
from tests.faults.published import facts, logged, published, violations
from tests.infra.publishing import (
    EVENTS,
    USAGE,
    a_job,
    a_nats,
    api,
    append,
    follower,
    publishing,
    put,
    size,
    until,
    whole,
)
from tests.infra.test_counting import flush

pytestmark = pytest.mark.anyio


@pytest.fixture
def server() -> Iterator[RunningNats]:
    with a_nats() as running:
        yield running


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[PostgresEventStore]:
    opened = PostgresEventStore(database_url, "log1", a_vault(), EventMapper(), "decisions")
    yield opened
    await opened.close()


async def test_what_the_store_appends_is_published_with_its_headers(
    database_url: str, server: RunningNats, store: PostgresEventStore
) -> None:
    events = [PlanAssigned(plan="pro"), AccountSuspended()]
    async with publishing(database_url, a_job(server.url)):
        new = [NewEvent("acct_1", n, event, None) for n, event in enumerate(events, 1)]
        position = await store.append(new, metadata())
        await whole(server.url, database_url)
    first, second = await facts(server.url, EVENTS)
    assert first.subject == "tollhouse.evt.account.plan_assigned"
    assert second.subject == "tollhouse.evt.account.suspended"
    headers = dict(second.headers)
    # It may have come in the same step as the first one, or have been the first of its own.
    headers.pop("Nats-Expected-Last-Sequence", None)
    assert headers == {
        "Content-Type": "application/cloudevents+json",
        "Nats-Msg-Id": f"log1:{position}",
        "Nats-Expected-Stream": EVENTS,
        "Nats-Expected-Last-Msg-Id": f"log1:{position - 1}",
        "Tollhouse-Log": "log1",
        "Tollhouse-Position": f"log1:{position}",
    }
    document = msgspec.json.decode(second.body)
    assert document["id"] == f"log1:{position}"
    assert document["subject"] == "acct_1"


async def test_counted_flush_is_published_as_it_is_counted(
    database_url: str, server: RunningNats
) -> None:
    usage = PostgresUsageLog(database_url)
    client = await nats.connect(server.url)
    arrived = asyncio.Event()

    async def note(message: object) -> None:
        arrived.set()

    try:
        async with publishing(database_url, a_job(server.url, "usage", max_age_seconds=3600)):
            await usage.count(flush("usage_a", 1, [], [], [[]]))
            await whole(server.url, database_url, "usage")
            await client.subscribe("tollhouse.usage", cb=note)
            await client.flush()
            for version in range(2, 22):
                arrived.clear()
                await usage.count(flush("usage_a", version, [], [], [[]]))
                await asyncio.wait_for(arrived.wait(), 10)
        assert await published(server.url, USAGE) == logged(database_url, "usage")
    finally:
        await client.close()
        await usage.close()


async def test_streams_are_as_promised(database_url: str, server: RunningNats) -> None:
    append(database_url, 1)
    append(database_url, 1, "usage")
    async with (
        publishing(database_url, a_job(server.url)),
        publishing(database_url, a_job(server.url, "usage", max_age_seconds=7 * 86_400)),
    ):
        await whole(server.url, database_url)
        await whole(server.url, database_url, "usage")
    assert await violations(server.url, database_url) == []
    config = (await api(server.url, f"STREAM.INFO.{EVENTS}"))["config"]
    assert config["subjects"] == ["tollhouse.evt.>"]
    assert (config["storage"], config["discard"], config["max_age"]) == ("file", "old", 0)
    assert config["allow_direct"]
    config = (await api(server.url, f"STREAM.INFO.{USAGE}"))["config"]
    assert config["subjects"] == ["tollhouse.usage"]
    assert config["max_age"] == 7 * 86_400 * 10**9


async def test_stream_of_the_operator_stays_as_it_is_but_for_its_subjects(
    database_url: str, server: RunningNats
) -> None:
    made = {"name": EVENTS, "subjects": ["mine.>"], "max_bytes": 10**8, "description": "mine"}
    await api(server.url, f"STREAM.CREATE.{EVENTS}", made)
    before = (await api(server.url, f"STREAM.INFO.{EVENTS}"))["config"]
    append(database_url, 3)
    async with publishing(database_url, a_job(server.url)):
        await whole(server.url, database_url)
    after = (await api(server.url, f"STREAM.INFO.{EVENTS}"))["config"]
    assert after == {**before, "subjects": ["tollhouse.evt.>"]}


async def test_checkpoint_follows_the_acks(database_url: str, server: RunningNats) -> None:
    append(database_url, 700)

    async def there() -> bool:
        return (
            follower(database_url, "publish_events").position
            == logged(database_url, "decisions")[-1]
        )

    async with publishing(database_url, a_job(server.url)):
        await until(there)
    assert await published(server.url, EVENTS) == logged(database_url, "decisions")


async def test_flush_of_fifty_thousand_rows_is_published(
    database_url: str, server: RunningNats
) -> None:
    append(database_url, 1, "usage", rows=50_000)
    append(database_url, 2, "usage")
    async with publishing(database_url, a_job(server.url, "usage", max_age_seconds=3600)):
        await whole(server.url, database_url, "usage")
    # And a look at a stream that ends with one.
    append(database_url, 1, "usage", rows=50_000)
    for _ in range(2):
        async with publishing(database_url, a_job(server.url, "usage", max_age_seconds=3600)):
            await whole(server.url, database_url, "usage")
        append(database_url, 1, "usage")


async def test_message_too_large_for_the_server_stops_publication_and_says_so(
    database_url: str, server: RunningNats
) -> None:
    append(database_url, 2)
    append(database_url, 1, plan="p" * 8_400_000)
    append(database_url, 2)
    large = logged(database_url, "decisions")[2]

    async def stopped() -> bool:
        return follower(database_url, "publish_events").stopped_at == large

    async with publishing(database_url, a_job(server.url)):
        await until(stopped)
    assert "max_payload" in (follower(database_url, "publish_events").problem or "")
    assert "8388608" in (follower(database_url, "publish_events").problem or "")
    assert await published(server.url, EVENTS) == logged(database_url, "decisions")[:2]


async def test_message_too_large_for_the_stream_stops_publication_and_says_so(
    database_url: str, server: RunningNats
) -> None:
    small = {"name": EVENTS, "subjects": ["tollhouse.evt.>"], "max_msg_size": 2_000}
    await api(server.url, f"STREAM.CREATE.{EVENTS}", small)
    append(database_url, 2)
    append(database_url, 1, plan="p" * 2_000)
    append(database_url, 2)

    async def stopped() -> bool:
        return follower(database_url, "publish_events").stopped_at == 3

    async with publishing(database_url, a_job(server.url)):
        await until(stopped)
    assert EVENTS in (follower(database_url, "publish_events").problem or "")
    assert await published(server.url, EVENTS) == [1, 2]


async def test_event_that_cannot_be_read_stops_publication_behind_all_before_it(
    database_url: str, server: RunningNats
) -> None:
    append(database_url, 10)
    with psycopg.connect(conninfo(database_url)) as connection:
        connection.execute("UPDATE decisions SET state = 'x' WHERE notification_id = 8")

    async def stopped() -> bool:
        return follower(database_url, "publish_events")[:2] == (7, 8)

    async with publishing(database_url, a_job(server.url)):
        await until(stopped)
    assert await published(server.url, EVENTS) == list(range(1, 8))


async def test_nats_that_is_away_is_told_of_once(database_url: str, server: RunningNats) -> None:
    append(database_url, 3)
    server.process.stop()
    with capture_logs() as said:
        async with publishing(database_url, a_job(server.url)):

            async def told(what: str) -> bool:
                return [each["event"] for each in said].count(what) == 1

            await until(lambda: told("publication waits"))
            await asyncio.sleep(3)  # several tries more
            server.restart()
            await whole(server.url, database_url)
            await until(lambda: told("publication goes on"))
            assert await told("publication waits"), said


async def test_stream_of_another_installation_is_left_alone_and_told_of(
    database_url: str, server: RunningNats
) -> None:
    append(database_url, 3)
    async with publishing(database_url, a_job(server.url, log_id="log2")):
        await whole(server.url, database_url)

    async def stopped() -> bool:
        return "log2" in (follower(database_url, "publish_events").problem or "")

    async with publishing(database_url, a_job(server.url)):
        await until(stopped)
    assert "account of its own" in (follower(database_url, "publish_events").problem or "")
    assert {fact.headers["Tollhouse-Log"] for fact in await facts(server.url, EVENTS)} == {"log2"}
    assert await size(server.url, EVENTS) == 3


async def test_reader_consumes_and_can_neither_forge_nor_change(
    database_url: str, server: RunningNats
) -> None:
    append(database_url, 5)
    async with publishing(database_url, a_job(server.url)):
        await whole(server.url, database_url)
    refused: list[str] = []

    async def note(error: Exception) -> None:
        refused.append(str(error).lower())

    client = await nats.connect(server.reader_url, error_cb=note)
    try:
        jetstream = client.jetstream()
        durable = await jetstream.pull_subscribe("tollhouse.evt.>", "mine", stream=EVENTS)
        for message in await durable.fetch(5, timeout=5):
            await message.ack_sync()
        floor = (await durable.consumer_info()).ack_floor
        assert floor is not None
        assert floor.stream_seq == 5
        assert await published(server.reader_url, EVENTS) == logged(database_url, "decisions")
        forbidden = (
            "tollhouse.evt.x",
            "tollhouse.usage",
            f"$JS.API.STREAM.PURGE.{EVENTS}",
            f"$JS.API.STREAM.DELETE.{EVENTS}",
            f"$JS.API.STREAM.UPDATE.{EVENTS}",
            f"$JS.API.STREAM.MSG.DELETE.{EVENTS}",
            "$JS.API.STREAM.CREATE.MINE",
        )
        for subject in forbidden:
            with pytest.raises(nats.errors.Error):
                await client.request(subject, b"{}", timeout=0.3)
        assert len([each for each in refused if "permissions violation" in each]) == len(forbidden)
    finally:
        await client.close()
    assert await size(server.url, EVENTS) == 5


async def test_other_log_may_not_be_mistaken_for_this_one(
    database_url: str, server: RunningNats
) -> None:
    append(database_url, 2)
    async with publishing(database_url, a_job(server.url)):
        await whole(server.url, database_url)
        copied = {"Tollhouse-Log": "log1u", "Tollhouse-Position": "log1u:1"}
        await put(server.url, "tollhouse.evt.usage.counted", copied)
        append(database_url, 2)
        await whole(server.url, database_url)
