"""The verify lane: POST /v1/keys/verify, answered in front of the framework.

The framework's routing and validation cost more than a verification does (docs/adr), so this
one route does without. It keeps every promise that the others keep: problem documents,
strict bodies, caller checks, positions, request ids; the door in front bounds the headers.
"""

from typing import Annotated

import msgspec
from litestar.types import HTTPScope, Receive
from msgspec import Meta

from api.http.callers import credential, is_access_token, principal_of_key
from api.http.positions import MIN_POSITION, await_position
from api.http.problems import HttpProblem
from api.http.request_body import body_limit, collect_body
from api.http.strict_json import decode
from api.http.wire import direct_of
from application.batches import NO_LABELS, Labels
from application.errors import Unauthenticated
from application.ports import Directory
from application.verification import Verifier
from domain.allowances import MAX_AMOUNT
from domain.api_keys import ApiKey
from domain.errors import NotPermitted
from domain.key_format import MAX_PRESENTED_CHARACTERS

PATH = "/v1/keys/verify"
PERMISSION = "keys.verify"

_MIN_POSITION = MIN_POSITION.lower().encode()
Tag = Annotated[str, Meta(min_length=1, max_length=100)]


class VerifyRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked: may this key be used, so much of it, for that?

    `key` left out is the caller's own. `audience` says who asks, for keys that name one.
    `cost` is how much quota it takes; 0 only checks. The rest is for analytics.
    """

    key: Annotated[str, Meta(max_length=MAX_PRESENTED_CHARACTERS)] | None = None
    audience: Annotated[str, Meta(max_length=100)] | None = None
    cost: Annotated[int, Meta(ge=0, le=MAX_AMOUNT)] = 1
    tags: Annotated[tuple[Tag, ...], Meta(max_length=10)] = ()
    resource: Annotated[str, Meta(max_length=200)] | None = None
    model: Annotated[str, Meta(max_length=100)] | None = None


_LIMIT = body_limit(PATH)
_JSON = b"application/json"
_EMPTY = VerifyRequest()
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
        key = self._subject(request, credential(headers))
        labels = NO_LABELS
        if request.tags or request.resource or request.model:
            labels = Labels(request.tags, request.resource, request.model)
        verdict = await self._verifier.verify(
            key, request.audience, request.cost, labels, scope["state"]["request_id"]
        )
        return _ENCODER.encode(verdict)

    def _subject(self, request: VerifyRequest, secret: str | None) -> ApiKey | None:
        """The key to verify, if this caller may ask about it."""
        if secret is None or is_access_token(secret):
            raise Unauthenticated("verification takes an API key as its caller")
        verifier = self._verifier
        verifier.require_fresh()
        caller = verifier.resolve(secret)
        if caller is None:
            raise Unauthenticated("unknown key")
        if request.key is None or request.key == secret:
            return caller
        if PERMISSION not in principal_of_key(verifier, caller).permissions:
            raise NotPermitted(PERMISSION)
        return verifier.resolve(request.key)


def _require_json(content_type: bytes) -> None:
    if content_type.partition(b";")[0].strip().lower() != _JSON:
        raise HttpProblem(
            "UNSUPPORTED_MEDIA_TYPE",
            "Content-Type has to be application/json.",
            param="Content-Type",
        )
