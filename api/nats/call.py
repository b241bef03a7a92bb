"""One request: what its headers say, who calls, and how its command is carried out."""

import os
import re
from collections.abc import Mapping

from api.commands import Commands
from api.http.callers import is_access_token, principal_of_key
from api.http.idempotency import HEADER, idempotency_key
from api.http.positions import await_position
from api.http.problems import HttpProblem
from application.deciding import Principal
from application.errors import Unauthenticated
from application.ports import Ports
from application.verification import Verifier
from domain.errors import NotPermitted

KEY = "Tollhouse-Key"
MAX_HEADERS = 64
MAX_HEADER_CHARACTERS = 16 * 1024

_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


class Room:
    """What all requests of a process share."""

    def __init__(self, ports: Ports, verifier: Verifier) -> None:
        self.ports = ports
        self.verifier = verifier
        self.in_flight: set[bytes] = set()


class Call:
    """A request on a subject. Implements api.commands.Asked.

    Names of headers are taken in any case. `faulty` is what is wrong with them, if anything:
    said later, so that the answer can have the request's id.
    """

    __slots__ = ("_body", "_headers", "_room", "faulty", "request_id", "route")

    def __init__(
        self, room: Room, subject: str, headers: Mapping[str, str] | None, body: bytes
    ) -> None:
        given = headers or {}
        self._room = room
        self._body = body
        self._headers = {name.lower(): value for name, value in given.items()}
        self.route = subject
        self.faulty = _faults(given, len(self._headers))
        wanted = self._headers.get("request-id", "")
        self.request_id = wanted if _SANE_ID.fullmatch(wanted) else f"req_{os.urandom(12).hex()}"

    @property
    def ports(self) -> Ports:
        return self._room.ports

    @property
    def verifier(self) -> Verifier:
        return self._room.verifier

    @property
    def secret(self) -> str | None:
        """The key that the caller presents."""
        return self._headers.get("tollhouse-key", "").strip() or None

    async def see_position(self) -> None:
        """Wait for the position that the caller must see. HttpProblem, ForeignLog,
        PositionNotReached."""
        wanted = self._headers.get("tollhouse-min-position")
        if wanted is not None:
            ports = self._room.ports
            await await_position(ports.directory, ports.store.log_id, wanted)

    async def service(self, permission: str) -> Principal:
        """The service that calls. Unauthenticated, or NotPermitted without this permission."""
        secret = self.secret
        if secret is None or is_access_token(secret):
            raise Unauthenticated(f"no key in {KEY}")
        verifier = self._room.verifier
        verifier.require_fresh()
        # From no address that could be known: a key with an allow-list is refused.
        principal = principal_of_key(verifier, await verifier.resolve(secret), None)
        if principal.kind != "service":
            detail = "This takes a service key: one of `kind: service`, made by staff."
            raise HttpProblem("FORBIDDEN", detail, param=KEY)
        if permission not in principal.permissions:
            raise NotPermitted(permission)
        return principal

    def named(self, exc: Exception) -> Exception:
        """The same refusal; one for want of a key names the header that keys are looked for in."""
        secret = self.secret
        if isinstance(exc, Unauthenticated) and (secret is None or is_access_token(secret)):
            return HttpProblem(
                "UNAUTHENTICATED", f"Every command takes an API key, in the header `{KEY}`."
            )
        return exc

    @property
    def commands(self) -> Commands:
        """Carries out the command of this request."""
        return Commands(self._room.ports, self._room.in_flight, self)

    def idempotency_key(self) -> str | None:
        given = self._headers.get(HEADER.lower())
        return None if given is None else idempotency_key([(_IDEMPOTENCY, given.encode())])

    async def body(self) -> bytes:
        return self._body


_IDEMPOTENCY = HEADER.lower().encode()


def _faults(given: Mapping[str, str], distinct: int) -> HttpProblem | None:
    if len(given) > MAX_HEADERS or _characters(given) > MAX_HEADER_CHARACTERS:
        detail = f"At most {MAX_HEADERS} headers with 16 KiB in total are accepted."
        return HttpProblem("HEADERS_TOO_LARGE", detail)
    if distinct < len(given):
        return HttpProblem("INVALID_REQUEST", "A header is given twice, in different case.")
    return None


def _characters(given: Mapping[str, str]) -> int:
    return sum(len(name) + len(value) for name, value in given.items())
