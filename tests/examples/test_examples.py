"""A downstream service built on the examples has every fact once, whatever happens to it."""

import asyncio
import random
import subprocess
import sys
from pathlib import Path

import pytest

from examples.python.consumer import Gap, State, Stop
from infra.embedded.place import free_port
from tests.examples.conftest import Consumer, from_sqlite
from tests.examples.logs import LOG, USAGE, Message, Publisher, events, totals, usage
from tests.infra.compose_nats import ComposeNats

SEED = 20270115


@pytest.mark.anyio
async def test_the_examples_count_once_and_say_what_they_took(
    nats_server: ComposeNats, consumer: Consumer
) -> None:
    """And a second run finds nothing new."""
    messages = [*events(1, 40), *usage(2, 60)]
    async with Publisher(nats_server.url("tollhouse")) as publisher:
        await publisher.fresh()
        await publisher.publish(messages)
    first = consumer.catch_up()
    assert first.returncode == 0, first.stderr
    assert consumer.totals() == totals(messages)
    assert f"usage  {messages[-1].headers['Nats-Msg-Id']}  " in first.stdout
    assert "api_key.revoked.v1  key_" in first.stdout
    second = consumer.catch_up()
    assert (second.returncode, second.stdout) == (0, "")
    assert consumer.totals() == totals(messages)


@pytest.mark.anyio
async def test_a_consumer_that_is_killed_at_any_point_has_every_fact_once(
    nats_server: ComposeNats, consumer: Consumer
) -> None:
    """Killed -9 again and again while messages come in; then it catches up."""
    draw = random.Random(SEED)
    decided, counted = events(3, 3600), usage(4, 3600)
    half_way = 0
    async with Publisher(nats_server.url("tollhouse")) as publisher:
        await publisher.fresh()
        for round_ in range(12):
            lot = slice(round_ * 300, round_ * 300 + 300)
            before = consumer.totals() if consumer.state.exists() else ({}, set())
            process = consumer.start()
            pouring = asyncio.gather(
                publisher.publish(decided[lot]), publisher.publish(counted[lot])
            )
            await asyncio.to_thread(consumer.wait_while, before)
            await asyncio.sleep(draw.uniform(0, 0.1))
            assert process.poll() is None, "it ended by itself"
            process.kill()
            process.wait()
            await pouring
            published = totals([*decided[: lot.stop], *counted[: lot.stop]])
            half_way += consumer.totals() != published
    assert half_way >= 4, "it was hardly ever killed half-way: the test shows little"
    last = consumer.catch_up()
    assert last.returncode == 0, last.stderr
    assert consumer.totals() == totals([*decided, *counted])


@pytest.mark.anyio
@pytest.mark.parametrize("live", [True, False], ids=["while-it-runs", "while-it-is-away"])
async def test_a_stream_that_is_wiped_and_refilled_changes_nothing(
    nats_server: ComposeNats, consumer: Consumer, live: bool
) -> None:
    """Sequences differ afterwards; the durable consumer is gone; positions tell what is known."""
    early, late = [*events(5, 30), *usage(6, 30)], [*events(5, 50), *usage(6, 50)]
    assert [m.body for m in early[:30]] == [m.body for m in late[:30]]
    async with Publisher(nats_server.url("tollhouse")) as publisher:
        await publisher.fresh()
        await publisher.publish(early)
        consumer.start() if live else consumer.catch_up()
        await asyncio.to_thread(consumer.wait_for, totals(early))
        await publisher.fresh()
        await publisher.publish(late)
        if not live:
            assert consumer.catch_up().returncode == 0
    await asyncio.to_thread(consumer.wait_for, totals(late))


@pytest.mark.anyio
async def test_a_stream_that_is_purged_and_refilled_changes_nothing(
    nats_server: ComposeNats, consumer: Consumer
) -> None:
    """The same with the stream kept, so that sequences go on."""
    messages = usage(7, 40)
    async with Publisher(nats_server.url("tollhouse")) as publisher:
        await publisher.fresh()
        await publisher.publish(messages[:30])
        consumer.start()
        await asyncio.to_thread(consumer.wait_for, totals(messages[:30]))
        await publisher.js.purge_stream(USAGE)
        # A purged stream remembers its last id; a publisher's repair begins without one.
        await publisher.fresh(USAGE)
        await publisher.publish(messages[:10])
        await publisher.publish(messages[10:])
        await asyncio.to_thread(consumer.wait_for, totals(messages))


