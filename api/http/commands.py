"""Commands over HTTP: carried out, and answered with the position that they made."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from litestar import Request, Response
from litestar.datastructures import State

from api.http import positions
from api.http.answers import JSON, Answer
from api.http.idempotency import REPLAYED, Remembering, Ticket, idempotency_key
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


class Commands:
    """The command of one request. `in_flight` is shared by all requests of this process."""

    def __init__(
        self, ports: Ports, in_flight: set[bytes], request: Request[Any, Any, State]
    ) -> None:
        self._ports = ports
        self._in_flight = in_flight
        self._request = request

    async def answer(self, principal: Principal, carry: Carry[T], show: Show[T]) -> Response[bytes]:
        """Carry it out and answer; whoever asks twice does it twice."""
        result, position = await carry(self._context(principal, None))
        return self._response(show(result), position)

    async def answer_once(
        self, principal: Principal, carry: Carry[T], show: Show[T], *, whose: str = ""
    ) -> Response[bytes]:
        """The same; but with an Idempotency-Key that was answered before, that answer again.

        `whose` tells those apart who share a principal, as all of the public do.

        Raises IdempotencyInFlight while the first request has not ended, here or in another
        process; nobody waits. Refusals are not remembered.
        """
        key = idempotency_key(self._request.scope["headers"])
        if key is None:
            return await self.answer(principal, carry, show)
        route = f"{self._request.method} {self._request.scope['path']}"
        ticket = Ticket(f"{principal.id}{whose}", route, key, await self._request.body())
        if ticket.digest in self._in_flight:
            raise IdempotencyInFlight
        self._in_flight.add(ticket.digest)
        try:
            return await self._once(ticket, principal, carry, show)
        finally:
            self._in_flight.discard(ticket.digest)

    async def _once(
        self, ticket: Ticket, principal: Principal, carry: Carry[T], show: Show[T]
    ) -> Response[bytes]:
        if (replay := await self._replay(ticket)) is not None:
            return replay
        context = self._context(principal, Remembering(ticket, show))
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
        return self._response(show(result), position)

    async def _replay(self, ticket: Ticket) -> Response[bytes] | None:
        first = await ticket.first_answer(self._ports.lookups)
        if first is None:
            return None
        return self._response(*first, replayed=True)

    def _context(self, principal: Principal, idempotency: Remembering | None) -> Context:
        return Context(
            principal=principal,
            command_id=new_id(self._ports, "cmd"),
            request_id=self._request.scope["state"]["request_id"],
            idempotency=idempotency,
        )

    def _response(self, answer: Answer, position: int, replayed: bool = False) -> Response[bytes]:
        headers = {positions.POSITION: positions.token(self._ports.store.log_id, position)}
        if answer.location is not None:
            headers["Location"] = answer.location
        if replayed:
            headers[REPLAYED] = "true"
        return Response(answer.body, status_code=answer.status, media_type=JSON, headers=headers)
