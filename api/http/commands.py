"""Commands over HTTP: carried out, and answered with the position that they made."""

from typing import Any, TypeVar

from litestar import Request, Response
from litestar.datastructures import State

from api import commands
from api.commands import Carry, Done, Show
from api.http import positions
from api.http.answers import JSON
from api.http.idempotency import REPLAYED, idempotency_key
from application.deciding import Principal
from application.ports import Ports

T = TypeVar("T")


class Commands:
    """The command of one request. `in_flight` is shared by all requests of this process."""

    def __init__(
        self, ports: Ports, in_flight: set[bytes], request: Request[Any, Any, State]
    ) -> None:
        self._log_id = ports.store.log_id
        self._commands = commands.Commands(ports, in_flight, _Asked(request))

    async def answer(
        self, principal: Principal, carry: Carry[T], show: Show[T], *, reason: str | None = None
    ) -> Response[bytes]:
        """Carry it out and answer; whoever asks twice does it twice. `reason` is why, where the
        use case isn't told itself."""
        done = await self._commands.carry_out(principal, carry, show, reason=reason)
        return self._response(done)

    async def answer_once(
        self,
        principal: Principal,
        carry: Carry[T],
        show: Show[T],
        *,
        whose: str = "",
        reason: str | None = None,
    ) -> Response[bytes]:
        """The same; but with an Idempotency-Key that was answered before, that answer again.

        `whose` tells those apart who share a principal, as all of the public do. Raises
        IdempotencyInFlight, IdempotencyKeyReused.
        """
        done = await self._commands.carry_out_once(
            principal, carry, show, whose=whose, reason=reason
        )
        return self._response(done)

    def _response(self, done: Done) -> Response[bytes]:
        answer = done.answer
        headers = {positions.POSITION: positions.token(self._log_id, done.position)}
        if answer.location is not None:
            headers["Location"] = answer.location
        if done.replayed:
            headers[REPLAYED] = "true"
        return Response(answer.body, status_code=answer.status, media_type=JSON, headers=headers)


class _Asked:
    """Implements api.commands.Asked by an HTTP request."""

    def __init__(self, request: Request[Any, Any, State]) -> None:
        self._request = request

    @property
    def route(self) -> str:
        return f"{self._request.method} {self._request.scope['path']}"

    @property
    def request_id(self) -> str:
        found: str = self._request.scope["state"]["request_id"]
        return found

    def idempotency_key(self) -> str | None:
        return idempotency_key(self._request.scope["headers"])

    async def body(self) -> bytes:
        return await self._request.body()