@pytest.mark.anyio
async def test_duplicates_in_the_stream_count_once(
    nats_server: ComposeNats, consumer: Consumer
) -> None:
    """Those that come after the server's own window."""
    messages = usage(8, 12)
    async with Publisher(nats_server.url("tollhouse")) as publisher:
        await publisher.fresh()
        await publisher.publish(messages[:6])
        await publisher.publish_again(messages[5])
        await publisher.publish(messages[6:])
        await publisher.publish_again(messages[2])
    assert consumer.catch_up().returncode == 0
    assert consumer.totals() == totals(messages)


@pytest.mark.anyio
async def test_another_installations_log_is_refused(
    nats_server: ComposeNats, consumer: Consumer
) -> None:
    """Its positions mean something else; the state stays as it was."""
    ours, foreign = usage(9, 10), usage(10, 20, log="log9f9f9f9f9f9f9")
    async with Publisher(nats_server.url("tollhouse")) as publisher:
        await publisher.fresh()
        await publisher.publish(ours)
        assert consumer.catch_up().returncode == 0
        await publisher.fresh()
        await publisher.publish(foreign)
    refused = consumer.catch_up()
    assert refused.returncode == 1
    assert f"{LOG}u" in refused.stderr
    assert "log9f9f9f9f9f9f9u" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert consumer.totals() == totals(ours)


@pytest.mark.anyio
async def test_what_aged_out_before_it_was_read_is_not_passed_over_in_silence(
    nats_server: ComposeNats, consumer: Consumer
) -> None:
    """It stops and says what is missing; whoever can do without goes on on purpose."""
    messages = usage(11, 30)
    async with Publisher(nats_server.url("tollhouse")) as publisher:
        await publisher.fresh()
        await publisher.publish(messages[:10])
        assert consumer.catch_up().returncode == 0
        await publisher.publish(messages[10:])
        await publisher.js.purge_stream(USAGE, seq=21)
    stopped = consumer.catch_up()
    assert stopped.returncode == 1
    assert messages[9].headers["Nats-Msg-Id"] in stopped.stderr
    assert "--skip-missing" in stopped.stderr
    assert consumer.totals() == totals(messages[:10])
    assert consumer.catch_up("--skip-missing").returncode == 0
    assert consumer.totals() == totals([*messages[:10], *messages[20:]])


@pytest.mark.anyio
async def test_an_idle_stream_that_aged_out_whole_is_no_gap(
    nats_server: ComposeNats, consumer: Consumer
) -> None:
    """The publisher then goes on without naming the message before; the sequences tell."""
    messages = usage(17, 20)
    first, *rest = messages[10:]
    unnamed = first._replace(headers={n: v for n, v in first.headers.items() if "Exp" not in n})
    async with Publisher(nats_server.url("tollhouse")) as publisher:
        await publisher.fresh()
        await publisher.publish(messages[:10])
        assert consumer.catch_up().returncode == 0
        await publisher.js.purge_stream(USAGE)
        await publisher.publish([unnamed, *rest])
    done = consumer.catch_up()
    assert done.returncode == 0, done.stderr
    assert consumer.totals() == totals(messages)


@pytest.mark.anyio
async def test_a_stray_message_that_was_taken_out_is_no_gap(
    nats_server: ComposeNats, consumer: Consumer
) -> None:
    """The publisher's repair deletes it, and goes on without naming the message before."""
    messages = usage(18, 20)
    first, *rest = messages[10:]
    unnamed = first._replace(headers={n: v for n, v in first.headers.items() if "Exp" not in n})
    async with Publisher(nats_server.url("tollhouse")) as publisher:
        await publisher.fresh()
        await publisher.publish(messages[:10])
        assert consumer.catch_up().returncode == 0
        await publisher.js.publish("tollhouse.usage", b"whose is this?")
        await publisher.js.delete_msg(USAGE, 11)
        await publisher.publish([unnamed, *rest])
    done = consumer.catch_up()
    assert done.returncode == 0, done.stderr
    assert consumer.totals() == totals(messages)


@pytest.mark.anyio
async def test_a_message_of_the_other_log_is_waited_out(
    nats_server: ComposeNats, consumer: Consumer
) -> None:
    """A reader can have it copied there; Tollhouse's repair takes it out, and all goes on."""
    messages = usage(19, 20)
    (copied,) = events(19, 1)
    async with Publisher(nats_server.url("tollhouse")) as publisher:
        await publisher.fresh()
        await publisher.publish(messages[:10])
        stray = await publisher.js.publish("tollhouse.usage", copied.body, headers=copied.headers)
        process = consumer.start()
        await asyncio.to_thread(consumer.wait_for, totals(messages[:10]))
        await publisher.js.delete_msg(USAGE, stray.seq)
        first, *rest = messages[10:]
        unnamed = {n: v for n, v in first.headers.items() if "Expected" not in n}
        await publisher.publish([first._replace(headers=unnamed), *rest])
        await asyncio.to_thread(consumer.wait_for, totals(messages))
        assert process.poll() is None


