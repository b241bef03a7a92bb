"""API keys: named, revocable access. The secret is shown once; only its digest is kept.

A key is a lineage: rotation gives it another secret, and leaves its id, counters, limits and
history (domain/key_lineage.py decides that, and what becomes of keys that were made elsewhere).
"""

from datetime import datetime
from typing import Any, assert_never

import msgspec

from domain.addresses import checked_ip_allow
from domain.api_key_events import Algorithm as Algorithm
from domain.api_key_events import ApiKeyEvent as ApiKeyEvent
from domain.api_key_events import ApiKeyExpirySet as ApiKeyExpirySet
from domain.api_key_events import ApiKeyImported as ApiKeyImported
from domain.api_key_events import ApiKeyIpAllowSet as ApiKeyIpAllowSet
from domain.api_key_events import ApiKeyIssued as ApiKeyIssued
from domain.api_key_events import ApiKeyLabelled as ApiKeyLabelled
from domain.api_key_events import ApiKeyLimitsSet as ApiKeyLimitsSet
from domain.api_key_events import ApiKeyPaused as ApiKeyPaused
from domain.api_key_events import ApiKeyPermissionsSet as ApiKeyPermissionsSet
from domain.api_key_events import ApiKeyRehashed as ApiKeyRehashed
from domain.api_key_events import ApiKeyRenamed as ApiKeyRenamed
from domain.api_key_events import ApiKeyResumed as ApiKeyResumed
from domain.api_key_events import ApiKeyRevoked as ApiKeyRevoked
from domain.api_key_events import ApiKeyRolesSet as ApiKeyRolesSet
from domain.api_key_events import ApiKeyRotated as ApiKeyRotated
from domain.api_key_events import Environment as Environment
from domain.api_key_rules import (
    Kind,
    Labels,
    Scalar,
    check_labels,
    checked_audience,
    checked_expiry,
    checked_name,
    checked_permissions,
    checked_roles,
)
from domain.errors import KeyRevoked
from domain.quotas import RateLimit, check_rate_limits


