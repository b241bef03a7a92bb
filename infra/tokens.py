"""Access tokens: JWTs (RFC 7519, 9068) signed with Ed25519 (RFC 8037), one algorithm per key.

The algorithm comes from the key, never from the token (RFC 8725, 3.1); headers that point to
other keys (`jku`, `x5u`, `jwk`) are not looked at, and what a token declares critical is not
understood (RFC 7515, 4.1.11). A token has one spelling: base64 that decodes to the same bytes
in another way is refused.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from application.errors import Unauthenticated
from application.ports import AccessClaims
from application.tokens import LEEWAY_SECONDS
from infra.signing_keys import Keyring, SigningKey

ALGORITHM = "EdDSA"
TYPE = "at+jwt"
CLIENT_ID = "tollhouse"
"""There are no OAuth clients here; RFC 9068 wants one named in every token all the same."""
MOST_CHARACTERS = 8_192

_SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{86}")
_ALWAYS = datetime(2000, 1, 1, tzinfo=UTC)
_Instant = Annotated[int, msgspec.Meta(ge=0, le=2**40)]
_Name = Annotated[str, msgspec.Meta(min_length=1)]


class _Header(msgspec.Struct, frozen=True):
    alg: str
    typ: str
    kid: str
    crit: Any = msgspec.UNSET


class _Actor(msgspec.Struct, frozen=True):
    sub: _Name


class _Payload(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything that is in our tokens; other claims are passed over."""

    iss: str
    aud: str | list[str]
    client_id: str = ""
    sub: _Name
    sid: _Name
    jti: _Name
    iat: _Instant
    exp: _Instant
    nbf: _Instant | None = None
    roles: list[str]
    amr: list[str]
    epoch: _Instant
    auth_time: _Instant = 0
    act: _Actor | None = None


class SignedTokens:
    """Implements application.ports.Tokens. `keys` is a ring, or keys by id that always sign, the
    last of them."""

    def __init__(
        self, keys: Keyring | Mapping[str, Ed25519PrivateKey], issuer: str, audience: str
    ) -> None:
        self._issuer = issuer
        self._audience = audience
        self._ring = keys if isinstance(keys, Keyring) else _ring_of(keys)

    @property
    def issuer(self) -> str:
        """`iss` of every token: the address of this server."""
        return self._issuer

    @property
    def audience(self) -> str:
        """`aud` of every token."""
        return self._audience

    def issue(self, claims: AccessClaims) -> str:
        """A signed token that says so, by the key that signs when it is issued."""
        key = self._ring.signing(datetime.fromtimestamp(claims.iat, UTC))
        payload = _Payload(
            iss=self._issuer,
            aud=self._audience,
            client_id=CLIENT_ID,
            sub=claims.sub,
            sid=claims.sid,
            jti=claims.jti,
            iat=claims.iat,
            exp=claims.exp,
            roles=claims.roles,
            amr=claims.amr,
            epoch=claims.epoch,
            auth_time=claims.auth_time,
            act=_Actor(claims.impersonator) if claims.impersonator else None,
        )
        return jwt.api_jws.encode(
            msgspec.json.encode(payload),
            key.private,
            algorithm=ALGORITHM,
            headers={"typ": TYPE, "kid": key.kid},
        )

    def check(self, token: str, now: datetime) -> AccessClaims:
        """The claims of a token that is ours, unexpired and an access token."""
        payload = self._verified(token, now)
        audiences = [payload.aud] if isinstance(payload.aud, str) else payload.aud
        if payload.iss != self._issuer or self._audience not in audiences:
            raise Unauthenticated("token from or for somebody else")
        at = now.timestamp()
        if at >= payload.exp + LEEWAY_SECONDS:
            raise Unauthenticated("token expired")
        if at < max(payload.iat, payload.nbf or 0) - LEEWAY_SECONDS:
            raise Unauthenticated("token from the future")
        return AccessClaims(
            sub=payload.sub,
            sid=payload.sid,
            jti=payload.jti,
            iat=payload.iat,
            exp=payload.exp,
            roles=payload.roles,
            amr=payload.amr,
            epoch=payload.epoch,
            auth_time=payload.auth_time,
            impersonator=payload.act.sub if payload.act else None,
        )

    def _verified(self, token: str, now: datetime) -> _Payload:
        """What a token says that one of our keys has signed."""
        if len(token) > MOST_CHARACTERS or _SHAPE.fullmatch(token) is None:
            raise Unauthenticated("not a token")
        try:
            head, _, _ = map(_bytes, token.split("."))
            header = msgspec.json.decode(head, type=_Header)
            if header.alg != ALGORITHM or header.crit is not msgspec.UNSET:
                raise Unauthenticated("token of another algorithm")
            if header.typ.lower().removeprefix("application/") != TYPE:
                raise Unauthenticated("not an access token")
            public = self._ring.accepted(header.kid, now)
            if public is None:
                raise Unauthenticated("token signed by an unknown key")
            body = jwt.api_jws.decode(token, public, algorithms=[ALGORITHM])
            return msgspec.json.decode(body, type=_Payload)
        except (ValueError, jwt.PyJWTError) as error:
            raise Unauthenticated(f"token refused: {type(error).__name__}") from error


def _ring_of(keys: Mapping[str, Ed25519PrivateKey]) -> Keyring:
    ring = [SigningKey(kid, key, key.public_key(), _ALWAYS) for kid, key in keys.items()]
    return Keyring([*ring[:-1], ring[-1]._replace(signs_from=_ALWAYS.replace(year=2001))], 1e9)


def _bytes(text: str) -> bytes:
    """What this base64 stands for. ValueError where it is not its one spelling."""
    data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if urlsafe_b64encode(data).rstrip(b"=").decode() != text:
        raise ValueError("another spelling")
    return data
