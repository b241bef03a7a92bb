"""The headers that every answer carries, computed once (ASVS 5.0 V3.4).

There is one exception to the strict content policy, and it is listed here: the reference page
needs scripts, styles, and calls to its own origin.
"""

from typing import NamedTuple

DOCS_PATH = "/docs"

_STRICT = b"default-src 'none'; frame-ancestors 'none'"
_DOCS = (
    b"default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; img-src 'self' data:; "
    b"font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    b"frame-ancestors 'none'"
)


class Headers(NamedTuple):
    """What is added to an answer, and the names that are dropped from it first."""

    pairs: list[tuple[bytes, bytes]]
    replaced: frozenset[bytes]

    def with_more(self, pairs: list[tuple[bytes, bytes]]) -> "Headers":
        """The same and these, which replace nothing."""
        return Headers([*self.pairs, *pairs], self.replaced)


class SecurityHeaders:
    """Which headers go on an answer, by the path that was asked for.

    `strict` is for everything; `private` adds `no-store` to whatever an account or a key gets.
    """

    def __init__(self, *, production: bool) -> None:
        common = [
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=()"),
            (b"cross-origin-opener-policy", b"same-origin"),
            (b"cross-origin-resource-policy", b"same-origin"),
        ]
        if production:
            # Not in development: a browser would refuse http://localhost for a year.
            hsts = b"max-age=31536000; includeSubDomains"
            common.append((b"strict-transport-security", hsts))
        strict = [(b"content-security-policy", _STRICT), *common]
        self.strict = _headers(strict)
        self.private = _headers([*strict, (b"cache-control", b"no-store")])
        self.docs = _headers([(b"content-security-policy", _DOCS), *common])

    def for_path(self, path: str) -> Headers:
        """The headers for an answer at `path`."""
        if path.startswith(("/v1/", "/oauth/")):
            return self.private
        return self.docs if path == DOCS_PATH else self.strict


def _headers(pairs: list[tuple[bytes, bytes]]) -> Headers:
    return Headers(pairs, frozenset(name for name, _ in pairs))
