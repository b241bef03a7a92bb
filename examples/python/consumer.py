"""A downstream service: verifications counted per account, and the keys that were revoked.

    pip install nats-py
    python consumer.py --nats nats://reader:PASSWORD@127.0.0.1:4222 --state counts.sqlite

Each message's effect and its position are written in one transaction, so a crash at any point
neither loses nor doubles anything. The state alone says where to go on; the durable consumer is
only a cursor, and is made anew from the state at every start and after every trouble.
"""

import argparse
import asyncio
import contextlib
import json
import sqlite3
import sys
from pathlib import Path
from typing import Any, NamedTuple

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

EVENTS, USAGE = "TOLLHOUSE_EVENTS", "TOLLHOUSE_USAGE"
BATCH, ACK_WAIT_SECONDS, POLL_SECONDS = 100, 10.0, 1.0

SCHEMA = """
CREATE TABLE IF NOT EXISTS progress (
    stream TEXT PRIMARY KEY, log TEXT NOT NULL, position INTEGER NOT NULL,
    made TEXT NOT NULL, sequence INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS counts (
    account TEXT, outcome TEXT, verifications INTEGER NOT NULL, cost INTEGER NOT NULL,
    PRIMARY KEY (account, outcome)
);
CREATE TABLE IF NOT EXISTS revoked (key TEXT PRIMARY KEY, at TEXT NOT NULL);
"""


class Stop(Exception):
    """Nothing that trying again could mend; the message says what and why."""


class Gap(Exception):
    """The message before this one has not been applied: read again, from where the state is."""


class Progress(NamedTuple):
    """The last message of a stream that was applied: its log and position there.

    `sequence` is its number in the stream that was `made` then; in another stream it means nothing.
    """

    log: str
    position: int
    made: str
    sequence: int


class Before(NamedTuple):
    """The message that was delivered last: which delivery of its consumer it was, and its id."""

    delivery: int
    id: str | None


def position_of(id_: str) -> int:
    """The position in `<log id>:<position>`."""
    return int(id_.rpartition(":")[2])


class State:
    """Everything that the service knows, in one SQLite file."""

    def __init__(self, path: Path) -> None:
        self.db = sqlite3.connect(path, isolation_level=None)
        # A power cut may take the last transactions back, whole: they are then read once more.
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = NORMAL")
        self.db.executescript(SCHEMA)

    def progress(self, stream: str) -> Progress | None:
        """Where `stream` is; None before its first message."""
        found = self.db.execute(
            "SELECT log, position, made, sequence FROM progress WHERE stream = ?", (stream,)
        ).fetchone()
        return Progress(*found) if found else None

    def apply(
        self,
        stream: str,
        at: tuple[str, int],
        id_: str,
        previous: str | None,
        body: bytes,
        *,
        skip_missing: bool = False,
    ) -> str | None:
        """Take the message `id_` in: effect and position together. None if it was taken before.

        `at` is when its stream was made, and its sequence there; `previous` is the id of the
        message before it. Raises Gap if that was not applied (`skip_missing` takes the message all
        the same), and Stop for a message of another log than this state began with.
        """
        log, _, number = id_.rpartition(":")
        position, event = int(number), json.loads(body)
        if event["type"].startswith("usage.counted.") != (stream == USAGE):
            raise ValueError(f"{id_} does not belong into this stream")
        with self.db:  # commits, or takes everything back
            self.db.execute("BEGIN IMMEDIATE")
            done = self.progress(stream)
            if done is not None:
                if log != done.log:
                    raise Stop(
                        f"{stream} carries the log {log}, and this state began with {done.log}:"
                        " that is another installation. Give it a --state of its own."
                    )
                if position <= done.position:
                    return None
                if (previous is None or position_of(previous) > done.position) and not skip_missing:
                    raise Gap(f"what lies between {log}:{done.position} and {id_}")
            said = self._count(event["data"]) if stream == USAGE else self._note(event)
            self.db.execute(
                "INSERT OR REPLACE INTO progress VALUES (?, ?, ?, ?, ?)",
                (stream, log, position, *at),
            )
        return f"{'usage ' if stream == USAGE else 'events'} {id_}  {said}"

    def _count(self, usage: dict[str, Any]) -> str:
        rows = zip(usage["account"], usage["code"], usage["cost"], strict=True)
        for account, outcome, cost in rows:
            # -1: what was presented is no key of ours, so no account can be named.
            owner = usage["accounts"][account] if account >= 0 else ""
            self.db.execute(
                "INSERT INTO counts VALUES (?, ?, 1, ?) ON CONFLICT DO UPDATE"
                " SET verifications = verifications + 1, cost = cost + excluded.cost",
                (owner, outcome, cost),
            )
        return f"{len(usage['rows'])} verifications"

    def _note(self, event: dict[str, Any]) -> str:
        if event["type"].startswith("api_key.revoked."):
            self.db.execute(
                "INSERT OR REPLACE INTO revoked VALUES (?, ?)", (event["subject"], event["time"])
            )
        return f"{event['type']}  {event['subject']}"


