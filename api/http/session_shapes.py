"""What sessions and tokens take and answer."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from application.ports import AccessClaims, Ports
from application.session_ports import SessionRecord
from domain.sessions import SessionStarted

Token = Annotated[str, Meta(min_length=1, max_length=3000)]


class RefreshRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A refresh token; none where it is in a cookie. The rest is what OAuth clients send with it
    (RFC 6749, 6): clients need no id here, and none is looked at."""

    refresh_token: Token | None = None
    grant_type: Literal["refresh_token"] | None = None
    client_id: Annotated[str, Meta(max_length=200)] | None = None


class Actor(msgspec.Struct, frozen=True):
    """Who really acts (RFC 8693, 4.1)."""

    sub: str


class ClaimsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What an access token says (RFC 9068). Times are seconds since 1970 UTC."""

    iss: str
    aud: str
    sub: str
    jti: str
    iat: int
    exp: int
    sid: str
    roles: list[str]
    amr: list[str]
    epoch: int
    auth_time: int
    act: Actor | UnsetType = UNSET


class SessionAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A sign-in that goes on. `last_seen_at`: signed in, or refreshed its tokens."""

    id: str
    current: bool
    started_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    amr: tuple[str, ...]
    ip: str | None
    user_agent: str | None
    impersonated: bool


class SessionPage(msgspec.Struct, frozen=True):
    """A page of sessions, newest first."""

    items: list[SessionAnswer]
    next_cursor: str | None


class TokenRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token to ask about or to end. The hint is not needed: tokens say what they are."""

    token: Token
    token_type_hint: Annotated[str, Meta(max_length=100)] | None = None


class IntrospectionAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What RFC 7662 has; of a token that isn't active nothing but that."""

    active: bool
    token_type: Literal["Bearer", "refresh_token"] | None = None
    iss: str | None = None
    aud: str | None = None
    sub: str | None = None
    username: str | None = None
    jti: str | None = None
    iat: int | None = None
    exp: int | None = None
    sid: str | None = None
    roles: list[str] | None = None
    amr: list[str] | None = None
    auth_time: int | None = None
    act: Actor | None = None


class JwkAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A public key (RFC 7517, RFC 8037)."""

    kty: Literal["OKP"] = "OKP"
    crv: Literal["Ed25519"] = "Ed25519"
    use: Literal["sig"] = "sig"
    alg: Literal["EdDSA"] = "EdDSA"
    kid: str
    x: str


class JwksAnswer(msgspec.Struct, frozen=True):
    """The keys that access tokens are signed with now, will be, and were while those live."""

    keys: list[JwkAnswer]


class MetadataAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Where clients find everything (RFC 8414)."""

    issuer: str
    jwks_uri: str
    token_endpoint: str
    token_endpoint_auth_methods_supported: list[str]
    grant_types_supported: list[str]
    response_types_supported: list[str]
    introspection_endpoint: str
    introspection_endpoint_auth_methods_supported: list[str]
    revocation_endpoint: str
    revocation_endpoint_auth_methods_supported: list[str]
    service_documentation: str


def claims_answer(ports: Ports, claims: AccessClaims) -> ClaimsAnswer:
    """The claims of a token that was checked."""
    return ClaimsAnswer(
        iss=ports.tokens.issuer,
        aud=ports.tokens.audience,
        sub=claims.sub,
        jti=claims.jti,
        iat=claims.iat,
        exp=claims.exp,
        sid=claims.sid,
        roles=claims.roles,
        amr=claims.amr,
        epoch=claims.epoch,
        auth_time=claims.auth_time,
        act=Actor(claims.impersonator) if claims.impersonator else UNSET,
    )


def session_answer(
    record: SessionRecord, first: SessionStarted | None, current: str | None
) -> SessionAnswer:
    """A session as its owner sees it."""
    return SessionAnswer(
        id=record.session_id,
        current=record.session_id == current,
        started_at=record.started_at,
        last_seen_at=record.last_seen_at,
        expires_at=record.expires_at,
        amr=record.amr,
        ip=None if first is None else first.ip,
        user_agent=None if first is None else first.user_agent,
        impersonated=record.impersonator is not None,
    )
