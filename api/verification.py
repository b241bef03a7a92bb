"""What a verification takes and answers, over HTTP and over NATS alike; and who may ask."""

import math
import time
from typing import Annotated

import msgspec
from msgspec import Meta

from api.http.callers import is_access_token, principal_of_key
from application.asks import Ask, Resolved
from application.batches import NO_LABELS, Labels
from application.begun import Reply
from application.errors import Unauthenticated
from application.verdicts import Verdict
from application.verification import Verifier
from domain import permission_query
from domain.errors import InvalidCommand, InvalidQuery, NotPermitted
from domain.key_format import MAX_PRESENTED_CHARACTERS
from domain.quotas import MAX_AMOUNT

PERMISSION = "keys.verify"
MAX_BATCH = 200

Tag = Annotated[str, Meta(min_length=1, max_length=100)]
Key = Annotated[str, Meta(max_length=MAX_PRESENTED_CHARACTERS)]


class VerifyRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked: may this key be used, so much of it, for that?

    `key` left out is the caller's own. `audience` says who asks, for keys that name one.
    `permissions` is what the key must hold, as in `a AND (b OR NOT c)`. `cost` is how much quota
    it takes; 0 only checks. `operation` is priced in credits by the plan of the key's account.
    `ip` is where the key was presented to a service; a key that calls for itself is judged by
    the address that it calls from. The rest is for analytics.
    """

    key: Key | None = None
    audience: Annotated[str, Meta(max_length=100)] | None = None
    permissions: str | None = None
    cost: Annotated[int, Meta(ge=0, le=MAX_AMOUNT)] = 1
    operation: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    ip: Annotated[str, Meta(max_length=100)] | None = None
    tags: Annotated[tuple[Tag, ...], Meta(max_length=10)] = ()
    resource: Annotated[str, Meta(max_length=200)] | None = None
    model: Annotated[str, Meta(max_length=100)] | None = None


class VerifyBatchRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Up to 200 verifications at once."""

    items: Annotated[tuple[VerifyRequest, ...], Meta(min_length=1, max_length=MAX_BATCH)]


class VerifyBatchAnswer(msgspec.Struct, frozen=True):
    """The verdicts, in the order of the items."""

    items: list[Verdict]


async def verify(
    verifier: Verifier,
    request: VerifyRequest,
    secret: str | None,
    client_ip: str | None,
    request_id: str,
) -> Verdict:
    """The verdict on the key that is meant. `secret` is what the caller presents.

    Raises Unauthenticated, NotPermitted, InvalidQuery, UnknownOperation, DirectoryStale,
    StoreUnavailable.
    """
    caller = await _caller(verifier, secret)
    if request.key is None or request.key == secret:
        ask = _ask(caller, request, client_ip, secret)
    else:
        _require_service(verifier, caller, client_ip)
        subject = await verifier.resolve(request.key)
        ask = _ask(subject, request, request.ip, request.key)
    return await verifier.verify(ask, request_id)


class Caller:
    """Who presents this credential from this address, request after request.

    That it may verify is found out once, and again whenever anything has changed.
    """

    __slots__ = ("_changes", "_until", "ip", "secret")

    def __init__(self, secret: str, ip: str | None) -> None:
        self.secret = secret
        self.ip = ip
        self._changes = -1
        self._until = 0.0

    def may_verify(self, verifier: Verifier) -> bool:
        """Whether it is a service that may verify keys of others, as far as that is known."""
        if verifier.changes == self._changes and time.time() < self._until:
            return True
        caller = self.own(verifier)
        if caller is None or caller.key is None:
            return False
        _require_service(verifier, caller, self.ip)
        if not caller.superseded:  # that ends by the clock
            self._changes = verifier.changes
            self._until = caller.key.expires_at or math.inf
        return True

    def own(self, verifier: Verifier) -> Resolved | None:
        """Its own key, if that is known, and the address where the key asks for one."""
        caller = verifier.remembered(self.secret)
        if caller is None or caller.key is None or (self.ip is None and caller.key.ip_allow):
            return None
        return caller


def begin(
    verifier: Verifier,
    request: VerifyRequest,
    caller: Caller,
    request_id: str,
    reply: Reply,
) -> bool:
    """`verify` without a task, where all that it names is remembered; else False, and nothing
    has happened. Raises as `verify`; nothing has happened then, either."""
    verifier.require_fresh()
    key = request.key
    if key is None or key == caller.secret:
        subject, ip = caller.own(verifier), caller.ip
    elif caller.may_verify(verifier):
        subject, ip = verifier.remembered(key), request.ip
    else:
        return False
    if subject is None:
        return False
    return verifier.begin(_ask(subject, request, ip, None), request_id, reply)


async def verify_batch(
    verifier: Verifier,
    request: VerifyBatchRequest,
    secret: str | None,
    client_ip: str | None,
    request_id: str,
) -> VerifyBatchAnswer:
    """The verdicts on up to 200 keys, for a service. Raises as `verify`; then nothing is taken."""
    _require_service(verifier, await _caller(verifier, secret), client_ip)
    asks = []
    for number, item in enumerate(request.items):
        if item.key is None:
            raise InvalidCommand(f"items[{number}].key", "each item names a key")
        subject = await verifier.resolve(item.key)
        try:
            asks.append(_ask(subject, item, item.ip, item.key))
        except InvalidQuery as error:
            param = f"items[{number}].{error.param}"
            raise InvalidQuery(param, error.column, error.reason) from None
    return VerifyBatchAnswer(await verifier.verify_many(asks, request_id))


async def _caller(verifier: Verifier, secret: str | None) -> Resolved:
    if secret is None or is_access_token(secret):
        raise Unauthenticated("verification takes an API key as its caller")
    verifier.require_fresh()
    caller = await verifier.resolve(secret)
    if caller.key is None:
        raise Unauthenticated("unknown key")
    return caller


def _require_service(verifier: Verifier, caller: Resolved, client_ip: str | None) -> None:
    if PERMISSION not in principal_of_key(verifier, caller, client_ip).permissions:
        raise NotPermitted(PERMISSION)


def _ask(resolved: Resolved, request: VerifyRequest, ip: str | None, secret: str | None) -> Ask:
    labels = NO_LABELS
    if request.tags or request.resource or request.model:
        labels = Labels(request.tags, request.resource, request.model)
    query = None
    if request.permissions is not None:
        query = permission_query.parse(request.permissions)
    return Ask(
        resolved,
        request.audience,
        query,
        request.cost,
        request.operation,
        ip,
        labels,
        secret if resolved.foreign else None,
    )