@pytest.mark.anyio
async def test_a_state_that_was_restored_from_a_copy_catches_up(
    nats_server: ComposeNats, consumer: Consumer
) -> None:
    """The durable consumer on the server is ahead of it then, and must not be believed."""
    messages = [*events(12, 20), *usage(13, 20)]
    async with Publisher(nats_server.url("tollhouse")) as publisher:
        await publisher.fresh()
        await publisher.publish([*messages[:10], *messages[20:30]])
        assert consumer.catch_up().returncode == 0
        copy = consumer.state.read_bytes()
        await publisher.publish([*messages[10:20], *messages[30:]])
        assert consumer.catch_up().returncode == 0
    for extra in consumer.state.parent.glob(f"{consumer.state.name}-*"):
        extra.unlink()
    consumer.state.write_bytes(copy)
    assert consumer.totals() == totals([*messages[:10], *messages[20:30]])
    assert consumer.catch_up().returncode == 0
    assert consumer.totals() == totals(messages)


@pytest.mark.anyio
async def test_a_stream_that_is_not_there_is_said(
    nats_server: ComposeNats, consumer: Consumer
) -> None:
    """With --once; without, it waits for it."""
    async with Publisher(nats_server.url("tollhouse")) as publisher:
        await publisher.fresh()
        await publisher.js.delete_stream(USAGE)
        done = await asyncio.to_thread(consumer.catch_up)
        assert done.returncode == 1
        assert f"{USAGE} isn't there" in done.stderr
        consumer.start()
        messages = usage(14, 5)
        await publisher.fresh(USAGE)
        await publisher.publish(messages)
        await asyncio.to_thread(consumer.wait_for, totals(messages))


@pytest.mark.parametrize("seed", range(20))
def test_shuffled_and_duplicated_deliveries_add_up_to_the_same(tmp_path: Path, seed: int) -> None:
    """Fault 9: whatever is delivered before its turn is refused, what comes twice is skipped."""
    draw = random.Random(seed)
    messages = [*events(seed, 15), *usage(seed, 25)]
    state = State(tmp_path / "state")
    refused = 0
    for _ in range(len(messages)):  # each round brings in at least one of each stream
        deliveries = draw.sample(messages, len(messages)) + draw.choices(messages, k=10)
        draw.shuffle(deliveries)
        for message in deliveries:
            # A stream is only ever begun at its first message.
            if state.progress(message.stream) is None and not is_first(message):
                continue
            try:
                take(state, message)
            except Gap:
                refused += 1
    assert refused, "nothing was out of order: the test shows nothing"
    assert from_sqlite(tmp_path / "state") == totals(messages)


def test_two_processes_on_one_state_count_once(tmp_path: Path) -> None:
    """A mistake of the operator, and yet position and effect are compared and written as one."""
    messages = usage(15, 30)
    one, other = State(tmp_path / "state"), State(tmp_path / "state")
    for message in messages:
        assert take(one, message)
        assert take(other, message) is None
    assert from_sqlite(tmp_path / "state") == totals(messages)


def test_a_message_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    """Its effect is taken back with its position."""
    good, bad = usage(16, 2)
    state = State(tmp_path / "state")
    take(state, good)
    torn = bad._replace(body=bad.body.replace(b'"acc_a", "acc_b"', b'"acc_a"'))
    torn = torn._replace(body=torn.body.replace(b'"account": [', b'"account": [0, 1, '))
    with pytest.raises((LookupError, ValueError)):
        take(state, torn)
    assert from_sqlite(tmp_path / "state") == totals([good])
    with pytest.raises(Stop):
        take(state, usage(16, 2, log="logother")[1])
    take(state, bad)
    assert from_sqlite(tmp_path / "state") == totals([good, bad])


def is_first(message: Message) -> bool:
    """Whether its log begins with it."""
    return "Nats-Expected-Last-Msg-Id" not in message.headers


def take(state: State, message: Message) -> str | None:
    """Deliver it to the state; when its stream was made and its sequence don't matter here."""
    headers = message.headers
    previous = headers.get("Nats-Expected-Last-Msg-Id")
    return state.apply(message.stream, ("", 0), headers["Nats-Msg-Id"], previous, message.body)


def test_the_python_example_says_in_a_line_that_nats_is_away(tmp_path: Path) -> None:
    away = f"nats://reader:x@127.0.0.1:{free_port()}"
    program = Path(__file__).parents[2] / "examples/python/consumer.py"
    argv = [sys.executable, str(program), "--nats", away, "--state", str(tmp_path / "state")]
    process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        said = [process.stderr.readline() for _ in range(2)]
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    assert all(line.startswith("nats: ") and "Connect" in line for line in said), said
