"""Which pages of other origins may call from a browser (the CORS protocol of the Fetch standard).

By setting, origin by origin; without one nothing here takes part, and no answer changes. A page
that is listed may do all that its user may, session cookie included where the browser sends it:
the cookies are SameSite=Strict, so only to pages of the same site.
"""

from collections.abc import Iterable

from litestar.types import HTTPScope

Pairs = list[tuple[bytes, bytes]]

METHODS = "GET, POST, PUT, PATCH, DELETE"
ASKED = (
    "Accept, Authorization, Content-Type, Idempotency-Key, Request-Id, Tollhouse-Min-Position,"
    " X-Api-Key, X-CSRF-Token"
)
"""The request headers that mean something here."""
EXPOSED = (
    "Request-Id, Location, Retry-After, RateLimit, RateLimit-Policy, X-RateLimit-Limit,"
    " X-RateLimit-Remaining, X-RateLimit-Reset, Tollhouse-Position, Idempotent-Replayed,"
    " Content-Disposition, WWW-Authenticate"
)
"""The answer headers that a script may read."""
PREFLIGHT_SECONDS = 600

_VARY = (b"vary", b"Origin")


class Cors:
    """What is added for whoever says where they come from. `origins` are as browsers write them;
    none of them is `*`."""

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = {
            origin.encode(): [
                (b"access-control-allow-origin", origin.encode()),
                (b"access-control-allow-credentials", b"true"),
            ]
            for origin in origins
        }
        self._exposed = (b"access-control-expose-headers", EXPOSED.encode())
        self._preflight = [
            (b"access-control-allow-methods", METHODS.encode()),
            (b"access-control-allow-headers", ASKED.encode()),
            (b"access-control-max-age", str(PREFLIGHT_SECONDS).encode()),
        ]

    def pairs(self, headers: Iterable[tuple[bytes, bytes]]) -> Pairs:
        """For any answer to a request with these headers. Always `Vary`, so that no cache gives
        one origin's answer to another."""
        found = self._found(headers)
        return [_VARY, *found, self._exposed] if found else [_VARY]

    def preflight(self, scope: HTTPScope) -> Pairs | None:
        """For the answer to a browser that asks first; None if this isn't that."""
        if scope["method"] != "OPTIONS" or not any(
            name == b"access-control-request-method" for name, _ in scope["headers"]
        ):
            return None
        found = self._found(scope["headers"])
        return [_VARY, *found, *self._preflight] if found else [_VARY]

    def _found(self, headers: Iterable[tuple[bytes, bytes]]) -> Pairs:
        for name, value in headers:
            if name == b"origin":
                return self._origins.get(value, [])
        return []
