"""Commands at any door: carried out, and answered once for each Idempotency-Key.

HTTP and NATS make of a `Done` what their protocol wants; what happens before is the same.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol, TypeVar

from api.http.answers import Answer
from api.http.idempotency import Remembering, Ticket
from application.deciding import Context, Principal, new_id
from application.errors import IdempotencyInFlight, VersionConflict
from application.ports import AnswerExists, Ports
from domain.errors import DomainError

T = TypeVar("T")

Carry = Callable[[Context], Awaitable[tuple[T, int]]]
"""Carries out a command; answers its result and the position."""

Show = Callable[[T], Answer]
"""What is answered. What is kept for a replay is made of the result alone: it is called
before the commit, too."""


class Done(NamedTuple):
    """A command that was carried out, now or (`replayed`) by the first request of its key."""

    answer: Answer
    position: int
    replayed: bool = False


class Asked(Protocol):
    """The request that a command came with. `route` tells commands apart whose bodies may be
    the same."""

    @property
    def route(self) -> str: ...

    @property
    def request_id(self) -> str: ...

    def idempotency_key(self) -> str | None:
        """The one that was sent; HttpProblem for what is none."""
        ...

    async def body(self) -> bytes: ...


class Commands:
    """The command of one request. `in_flight` is shared by all requests of this process."""

    def __init__(self, ports: Ports, in_flight: set[bytes], asked: Asked) -> None:
        self._ports = ports
        self._in_flight = in_flight
        self._asked = asked

    async def carry_out(
        self, principal: Principal, carry: Carry[T], show: Show[T], *, reason: str | None = None
    ) -> Done:
        """Carry it out; whoever asks twice does it twice. `reason` is why, as the request says."""
        result, position = await carry(self._context(principal, None, reason))
        return Done(show(result), position)

    async def carry_out_once(
        self,
        principal: Principal,
        carry: Carry[T],
        show: Show[T],
        *,
        whose: str = "",
        reason: str | None = None,
    ) -> Done:
        """The same; but with an Idempotency-Key that was answered before, that answer again.

        `whose` tells those apart who share a principal, as all of the public do.

        Raises IdempotencyInFlight while the first request has not ended, here or in another
        process; nobody waits. Refusals are not remembered.
        """
        key = self._asked.idempotency_key()
        if key is None:
            return await self.carry_out(principal, carry, show, reason=reason)
        ticket = Ticket(f"{principal.id}{whose}", self._asked.route, key, await self._asked.body())
        if ticket.digest in self._in_flight:
            raise IdempotencyInFlight
        self._in_flight.add(ticket.digest)
        try:
            context = self._context(principal, Remembering(ticket, show), reason)
            return await self._once(ticket, context, carry, show)
        finally:
            self._in_flight.discard(ticket.digest)

    async def _once(self, ticket: Ticket, context: Context, carry: Carry[T], show: Show[T]) -> Done:
        if (replay := await self._replay(ticket)) is not None:
            return replay
        try:
            result, position = await carry(context)
        except (AnswerExists, DomainError, VersionConflict) as error:
            # Another process may have been first with this very request; then what it made is
            # what stands in our way (its address, its key), and its answer is ours.
            if (replay := await self._replay(ticket)) is not None:
                return replay
            if isinstance(error, AnswerExists):
                raise IdempotencyInFlight from error
            raise
        return Done(show(result), position)

    async def _replay(self, ticket: Ticket) -> Done | None:
        first = await ticket.first_answer(self._ports.lookups)
        return None if first is None else Done(*first, replayed=True)

    def _context(
        self, principal: Principal, idempotency: Remembering | None, reason: str | None
    ) -> Context:
        return Context(
            principal=principal,
            command_id=new_id(self._ports, "cmd"),
            request_id=self._asked.request_id,
            idempotency=idempotency,
            reason=reason,
        )
