"""Two logs as Tollhouse publishes them, made up from a seed, and what they add up to."""

import contextlib
import json
import random
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import nats
from nats.aio.client import Client
from nats.js.api import StreamConfig
from nats.js.errors import NotFoundError

EVENTS, USAGE = "TOLLHOUSE_EVENTS", "TOLLHOUSE_USAGE"
SUBJECTS = {EVENTS: ["tollhouse.evt.>"], USAGE: ["tollhouse.usage"]}
LOG = "log1a2b3c4d5e6f"

Totals = tuple[dict[tuple[str, str], tuple[int, int]], set[str]]
"""(account, outcome) -> (verifications, cost), and the keys that were revoked."""


class Message(NamedTuple):
    """One CloudEvent on its way to a stream."""

    subject: str
    headers: dict[str, str]
    body: bytes

    @property
    def stream(self) -> str:
        return USAGE if self.subject == "tollhouse.usage" else EVENTS


def usage(seed: int, count: int, log: str = LOG) -> list[Message]:
    """Flushes with up to five verifications each; positions have holes, as real ones do."""
    draw, messages, position, before = random.Random(seed), [], 0, None
    for number in range(count):
        position += draw.choice((1, 1, 1, 3))
        rows = range(draw.randint(1, 5))
        data = {
            "verifications": f"ver_abc_{number}_",
            "rows": list(rows),
            "at_us": [1_800_000_000_000_000 + number] * len(rows),
            "keys": ["key_a", "key_b"],
            "accounts": ["acc_a", "acc_b"],
            "key": [draw.choice((0, 1, -1)) for _ in rows],
            "account": [draw.choice((0, 1, -1)) for _ in rows],
            "code": [draw.choice(("VALID", "USAGE_EXCEEDED", "NOT_FOUND")) for _ in rows],
            "cost": [draw.randint(0, 3) for _ in rows],
            "labels": {},
            "operations": {},
            "credits": {},
        }
        event = ("usage.counted.v1", "tollhouse.usage", "usage_stream", data)
        messages.append(_message(f"{log}u", position, before, *event))
        before = position
    return messages


def events(seed: int, count: int, log: str = LOG) -> list[Message]:
    """Keys that are issued and revoked."""
    draw, messages, position, before = random.Random(seed), [], 0, None
    for number in range(count):
        position += draw.choice((1, 1, 2))
        fact = draw.choice(("issued", "revoked", "renamed"))
        event = (f"api_key.{fact}.v1", f"tollhouse.evt.api_key.{fact}", f"key_{number}")
        messages.append(_message(log, position, before, *event, {}))
        before = position
    return messages


def _message(
    log: str,
    position: int,
    before: int | None,
    name: str,
    subject: str,
    stream: str,
    data: dict[str, Any],
) -> Message:
    headers = {
        "Content-Type": "application/cloudevents+json",
        "Nats-Msg-Id": f"{log}:{position}",
        "Tollhouse-Position": f"{log}:{position}",
        "Tollhouse-Log": log,
    }
    if before is not None:
        headers["Nats-Expected-Last-Msg-Id"] = f"{log}:{before}"
    event = {
        "specversion": "1.0",
        "id": f"{log}:{position}",
        "source": f"/tollhouse/{log}",
        "type": name,
        "subject": stream,
        "time": "2027-01-15T08:00:00Z",
        "datacontenttype": "application/json",
        "streamversion": 1,
        "data": data,
    }
    return Message(subject, headers, json.dumps(event).encode())


def totals(messages: Iterable[Message]) -> Totals:
    """What a consumer must know that took each of these once."""
    verifications: Counter[tuple[str, str]] = Counter()
    costs: Counter[tuple[str, str]] = Counter()
    revoked = set()
    for message in messages:
        event = json.loads(message.body)
        if message.stream == EVENTS:
            if event["type"] == "api_key.revoked.v1":
                revoked.add(event["subject"])
            continue
        data = event["data"]
        for account, code, cost in zip(data["account"], data["code"], data["cost"], strict=True):
            which = (data["accounts"][account] if account >= 0 else "", code)
            verifications[which] += 1
            costs[which] += cost
    return {which: (number, costs[which]) for which, number in verifications.items()}, revoked


class Publisher:
    """Publishes as Tollhouse does, without its care: what goes wrong is up to the test."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def __aenter__(self) -> "Publisher":
        self.client: Client = await nats.connect(self._url)
        self.js = self.client.jetstream()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()

    async def fresh(self, *streams: str) -> None:
        """Make these streams, empty, whatever they held."""
        for stream in streams or SUBJECTS:
            with contextlib.suppress(NotFoundError):
                await self.js.delete_stream(stream)
            # The window is short, so that a test can publish a duplicate that is not seen as one.
            await self.js.add_stream(
                StreamConfig(name=stream, subjects=SUBJECTS[stream], duplicate_window=0.1)
            )

    async def publish(self, messages: Iterable[Message]) -> None:
        """One after another."""
        for message in messages:
            await self.js.publish(message.subject, message.body, headers=message.headers)

    async def publish_again(self, message: Message) -> None:
        """A second time, past the window in which the server would notice, and unfenced."""
        headers = {name: value for name, value in message.headers.items() if "Expected" not in name}
        while (await self.js.publish(message.subject, message.body, headers=headers)).duplicate:
            pass
