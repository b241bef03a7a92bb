"""The commands that are served over NATS, and the way of a request through any of them."""

from collections.abc import Callable, Mapping
from time import perf_counter

import msgspec
import structlog

from api.commands import Done
from api.http.problems import HttpProblem
from api.http.strict_json import decode
from api.nats.answers import REQUEST_ID, Reply, done_reply, problem_reply
from api.nats.call import Call, Room
from api.nats.credits import CREDITS
from api.nats.endpoint import Endpoint
from api.nats.keys import KEYS
from api.nats.quotas import QUOTAS
from api.nats.verification import VERIFICATION
from application.errors import Overloaded
from application.ports import Ports
from application.verification import Verifier

SERVICE = "tollhouse"
DESCRIPTION = "Verifies API keys, counts quotas and credits, and manages keys, for services."
QUEUE = "tollhouse"

ENDPOINTS: tuple[Endpoint, ...] = (*VERIFICATION, *KEYS, *QUOTAS, *CREDITS)

_log = structlog.get_logger("tollhouse.nats")


class CommandServices:
    """Answers every message on a subject of ENDPOINTS; whatever goes wrong is an answer, too.

    `log_lane` adds verifications to the log (at debug level); they are not there otherwise.
    """

    endpoints = ENDPOINTS

    def __init__(self, ports: Ports, verifier: Verifier, *, log_lane: bool = False) -> None:
        self._room = Room(ports, verifier)
        self._log_id = ports.store.log_id
        self._log_lane = log_lane
        self._by_subject = {each.subject: each for each in ENDPOINTS}

    async def answer(self, subject: str, headers: Mapping[str, str] | None, data: bytes) -> Reply:
        """Carry out what is asked for. Raises nothing."""
        started_at = perf_counter()
        endpoint = self._by_subject[subject]
        call = Call(self._room, subject, headers, data)
        try:
            reply = await self._answer(endpoint, call, data)
        except Exception as exc:
            reply = problem_reply(call.named(exc), call.request_id)
        if not endpoint.hurried:
            _log_request(_log.info, subject, reply, started_at)
        elif self._log_lane:
            _log_request(_log.debug, subject, reply, started_at)
        return reply

    def overloaded(self, subject: str, headers: Mapping[str, str] | None) -> Reply:
        """The answer to a message that there is no room for. Nothing is logged: it is a flood."""
        call = Call(self._room, subject, headers, b"")
        return problem_reply(Overloaded("too many requests at once", 1), call.request_id)

    async def _answer(self, endpoint: Endpoint, call: Call, data: bytes) -> Reply:
        if call.faulty is not None:
            raise call.faulty
        if len(data) > endpoint.most_bytes:
            detail = f"The message may have {endpoint.most_bytes} bytes at most here."
            raise HttpProblem("BODY_TOO_LARGE", detail)
        request = decode(data or b"{}", endpoint.request)
        await call.see_position()
        found = await endpoint.handler(call, request)
        if isinstance(found, Done):
            return done_reply(found, self._log_id, call.request_id)
        return Reply(_ENCODER.encode(found), {REQUEST_ID: call.request_id})


_ENCODER = msgspec.json.Encoder()


def _log_request(
    write: Callable[..., object], subject: str, reply: Reply, started_at: float
) -> None:
    # Neither header nor data: any of them may hold what must not be kept.
    write(
        "request",
        subject=subject,
        status=reply.status,
        duration_ms=round((perf_counter() - started_at) * 1000, 2),
        request_id=reply.headers[REQUEST_ID],
    )
