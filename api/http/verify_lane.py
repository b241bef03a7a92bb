"""The verify lane: POST /v1/keys/verify, answered in front of the framework.

The framework's routing and validation cost more than a verification does (docs/adr), so this
one route does without. It keeps every promise that the others keep: problem documents,
strict bodies, caller checks, positions, request ids; the door in front bounds the headers.
"""

import re
from collections.abc import Callable
from functools import partial

import msgspec
from litestar.types import HTTPScope, Receive

from api import verification
from api.http.callers import credential
from api.http.positions import MIN_POSITION, await_position
from api.http.problems import HttpProblem
from api.http.request_body import body_limit, collect_body, is_json
from api.http.strict_json import decode
from api.http.wire import direct_of
from api.verification import Caller, VerifyRequest
from application.ports import Directory
from application.verdicts import Verdict
from application.verification import Verifier

PATH = "/v1/keys/verify"

_MIN_POSITION = MIN_POSITION.lower().encode()
_LIMIT = body_limit(PATH)
_EMPTY = VerifyRequest()
# What most bodies are: found out in a third of the time that it takes to look for what else they
# might be. What doesn't match is not wrong, only different.
_ONLY_A_KEY = re.compile(rb'\{"key": ?"([0-9A-Za-z_]{1,128})"\}')
_ENCODER = msgspec.json.Encoder()


class VerifyLane:
    """Answers with the verdict as JSON. Raises what it refuses; the door makes a problem of it."""

    def __init__(self, verifier: Verifier, directory: Directory, log_id: str) -> None:
        self._verifier = verifier
        self._directory = directory
        self._log_id = log_id

    async def __call__(self, scope: HTTPScope, receive: Receive) -> bytes:
        headers = scope["headers"]
        named = dict(headers)
        direct = direct_of(scope)
        body = None if direct is None else direct.body()
        if body is None or len(body) > _LIMIT:
            body = await collect_body(PATH, named.get(b"content-length", b""), receive)
        request = _EMPTY
        if body:
            _require_json(named.get(b"content-type", b""))
            request = decode(body, VerifyRequest)
        wanted = named.get(_MIN_POSITION)
        if wanted is not None:
            await await_position(self._directory, self._log_id, wanted.decode("latin-1"))
        client = scope["client"]
        verdict = await verification.verify(
            self._verifier,
            request,
            credential(headers),
            None if client is None else client[0],
            scope["state"]["request_id"],
        )
        return _ENCODER.encode(verdict)

    def caller(self, secret: str, client_ip: str | None) -> Caller:
        """Who presents this credential from this address."""
        return Caller(secret, client_ip)

    def begin(
        self,
        body: bytes,
        caller: Caller,
        request_id: str,
        reply: Callable[[bytes | Exception], None],
    ) -> bool:
        """The same without a task, where it can be; else False, and nothing has happened.
        Raises what is refused; then nothing has happened, either."""
        request = _EMPTY
        if body:
            alone = _ONLY_A_KEY.fullmatch(body)
            if alone is not None:
                request = VerifyRequest(alone[1].decode())
            else:
                request = decode(body, VerifyRequest)
        return verification.begin(
            self._verifier, request, caller, request_id, partial(_reply, reply)
        )


def _reply(reply: Callable[[bytes | Exception], None], answer: Verdict | Exception) -> None:
    reply(answer if isinstance(answer, Exception) else _ENCODER.encode(answer))


def _require_json(content_type: bytes) -> None:
    if not is_json(content_type):
        raise HttpProblem(
            "UNSUPPORTED_MEDIA_TYPE",
            "Content-Type has to be application/json.",
            param="Content-Type",
        )
