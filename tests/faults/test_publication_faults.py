"""Faults 4 and 5: NATS away, frozen, wiped, rolled back, meddled with. Then the stream is whole."""

import asyncio
import base64
import contextlib
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import nats
import psycopg
import pytest

from application.ending import ended
from domain.accounts import PlanAssigned
from domain.event import NewEvent
from infra.embedded import RunningNats
from infra.event_mapper import EventMapper
from infra.event_store import PostgresEventStore
from infra.followers import Fenced, taken
from infra.nats.logs import clock_margin_us
from infra.nats.publisher import LOOK_SECONDS, PublisherJob
from infra.postgres.connection import conninfo
from tests.factories import a_vault, an_id, metadata
from tests.faults.published import logged, published
from tests.infra.publishing import (
    EVENTS,
    USAGE,
    a_job,
    a_nats,
    api,
    append,
    follower,
    freeze,
    publishing,
    put,
    size,
    store_of,
    until,
    whole,
)

pytestmark = pytest.mark.anyio

WINDOW = {"duplicate_window": 120 * 10**9}


@pytest.fixture
def server() -> Iterator[RunningNats]:
    with a_nats() as running:
        yield running


@pytest.fixture
async def filled(database_url: str, server: RunningNats) -> AsyncIterator[PublisherJob]:
    """A publisher at work, with 300 events published."""
    append(database_url, 300)
    job = a_job(server.url)
    async with publishing(database_url, job):
        await whole(server.url, database_url)
        yield job


@contextlib.asynccontextmanager
async def appending(url: str) -> AsyncIterator[list[float]]:
    """Commands that go on meanwhile; how long each took, in seconds."""
    store = PostgresEventStore(url, "log1", a_vault(), EventMapper(), "decisions")
    took: list[float] = []

    async def go() -> None:
        stream = an_id("acct")
        while True:
            began = time.monotonic()
            new = NewEvent(stream, len(took) + 1, PlanAssigned(plan="pro"), None)
            await store.append([new], metadata())
            took.append(time.monotonic() - began)
            await asyncio.sleep(0.01)

    task = asyncio.create_task(go())
    try:
        yield took
    finally:
        await ended(task)
        await store.close()


@contextlib.asynccontextmanager
async def quiet() -> AsyncIterator[list[float]]:
    """Nothing is appended."""
    yield []


async def appended(took: list[float], more: int) -> None:
    """Wait for so many more commands."""
    wanted = len(took) + more

    async def reached() -> bool:
        return len(took) >= wanted

    await until(reached)


@pytest.mark.usefixtures("filled")
async def test_nats_down_delays_publication_and_nothing_else(
    database_url: str, server: RunningNats
) -> None:
    async with appending(database_url) as took:
        server.process.stop()
        await appended(took, 100)
        server.restart()
        await appended(took, 20)
    assert max(took) < 1
    await whole(server.url, database_url)


@pytest.mark.usefixtures("filled")
async def test_backlog_of_a_long_absence_drains_in_order(
    database_url: str, server: RunningNats
) -> None:
    server.process.stop()
    append(database_url, 5_000)
    server.restart()
    await whole(server.url, database_url)


@pytest.mark.usefixtures("filled")
@pytest.mark.long
async def test_frozen_nats_delays_publication_and_nothing_else(
    database_url: str, server: RunningNats
) -> None:
    freeze(server, signal.SIGSTOP)
    try:
        async with appending(database_url) as took:
            await appended(took, 300)  # longer than an ack is waited for
            await asyncio.sleep(6)
        assert max(took) < 1
    finally:
        freeze(server, signal.SIGCONT)
    await whole(server.url, database_url)


@pytest.mark.usefixtures("filled")
@pytest.mark.long
async def test_nats_killed_again_and_again_under_load(
    database_url: str, server: RunningNats
) -> None:
    async with appending(database_url) as took:
        for _ in range(5):
            await appended(took, 20)
            freeze(server, signal.SIGKILL)
            server.restart()
    await whole(server.url, database_url)


