"""One JetStream stream, asked over its API: what it holds, and what a repair may do to it.

Requests are plain JSON, since a config has to go back as it came: with the fields, too, that
a newer server knows and the client library doesn't.
"""

import asyncio
import json
from base64 import b64decode
from typing import Any, NamedTuple

import structlog
from nats.aio.client import Client

log = structlog.get_logger()

ANSWER_SECONDS = 5.0
SMALLEST_WINDOW_NS = 100_000_000
FORGOTTEN_SECONDS = 0.3
NO_STREAM = 10059
NO_MESSAGE = 10037


class Refused(Exception):
    """The server answered with an error of this code."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(f"{description} ({code})")
        self.code = code


class State(NamedTuple):
    """What a stream says of itself. `last` is the last sequence ever given, message or not.

    `deleted` counts the sequences after the first message that hold nothing. `max_age_ns` is 0 for
    ever. `complete`: nothing but age takes messages away, so whatever else is missing is lost.
    """

    created: str
    first: int
    last: int
    messages: int
    deleted: int
    config: dict[str, Any]

    @property
    def max_age_ns(self) -> int:
        """How long a message is kept, in nanoseconds."""
        return int(self.config.get("max_age", 0))

    @property
    def consumed(self) -> bool:
        """Whether reading takes messages away."""
        return bool(self.config.get("retention", "limits") != "limits")

    @property
    def complete(self) -> bool:
        """Whether nothing but age may have taken messages away."""
        limits = ("max_msgs", "max_bytes", "max_msgs_per_subject")
        limited = any(self.config.get(limit, 0) > 0 for limit in limits)
        return not (limited or self.consumed or self.config.get("allow_msg_ttl"))


class Stored(NamedTuple):
    """A message in a stream, with its headers as they are."""

    sequence: int
    subject: str
    headers: dict[str, str]
    body: bytes


class Stream:
    """The stream of this name, taking these subjects. Raises Refused and nats.errors.Error."""

    def __init__(
        self, client: Client, name: str, subjects: str, max_age_seconds: float | None
    ) -> None:
        self.name = name
        self._client = client
        self._subjects = subjects
        self._max_age_seconds = max_age_seconds

    async def state(self) -> State:
        """How it stands. It is created if it is missing, and told our subjects."""
        try:
            info = await self._ask("STREAM.INFO", {})
        except Refused as error:
            if error.code != NO_STREAM:
                raise
            info = await self._ask("STREAM.CREATE", self._wanted())
            log.warning("stream created", stream=self.name)
        if info["config"].get("subjects") != [self._subjects]:
            config = {**info["config"], "subjects": [self._subjects]}
            info = await self._ask("STREAM.UPDATE", config)
            log.warning("stream told its subjects", stream=self.name, subjects=self._subjects)
        return _state(info)

    async def at(self, sequence: int) -> Stored | None:
        """The message of this sequence; None if there is none."""
        return await self._message({"seq": sequence})

    async def after(self, sequence: int) -> Stored | None:
        """The first message after this sequence; None at the end."""
        return await self._message({"seq": sequence + 1, "next_by_subj": ">"})

    async def at_or_before(self, sequence: int) -> Stored | None:
        """The last message up to this sequence, itself included; None if there is none.

        The server can't be asked for it: of a stream whose last message was deleted, it says
        that there is no last message.
        """
        found = await self.at(sequence)
        if found is not None or sequence < 1:
            return found
        for hole in reversed(await self.holes()):
            if hole == sequence:
                sequence -= 1
        return await self.at(sequence)

    async def holes(self) -> list[int]:
        """The sequences after the first message that hold nothing, rising."""
        info = await self._ask("STREAM.INFO", {"deleted_details": True})
        return list(info["state"].get("deleted") or ())

    async def delete(self, sequence: int) -> None:
        """Take one message away."""
        await self._ask("STREAM.MSG.DELETE", {"seq": sequence, "no_erase": True})

    async def empty(self, through: int) -> None:
        """Take away every message up to this sequence, itself included."""
        await self._ask("STREAM.PURGE", {"seq": through + 1})

    async def forget_ids(self) -> None:
        """Let the server forget which ids it has seen lately.

        It remembers them for `duplicate_window`, over a purge too, and then answers for
        messages that it has no more. A narrower window makes it forget.
        """
        info = await self._ask("STREAM.INFO", {})
        config = info["config"]
        if config.get("duplicate_window", 0) > SMALLEST_WINDOW_NS:
            narrow = {**config, "duplicate_window": SMALLEST_WINDOW_NS}
            await self._ask("STREAM.UPDATE", narrow)
            await asyncio.sleep(FORGOTTEN_SECONDS)
            await self._ask("STREAM.UPDATE", config)
            log.info("stream made to forget message ids", stream=self.name)

    def _wanted(self) -> dict[str, Any]:
        """A stream as we make it. See docs/adr/0018 for the window and the persistence."""
        return {
            "name": self.name,
            "subjects": [self._subjects],
            "storage": "file",
            "retention": "limits",
            "discard": "old",
            "num_replicas": 1,
            "allow_direct": True,
            "max_age": int((self._max_age_seconds or 0) * 1_000_000_000),
            "duplicate_window": SMALLEST_WINDOW_NS,
            "persist_mode": "async",
        }

    async def _message(self, which: dict[str, Any]) -> Stored | None:
        try:
            found = (await self._ask("STREAM.MSG.GET", which))["message"]
        except Refused as error:
            if error.code == NO_MESSAGE:
                return None
            raise
        return Stored(
            found["seq"],
            found["subject"],
            _headers(b64decode(found.get("hdrs") or "")),
            b64decode(found.get("data") or ""),
        )

    async def _ask(self, verb: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self._client.request(
            f"$JS.API.{verb}.{self.name}", json.dumps(body).encode(), timeout=ANSWER_SECONDS
        )
        document: dict[str, Any] = json.loads(answer.data)
        if error := document.get("error"):
            raise Refused(error.get("err_code", 0), error.get("description", "no reason given"))
        return document


def _state(info: dict[str, Any]) -> State:
    state = info["state"]
    return State(
        info["created"],
        state["first_seq"],
        state["last_seq"],
        state["messages"],
        state.get("num_deleted", 0),
        info["config"],
    )


def _headers(block: bytes) -> dict[str, str]:
    """A header block, `NATS/1.0` and lines; of a header that is there twice, the first."""
    found: dict[str, str] = {}
    for line in block.decode("utf-8", "replace").split("\r\n")[1:]:
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name, value.strip())
    return found
