"""Makes a stream a suffix of its log again, whatever was done to it.

The stream is what it is: nothing that a process remembers of it counts. Each look asks what
its last message is, whether the log has that one, whether anything is missing before it.
What doesn't belong is taken away; what is missing in the middle or at the front can't be put
there, so the stream is emptied and filled again.
"""

from itertools import pairwise
from typing import NamedTuple

import msgspec
import structlog

from infra.followers import Hold, Poison
from infra.nats.logs import LogReader
from infra.nats.pipeline import Interrupted
from infra.nats.streams import State, Stored, Stream
from projections.publication import message_id

log = structlog.get_logger()


class Standing(NamedTuple):
    """Where publication goes on: after `position`, behind the sequence `last_sequence`.

    `last_id` is the message id that the server should remember as its last; None where it
    may remember another one, since messages were taken away.
    """

    position: int
    last_sequence: int
    last_id: str | None


class _Envelope(msgspec.Struct):
    subject: str
    streamversion: int


_ENVELOPE = msgspec.json.Decoder(_Envelope)


class Repair:
    """Looks at one stream on behalf of one hold."""

    def __init__(self, stream: Stream, hold: Hold, log_id: str) -> None:
        self._stream = stream
        self._hold = hold
        self._log_id = log_id
        self._whole: tuple[str, int, int] | None = None

    async def look(self) -> Standing:
        """Where the stream stands, after everything that is wrong with it was put right.

        Raises Poison for a stream that another installation writes to.
        """
        empty_from = 0, 0  # nothing from there up to this last sequence
        while True:
            # The state first: what comes in after it makes the next publish fail.
            state = await self._stream.state()
            if not state.messages:
                return await self._beginning(state)
            end = empty_from[0] - 1 if empty_from[1] == state.last else state.last
            last = await self._stream.at_or_before(end)
            if last is None:
                raise Interrupted(f"{self._stream.name} changed while it was looked at")
            position = self._ours(last)
            problem = await self._stray(last, position)
            missing = None if problem else await self._missing(state)
            if problem is not None:
                log.warning(
                    "message taken out of the stream",
                    stream=self._stream.name,
                    subject=last.subject,
                    sequence=last.sequence,
                    reason=problem,
                )
                await self._stream.delete(last.sequence)
                empty_from = last.sequence, state.last
            elif missing is not None:
                log.warning("stream filled again", stream=self._stream.name, reason=missing)
                await self._stream.empty(last.sequence)
            else:
                assert position is not None
                named = last.headers.get("Nats-Msg-Id") if last.sequence == state.last else None
                return Standing(position, state.last, named)

    async def _beginning(self, state: State) -> Standing:
        """An empty stream is filled with all that it would still hold, had it been kept."""
        async with LogReader.opened(self._hold) as reader:
            position = 0
            if state.consumed:
                position = self._hold.position
            elif state.max_age_ns:
                # What was published and is recent can't have aged; what aged needn't return.
                recent = await reader.before_recent(state.max_age_ns // 1_000)
                position = min(self._hold.position, recent)
        return Standing(position, state.last, None)

    async def _stray(self, last: Stored, position: int | None) -> str | None:
        """Why the last message has no place here; None if it has."""
        # Whatever NATS is asked, it is asked outside of the transaction, which has little time.
        before = await self._stream.at_or_before(last.sequence - 1) if position else None
        async with LogReader.opened(self._hold) as reader:
            event = None if position is None else await reader.identity(position)
        if position is None:
            return "it was not written by Tollhouse"
        if event is None:
            return f"the log has nothing at {position}"
        try:
            envelope = _ENVELOPE.decode(last.body)
        except msgspec.MsgspecError:
            return "it was not written by Tollhouse"
        if event != (envelope.subject, envelope.streamversion):
            return f"the log has another event at {position}"
        earlier = before and self._ours(before)
        if earlier is not None and earlier >= position:
            return f"{position} was published before"
        return None

    def _ours(self, stored: Stored) -> int | None:
        """The position that a message of our log says it has; None if it isn't one."""
        named = stored.headers.get("Tollhouse-Log", "")
        given = stored.headers.get("Tollhouse-Position", "")
        log_id, _, number = given.rpartition(":")
        if log_id != named or not number.isascii() or not number.isdigit():
            return None
        if given != message_id(log_id, int(number)) or not log_id:
            return None
        if log_id == self._log_id:
            return int(number)
        if log_id.removesuffix("u") == self._log_id.removesuffix("u"):
            return None  # our other log, copied here
        raise Poison(
            self._hold.position,
            f"the stream {self._stream.name} holds messages of another installation, "
            f"{log_id}, and is left alone: give each installation a NATS account of its own, "
            "or delete the stream if that installation is gone",
        )

    async def _missing(self, state: State) -> str | None:
        """What the stream should hold before its last message and doesn't; None if it's whole."""
        if not state.complete or not state.messages:
            return None
        if self._whole == (state.created, state.first, state.deleted):
            return None
        first = await self._stream.after(state.first - 1)
        gaps = await self._gaps(state)
        async with LogReader.opened(self._hold) as reader:
            problem = await self._front(state, first, reader)
            lost = None if problem else await reader.first_lost(gaps)
        if lost is not None:
            problem = f"something between {lost[0]} and {lost[1]} is missing"
        if problem is None:
            self._whole = (state.created, state.first, state.deleted)
        return problem

    async def _front(self, state: State, first: Stored | None, reader: LogReader) -> str | None:
        position = first and self._ours(first)
        if position is None:
            return None  # it ages away, or is ours to judge as a hole
        if state.max_age_ns:
            if await reader.recent_before(position, state.max_age_ns // 1_000):
                return f"what should be there before {position} is missing"
        elif await reader.any_between(0, position):
            return f"everything before {position} is missing"
        return None

    async def _gaps(self, state: State) -> list[tuple[int, int]]:
        """The positions before and after each hole. There may be thousands: it takes its time."""
        if not state.deleted:
            return []
        holes = await self._stream.holes()
        firsts = holes[:1] + [after for before, after in pairwise(holes) if after != before + 1]
        gaps = []
        for hole in firsts:
            before = await self._stream.at(hole - 1)
            after = await self._stream.after(hole)
            if before is None or after is None:
                continue
            low, high = self._ours(before), self._ours(after)
            if low is not None and high is not None:
                gaps.append((low, high))
        return gaps
