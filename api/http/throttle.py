"""Limits per network address: on public routes, and on credentials that prove nothing.

A public route is limited before its work is done. A credential is looked at whatever its address
did before, so that nobody is locked out by a neighbour behind the same NAT: one that works always
passes, and one that doesn't is answered 429 in place of 401 once its address has shown too many.
Verification pays nothing for it: only what is refused is counted (docs/adr/0027).
"""

import ipaddress
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import HTTPScope, Message, Send

from api.http.limit_fields import limit_fields
from api.http.operation import Operation
from api.http.problems import HttpProblem, problem_for, respond
from application.rate_limits import LimitName, RateLimits, RateStanding

UNKNOWN = "unknown"
IPV6_PREFIX = 64

_COUNTED = "counted"
_CREDENTIALS = frozenset({b"authorization", b"x-api-key"})

_SAYS: Mapping[LimitName, str] = {
    "public": "Your address may send {0} requests in {1} to public routes. {2}",
    "failed": "Your address may present {0} credentials in {1} that prove nothing. {2}",
}


class _Counted(NamedTuple):
    """The limit that a request fell under, and where its address stands with it."""

    name: LimitName
    standing: RateStanding


class Throttle:
    """Counts by address, refuses what is over a limit, and says in headers how it stands."""

    def __init__(self, limits: RateLimits) -> None:
        self._limits = limits

    async def guard(
        self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
    ) -> None:
        """For `Litestar(guards=[...])`: public operations take one of their address's requests.

        Here and not at the door, because only the router knows for certain which operation a
        path leads to. Raises HttpProblem.
        """
        operation = handler.opt.get("operation")
        if not isinstance(operation, Operation) or not operation.limited:
            return
        scope: Any = connection.scope
        standing = await self._limits.hit("public", network_of(scope["client"]))
        scope["state"][_COUNTED] = _Counted("public", standing)
        if standing.exceeded:
            raise _too_many("public", standing)

    def watched(self, scope: HTTPScope, send: Send) -> Send:
        """A way out for this request's answer: counts a 401 to a credential, and adds the headers
        of the limit that the request fell under."""
        replaced = False

        async def send_on(message: Message) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start":
                counted = await self._counted(scope, message["status"])
                if counted is not None:
                    if counted.name == "failed" and counted.standing.exceeded:
                        replaced = True
                        await _refuse(scope, send, counted)
                        return
                    added = [
                        (name.encode(), text.encode()) for name, text in _fields(counted).items()
                    ]
                    message = {**message, "headers": [*message["headers"], *added]}
            if not replaced:
                await send(message)

        return send_on

    async def _counted(self, scope: HTTPScope, status: int) -> _Counted | None:
        found: _Counted | None = scope["state"].get(_COUNTED)
        if found is None and status == 401 and _presents(scope):
            return _Counted("failed", await self._limits.hit("failed", network_of(scope["client"])))
        return found


def network_of(client: tuple[str, int] | None) -> str:
    """Whom a request counts for: an IPv4 address, or the /64 of an IPv6 one, as everybody with
    one address of it has them all. `client` is what the server took for the other end."""
    try:
        address = ipaddress.ip_address(client[0]) if client else None
    except ValueError:
        address = None
    if address is None:
        # A socket file, or what a proxy made up: all of it together, so that nothing is won by
        # sending nonsense.
        return UNKNOWN
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return str(ipaddress.ip_network((int(address), IPV6_PREFIX), strict=False))
        address = address.ipv4_mapped
    return str(address)


def _presents(scope: HTTPScope) -> bool:
    return any(name in _CREDENTIALS for name, _ in scope["headers"])


def _fields(counted: _Counted) -> dict[str, str]:
    name, standing = counted
    return limit_fields(
        name,
        standing.limit,
        standing.window_seconds,
        standing.remaining,
        standing.more_in_seconds,
        int(time.time()) + standing.more_in_seconds,
    )


def _too_many(name: LimitName, standing: RateStanding) -> HttpProblem:
    each = "a minute" if standing.window_seconds == 60 else f"{standing.window_seconds} s"
    again = f"Try again in {standing.more_in_seconds} seconds."
    detail = _SAYS[name].format(standing.limit, each, again)
    headers = {"retry-after": str(standing.more_in_seconds)}
    return HttpProblem("TOO_MANY_REQUESTS", detail, headers=headers)


async def _refuse(scope: HTTPScope, send: Send, counted: _Counted) -> None:
    request_id = scope["state"]["request_id"]
    problem, headers = problem_for(_too_many(*counted), request_id)
    await respond(send, problem, {**headers, **_fields(counted)})