async def follow(
    connection: Client, state: State, stream: str, durable: str, *, once: bool, skip_missing: bool
) -> None:
    """Apply `stream` in its order, for ever or until caught up, whatever happens to the server."""
    js, again = connection.jetstream(), False  # again: after a gap, the whole stream is read
    while True:
        subscription = None
        try:
            done = None if again else state.progress(stream)
            subscription, made, before = await placed(js, stream, durable, done)
            while True:
                messages = await fetched(subscription)
                for message in messages:
                    number, headers = message.metadata.sequence, message.headers or {}
                    id_, previous = headers["Nats-Msg-Id"], headers.get("Nats-Expected-Last-Msg-Id")
                    if previous is None and number.consumer == before.delivery + 1:
                        previous = before.id  # the publisher did not say, and the order does
                    before = Before(number.consumer, id_)
                    said = state.apply(
                        stream,
                        (made, number.stream),
                        id_,
                        previous,
                        message.data,
                        skip_missing=skip_missing and again,
                    )
                    if said is not None:
                        again = False
                        print(said, flush=True)
                if messages:
                    await messages[-1].ack()  # after the commits; AckPolicy.ALL: for all so far
                    continue
                left = await subscription.consumer_info()  # NotFoundError if it is gone
                if once and not left.num_pending and not left.num_ack_pending:
                    return
        except Gap as gap:
            if again:
                raise Stop(
                    f"{stream} no longer holds {gap}, which this state never saw. Take it from the"
                    " lake, or go on without it: --skip-missing."
                ) from None
            again = True
        except NotFoundError:
            if once and subscription is None:
                raise Stop(f"{stream} isn't there (yet).") from None
            await asyncio.sleep(POLL_SECONDS)
        except (nats.errors.Error, TimeoutError, LookupError, ValueError) as error:
            # The last two: a message of somebody else's. The publisher puts its stream right.
            if connection.is_closed:
                raise Stop(f"the connection is closed: {connection.last_error}") from None
            print(f"{stream}: {error!r}, trying again", file=sys.stderr, flush=True)
            await asyncio.sleep(POLL_SECONDS)


async def fetched(subscription: JetStreamContext.PullSubscription) -> list[Msg]:
    """The next messages, in order; none if there were none for a moment."""
    try:
        return await subscription.fetch(BATCH, timeout=POLL_SECONDS)
    except TimeoutError:
        return []


async def placed(
    js: JetStreamContext, stream: str, durable: str, done: Progress | None
) -> tuple[JetStreamContext.PullSubscription, str, Before]:
    """A fresh durable consumer, when its stream was made, and what is known to lie before it.

    It begins with the last message that was applied, which is then skipped: what follows it is
    new. A stream that was made anew has other sequences, so all of it is read, and positions tell
    what is known already.

    There is no filter on subjects: it would hide the predecessors, and with them every gap.
    """
    info = await js.stream_info(stream)
    held, made, before = info.state, str(info.created), Before(0, None)
    start = None
    if done is not None and done.made == made:
        if held.first_seq <= done.sequence <= held.last_seq:
            start = done.sequence
        elif held.first_seq == done.sequence + 1:  # it has aged out, and nothing after it
            before = Before(0, f"{done.log}:{done.position}")
    with contextlib.suppress(NotFoundError):
        await js.delete_consumer(stream, durable)
    config = ConsumerConfig(
        durable_name=durable,
        ack_policy=AckPolicy.ALL,
        ack_wait=ACK_WAIT_SECONDS,
        deliver_policy=DeliverPolicy.BY_START_SEQUENCE if start else DeliverPolicy.ALL,
        opt_start_seq=start,
    )
    await js.add_consumer(stream, config)
    return await js.pull_subscribe_bind(consumer=durable, stream=stream), made, before


async def note(error: Exception) -> None:
    """What the connection has trouble with, in a line: the client's own way is a traceback."""
    print(f"nats: {str(error) or repr(error)}", file=sys.stderr, flush=True)


async def run(arguments: argparse.Namespace) -> None:
    """Follow both streams on one connection."""
    state = State(arguments.state)
    connection = await nats.connect(
        arguments.nats, name=arguments.name, max_reconnect_attempts=-1, error_cb=note
    )
    options = {"once": arguments.once, "skip_missing": arguments.skip_missing}
    following = [
        asyncio.create_task(follow(connection, state, stream, arguments.name, **options))
        for stream in (EVENTS, USAGE)
    ]
    try:
        await asyncio.gather(*following)
    finally:
        left = set(following)
        while left:  # before Python 3.12 `asyncio.wait_for` may lose a cancellation
            for task in left:
                task.cancel()
            _, left = await asyncio.wait(left, timeout=0.5)
        await connection.close()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--nats", required=True, help="nats://user:password@host:4222")
    parser.add_argument("--state", required=True, type=Path, help="SQLite file, made if missing")
    parser.add_argument("--name", default="example-python", help="of the durable consumer")
    parser.add_argument("--once", action="store_true", help="stop when caught up")
    parser.add_argument("--skip-missing", action="store_true", help="go on over what aged out")
    try:
        asyncio.run(run(parser.parse_args()))
    except Stop as stop:
        sys.exit(f"{stop}")
    except sqlite3.OperationalError as error:
        sys.exit(f"the state can't be used: {error}")
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