class ApiKey(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A key as decisions and verification need it. Instants are Unix seconds.

    `limits_no` numbers its rate limits. After a rotation, `previous_digest` is that of the
    secret before it, which works before `previous_until` (0: it ended at once). `algorithm` and
    `previous_algorithm` are those of secrets that were hashed elsewhere; None: digested here.
    """

    id: str
    account_id: str
    name: str
    digest: bytes
    pepper_id: str
    hint: str
    kind: Kind
    environment: Environment
    issued_at: float
    audience: str | None = None
    permissions: tuple[str, ...] = ()
    expires_at: float | None = None
    metadata: dict[str, Scalar] | None = None
    tags: tuple[str, ...] = ()
    external_id: str | None = None
    enabled: bool = True
    generation: int = 1
    revoked_at: float | None = None
    roles: tuple[str, ...] = ()
    ip_allow: tuple[str, ...] = ()
    rate_limits: tuple[RateLimit, ...] = ()
    limits_no: int = 1
    previous_digest: bytes | None = None
    previous_until: float | None = None
    algorithm: Algorithm | None = None
    previous_algorithm: Algorithm | None = None


class IssueApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """The command behind POST /v1/keys; the secret's digest is made outside."""

    account_id: str
    name: str
    kind: Kind = "standard"
    environment: Environment = "live"
    audience: str | None = None
    permissions: tuple[str, ...] = ()
    expires_at: datetime | None = None
    labels: Labels = Labels()
    enabled: bool = True
    roles: tuple[str, ...] = ()
    ip_allow: tuple[str, ...] = ()
    rate_limits: tuple[RateLimit, ...] = ()


class AmendApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """The command behind PATCH /v1/keys/{id}: what is UNSET stays as it is."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    permissions: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    roles: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    ip_allow: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    rate_limits: tuple[RateLimit, ...] | msgspec.UnsetType = msgspec.UNSET
    expires_at: datetime | msgspec.UnsetType | None = msgspec.UNSET
    metadata: dict[str, Scalar] | msgspec.UnsetType = msgspec.UNSET
    tags: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    external_id: str | msgspec.UnsetType | None = msgspec.UNSET
    enabled: bool | msgspec.UnsetType = msgspec.UNSET


def issue(
    command: IssueApiKey, key_id: str, digest: bytes, pepper_id: str, hint: str, now: datetime
) -> list[ApiKeyEvent]:
    """The facts of a new key. InvalidCommand names the field that breaks a rule."""
    fields = issued_fields(command, now)
    return [ApiKeyIssued(key_id=key_id, digest=digest, pepper_id=pepper_id, hint=hint, **fields)]


def issued_fields(command: IssueApiKey, now: datetime) -> dict[str, Any]:
    """What the first event of a key says of the command, each field checked."""
    check_labels(command.labels)
    return {
        "account_id": command.account_id,
        "name": checked_name(command.name),
        "kind": command.kind,
        "environment": command.environment,
        "audience": checked_audience(command.audience),
        "permissions": checked_permissions(command.permissions, command.kind),
        "expires_at": checked_expiry(command.expires_at, now),
        "metadata": command.labels.metadata,
        "tags": command.labels.tags,
        "external_id": command.labels.external_id,
        "enabled": command.enabled,
        "roles": checked_roles(command.roles),
        "ip_allow": checked_ip_allow(command.ip_allow),
        "rate_limits": check_rate_limits(command.rate_limits),
    }


def amend(key: ApiKey, command: AmendApiKey, now: datetime) -> list[ApiKeyEvent]:
    """The facts that bring the key to what is asked for; none for what it is already."""
    if key.revoked_at is not None:
        raise KeyRevoked(key.id)
    events: list[ApiKeyEvent] = []
    if command.name is not msgspec.UNSET and (name := checked_name(command.name)) != key.name:
        events.append(ApiKeyRenamed(name=name))
    events += _amend_rights(key, command)
    if command.expires_at is not msgspec.UNSET and _unix(command.expires_at) != key.expires_at:
        events.append(ApiKeyExpirySet(expires_at=checked_expiry(command.expires_at, now)))
    events += _amend_labels(key, command)
    if command.enabled is not msgspec.UNSET and command.enabled != key.enabled:
        events.append(ApiKeyResumed() if command.enabled else ApiKeyPaused())
    return events


def _amend_rights(key: ApiKey, command: AmendApiKey) -> list[ApiKeyEvent]:
    events: list[ApiKeyEvent] = []
    if command.permissions is not msgspec.UNSET:
        permissions = checked_permissions(command.permissions, key.kind)
        if permissions != key.permissions:
            events.append(ApiKeyPermissionsSet(permissions=permissions))
    if command.roles is not msgspec.UNSET:
        roles = checked_roles(command.roles)
        if roles != key.roles:
            events.append(ApiKeyRolesSet(roles=roles))
    if command.ip_allow is not msgspec.UNSET:
        ip_allow = checked_ip_allow(command.ip_allow)
        if ip_allow != key.ip_allow:
            events.append(ApiKeyIpAllowSet(ip_allow=ip_allow))
    if command.rate_limits is not msgspec.UNSET:
        rate_limits = check_rate_limits(command.rate_limits)
        if rate_limits != key.rate_limits:
            events.append(ApiKeyLimitsSet(rate_limits=rate_limits))
    return events


def _amend_labels(key: ApiKey, command: AmendApiKey) -> list[ApiKeyEvent]:
    labels = labels_of(key)
    wanted = Labels(
        metadata=labels.metadata if command.metadata is msgspec.UNSET else command.metadata,
        tags=labels.tags if command.tags is msgspec.UNSET else command.tags,
        external_id=(
            labels.external_id if command.external_id is msgspec.UNSET else command.external_id
        ),
    )
    if wanted == labels:
        return []
    check_labels(wanted)
    return [ApiKeyLabelled(**msgspec.structs.asdict(wanted))]


def revoke(key: ApiKey) -> list[ApiKeyEvent]:
    """End the key; twice is once."""
    return [] if key.revoked_at is not None else [ApiKeyRevoked()]


def labels_of(key: ApiKey) -> Labels:
    """The labels that the key carries."""
    return Labels(metadata=key.metadata or {}, tags=key.tags, external_id=key.external_id)


def evolve(state: ApiKey | None, event: ApiKeyEvent, at: datetime) -> ApiKey:
    """The key after this event."""
    if isinstance(event, ApiKeyIssued):
        return _issued(event, at)
    if state is None:
        raise ValueError(f"{type(event).__name__} before api_key.issued")
    replace = msgspec.structs.replace
    match event:
        case ApiKeyRenamed():
            return replace(state, name=event.name)
        case ApiKeyPermissionsSet():
            return replace(state, permissions=event.permissions)
        case ApiKeyRolesSet():
            return replace(state, roles=event.roles)
        case ApiKeyIpAllowSet():
            return replace(state, ip_allow=event.ip_allow)
        case ApiKeyLimitsSet():
            return replace(state, rate_limits=event.rate_limits, limits_no=state.limits_no + 1)
        case ApiKeyExpirySet():
            return replace(state, expires_at=_unix(event.expires_at))
        case ApiKeyLabelled():
            return replace(
                state,
                metadata=event.metadata or None,
                tags=event.tags,
                external_id=event.external_id,
            )
        case ApiKeyPaused():
            return replace(state, enabled=False)
        case ApiKeyResumed():
            return replace(state, enabled=True)
        case ApiKeyRotated():
            return _rotated(state, event)
        case ApiKeyRehashed():
            return replace(state, digest=event.digest, pepper_id=event.pepper_id, algorithm=None)
        case ApiKeyRevoked():
            return replace(state, revoked_at=at.timestamp())
        case _:
            assert_never(event)


def _issued(event: ApiKeyIssued, at: datetime) -> ApiKey:
    return ApiKey(
        id=event.key_id,
        account_id=event.account_id,
        name=event.name,
        digest=event.digest,
        pepper_id=event.pepper_id,
        hint=event.hint,
        kind=event.kind,
        environment=event.environment,
        audience=event.audience,
        permissions=event.permissions,
        expires_at=_unix(event.expires_at),
        metadata=event.metadata or None,
        tags=event.tags,
        external_id=event.external_id,
        enabled=event.enabled,
        generation=event.generation,
        issued_at=at.timestamp(),
        roles=event.roles,
        ip_allow=event.ip_allow,
        rate_limits=event.rate_limits,
        algorithm=event.algorithm if isinstance(event, ApiKeyImported) else None,
    )


def _rotated(state: ApiKey, event: ApiKeyRotated) -> ApiKey:
    return msgspec.structs.replace(
        state,
        digest=event.digest,
        pepper_id=event.pepper_id,
        hint=event.hint,
        generation=event.generation,
        algorithm=None,
        previous_digest=state.digest,
        # No clock decides where there is no overlap: another process's may be behind.
        previous_until=_unix(event.previous_until) or 0.0,
        previous_algorithm=state.algorithm,
    )


def _unix(instant: datetime | None) -> float | None:
    return None if instant is None else instant.timestamp()