@pytest.mark.usefixtures("filled")
async def test_publisher_killed_mid_way_goes_on_from_what_the_stream_has(
    database_url: str, server: RunningNats
) -> None:
    append(database_url, 3_000)
    for _ in range(10):
        await asyncio.sleep(0.02)
        with psycopg.connect(conninfo(database_url), autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
    await whole(server.url, database_url)


@pytest.mark.usefixtures("filled")
async def test_wiped_store_folder_is_filled_again(database_url: str, server: RunningNats) -> None:
    server.process.stop()
    shutil.rmtree(store_of(server))
    append(database_url, 10)
    server.restart()
    await whole(server.url, database_url)


@pytest.mark.usefixtures("filled")
async def test_store_folder_of_an_earlier_day_goes_on_from_there(
    database_url: str, server: RunningNats, tmp_path: Path
) -> None:
    server.process.stop()
    shutil.copytree(store_of(server), tmp_path / "earlier")
    server.restart()
    append(database_url, 200)
    await whole(server.url, database_url)
    server.process.stop()
    shutil.rmtree(store_of(server))
    shutil.copytree(tmp_path / "earlier", store_of(server))
    append(database_url, 10)
    server.restart()
    await whole(server.url, database_url)


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("idle", [True, False])
async def test_deleted_stream_is_made_again(
    database_url: str, server: RunningNats, idle: bool
) -> None:
    async with quiet() if idle else appending(database_url) as took:
        assert (await api(server.url, f"STREAM.DELETE.{EVENTS}"))["success"]
        if not idle:
            await appended(took, 50)
    await whole(server.url, database_url)


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("idle", [True, False])
@pytest.mark.parametrize("kept", [0, 3])
async def test_purged_stream_is_filled_again(
    database_url: str, server: RunningNats, idle: bool, kept: int
) -> None:
    async with quiet() if idle else appending(database_url) as took:
        assert (await api(server.url, f"STREAM.PURGE.{EVENTS}", {"keep": kept}))["success"]
        if not idle:
            await appended(took, 50)
    await whole(server.url, database_url)


@pytest.mark.long
async def test_purge_heals_within_the_promised_time_at_the_usual_pace(
    database_url: str, server: RunningNats
) -> None:
    append(database_url, 5)
    usual = a_job(server.url, look_seconds=LOOK_SECONDS)
    async with publishing(database_url, usual):
        await whole(server.url, database_url)
        assert (await api(server.url, f"STREAM.PURGE.{EVENTS}"))["success"]
        await whole(server.url, database_url, seconds=30)


async def test_ids_that_the_server_remembers_over_a_purge_are_published_again(
    database_url: str, server: RunningNats
) -> None:
    wide = {"name": EVENTS, "subjects": ["tollhouse.evt.>"], **WINDOW}
    await api(server.url, f"STREAM.CREATE.{EVENTS}", wide)
    append(database_url, 50)
    async with publishing(database_url, a_job(server.url)):
        await whole(server.url, database_url)
        for keep in (0, 20):
            await api(server.url, f"STREAM.PURGE.{EVENTS}", {"keep": keep})
            await whole(server.url, database_url)
    config = (await api(server.url, f"STREAM.INFO.{EVENTS}"))["config"]
    assert config["duplicate_window"] == WINDOW["duplicate_window"]


@pytest.mark.usefixtures("filled")
async def test_message_lost_from_the_middle_is_noticed(
    database_url: str, server: RunningNats
) -> None:
    await api(server.url, f"STREAM.MSG.DELETE.{EVENTS}", {"seq": 100})
    assert await size(server.url, EVENTS) == 299
    await whole(server.url, database_url)


FORGED = {
    "nothing": {},
    "an id of its own": {"Nats-Msg-Id": "mine"},
    "a torn position": {"Tollhouse-Log": "log1", "Tollhouse-Position": "log1:"},
    "an odd position": {"Tollhouse-Log": "log1", "Tollhouse-Position": "log1:007"},
    "a future position": {"Tollhouse-Log": "log1", "Tollhouse-Position": "log1:900"},
    "a past position": {"Tollhouse-Log": "log1", "Tollhouse-Position": "log1:7"},
}


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("headers", FORGED.values(), ids=FORGED.keys())
@pytest.mark.parametrize("idle", [True, pytest.param(False, marks=pytest.mark.long)])
async def test_message_of_a_stranger_is_taken_out(
    database_url: str, server: RunningNats, headers: dict[str, str], idle: bool
) -> None:
    async with quiet() if idle else appending(database_url) as took:
        for _ in range(2):
            await put(server.url, "tollhouse.evt.stray", headers)
            if not idle:
                await appended(took, 20)
    await whole(server.url, database_url)


@pytest.mark.usefixtures("filled")
async def test_message_published_a_second_time_is_taken_out(
    database_url: str, server: RunningNats
) -> None:
    stored = (await api(server.url, f"STREAM.MSG.GET.{EVENTS}", {"seq": 50}))["message"]
    await replay(server.url, stored)
    assert await size(server.url, EVENTS) == 301
    append(database_url, 5)
    await whole(server.url, database_url)


async def replay(nats_url: str, stored: dict[str, str]) -> None:
    """The same message again, body and all, a while later."""
    lines = base64.b64decode(stored["hdrs"]).decode().split("\r\n")[1:]
    headers = dict(line.split(": ", 1) for line in lines if ": " in line)
    client = await nats.connect(nats_url)
    try:
        kept = {name: value for name, value in headers.items() if "Expected" not in name}
        kept.pop("Nats-Msg-Id")
        body = base64.b64decode(stored["data"])
        await client.jetstream().publish(stored["subject"], body, headers=kept)
    finally:
        await client.close()


@pytest.mark.usefixtures("filled")
async def test_log_restored_to_an_earlier_point_takes_its_stream_along(
    database_url: str, server: RunningNats
) -> None:
    with psycopg.connect(conninfo(database_url)) as connection:
        connection.execute("DELETE FROM decisions WHERE notification_id > 250")
        connection.execute("SELECT setval('decisions_notification_id_seq', 250)")
    await whole(server.url, database_url)
    append(database_url, 80)  # at positions that were published once, as something else
    await whole(server.url, database_url)


@pytest.mark.usefixtures("filled")
async def test_log_restored_and_gone_on_takes_its_stream_along(
    database_url: str, server: RunningNats
) -> None:
    with psycopg.connect(conninfo(database_url)) as connection:
        connection.execute("LOCK TABLE decisions")
        connection.execute("DELETE FROM decisions WHERE notification_id > 250")
        connection.execute("SELECT setval('decisions_notification_id_seq', 250)")
        connection.execute(
            "INSERT INTO decisions (originator_id, originator_version, topic, state) "
            "SELECT 'acct_other', row_number() OVER (), topic, state FROM decisions LIMIT 100"
        )
    await whole(server.url, database_url)


async def test_aged_out_stream_is_not_filled_again(database_url: str, server: RunningNats) -> None:
    append(database_url, 20, "usage")

    async def empty() -> bool:
        return await size(server.url, USAGE) == 0

    job = a_job(server.url, "usage", max_age_seconds=2, look_seconds=0.2)
    async with publishing(database_url, job):
        await whole(server.url, database_url, "usage")
        await until(empty)
        await asyncio.sleep(1)  # several looks
        assert await size(server.url, USAGE) == 0
        assert (await api(server.url, f"STREAM.INFO.{USAGE}"))["state"]["last_seq"] == 20
        append(database_url, 5, "usage")

        async def there() -> bool:
            return await size(server.url, USAGE) == 5

        await until(there)
    assert await published(server.url, USAGE) == logged(database_url, "usage")[-5:]


async def test_many_holes_are_looked_into_and_only_a_loss_is_filled(
    database_url: str, server: RunningNats
) -> None:
    append(database_url, 300)
    async with publishing(database_url, a_job(server.url)):
        await whole(server.url, database_url)
    first_was = logged(database_url, "decisions")[0]
    for sequence in range(2, 300, 2):
        await api(server.url, f"STREAM.MSG.DELETE.{EVENTS}", {"seq": sequence})
    with psycopg.connect(conninfo(database_url)) as connection:  # neither has the log them
        connection.execute(
            "DELETE FROM decisions WHERE notification_id < %s AND (notification_id - %s) %% 2 = 1",
            (first_was + 299, first_was),
        )
    append(database_url, 5)
    async with publishing(database_url, a_job(server.url)):
        await whole(server.url, database_url)
        state = (await api(server.url, f"STREAM.INFO.{EVENTS}"))["state"]
        assert (state["first_seq"], state["num_deleted"]) == (1, 149)
        await api(server.url, f"STREAM.MSG.DELETE.{EVENTS}", {"seq": 151})
        await whole(server.url, database_url)
    assert (await api(server.url, f"STREAM.INFO.{EVENTS}"))["state"]["first_seq"] > 1


@pytest.mark.parametrize(
    ("max_age_seconds", "margin_seconds"), [(7 * 86_400, 7200), (36_000, 3600), (60, 60)]
)
def test_clocks_may_differ_before_an_aged_message_is_a_missing_one(
    max_age_seconds: int, margin_seconds: int
) -> None:
    assert clock_margin_us(max_age_seconds * 1_000_000) == margin_seconds * 1_000_000


@pytest.mark.parametrize("keep", [0, 2])
async def test_purged_stream_with_an_age_gets_back_what_is_young(
    database_url: str, server: RunningNats, keep: int
) -> None:
    append(database_url, 20, "usage")
    with psycopg.connect(conninfo(database_url)) as connection:  # ten of them from long ago
        connection.execute(
            "UPDATE usage SET state = convert_to(regexp_replace(convert_from(state, 'UTF8'), "
            """'"counted_at_us":[0-9]+', '"counted_at_us":1'), 'UTF8') """
            "WHERE notification_id <= 10"
        )

    async def young() -> bool:
        return await size(server.url, USAGE) == 10

    async with publishing(database_url, a_job(server.url, "usage", max_age_seconds=3600)):
        await whole(server.url, database_url, "usage")
        await until(lambda: at(database_url, "publish_usage", 20))
        await api(server.url, f"STREAM.PURGE.{USAGE}", {"keep": keep})
        await until(young)
    assert await published(server.url, USAGE) == logged(database_url, "usage")[10:]


async def at(url: str, name: str, position: int) -> bool:
    return follower(url, name).position == position


async def test_two_publishers_of_one_log_publish_it_once(
    database_url: str, server: RunningNats
) -> None:
    """Two that keep one another out, and one that believes to be alone, beside them."""
    append(database_url, 2_000)
    zombie_job = a_job(server.url)

    async def zombie() -> None:
        async with taken(database_url, "zombie", "decisions", EventMapper()) as hold:
            await zombie_job.run(hold)

    task = asyncio.create_task(zombie())
    async with (
        publishing(database_url, a_job(server.url)),
        publishing(database_url, a_job(server.url)),
        appending(database_url) as took,
    ):
        await appended(took, 200)
        append(database_url, 1_000)
        await appended(took, 100)
        await asyncio.sleep(1)
        append(database_url, 100)
    assert not task.done()
    try:
        await whole(server.url, database_url)
    finally:
        await ended(task)


async def test_publisher_that_lost_its_hold_ends(database_url: str, server: RunningNats) -> None:
    append(database_url, 10)
    async with taken(database_url, "publish_events", "decisions", EventMapper()) as hold:
        running = asyncio.create_task(a_job(server.url).run(hold))
        await whole(server.url, database_url)
        with psycopg.connect(conninfo(database_url), autocommit=True) as connection:
            connection.execute("UPDATE followers SET holder = 'another'")
        server.process.stop()  # whether NATS is there makes no difference
        with pytest.raises(Fenced):
            await asyncio.wait_for(running, 20)


async def test_lost_session_ends_one_hold_and_another_goes_on(
    database_url: str, server: RunningNats
) -> None:
    append(database_url, 10)
    async with taken(database_url, "publish_events", "decisions", EventMapper()) as hold:
        running = asyncio.create_task(a_job(server.url).run(hold))
        await whole(server.url, database_url)
        async with publishing(database_url, a_job(server.url)):  # waits for the lock
            with psycopg.connect(conninfo(database_url), autocommit=True) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks l JOIN pg_database d "
                    "ON d.oid = l.database WHERE locktype = 'advisory' AND granted "
                    "AND datname = current_database()"
                )
            append(database_url, 10)
            with pytest.raises((psycopg.OperationalError, Fenced)):
                await asyncio.wait_for(running, 20)
            await whole(server.url, database_url)


async def test_store_that_lost_its_middle_in_a_power_cut_is_filled_again(
    database_url: str, server: RunningNats
) -> None:
    append(database_url, 2_000, "usage", rows=200)
    async with publishing(database_url, a_job(server.url, "usage", max_age_seconds=3600)):
        await whole(server.url, database_url, "usage")
        blocks = sorted(store_of(server).rglob("msgs/*.blk"), key=lambda each: int(each.stem))
        assert len(blocks) > 1
        freeze(server, signal.SIGKILL)
        await asyncio.to_thread(server.process.stop)
        os.truncate(blocks[0], blocks[0].stat().st_size // 2)
        for index in store_of(server).rglob("msgs/index.db"):
            index.unlink()  # of a later state than what it indexes, it would be of no use
        server.restart()
        await whole(server.url, database_url, "usage", seconds=30)
    # The lost ones have no place in the middle: all were published again, behind.
    assert (await api(server.url, f"STREAM.INFO.{USAGE}"))["state"]["first_seq"] > 1
