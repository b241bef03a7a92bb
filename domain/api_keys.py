"""API keys: named, revocable access. The secret is shown once; only its digest is kept."""

from datetime import datetime
from typing import Annotated, Literal, assert_never

import msgspec

from domain.api_key_rules import (
    Kind,
    Labels,
    Scalar,
    check_labels,
    checked_audience,
    checked_expiry,
    checked_name,
    checked_permissions,
)
from domain.errors import KeyRevoked
from domain.event import INTERNAL, Event

Environment = Literal["live", "test"]


class ApiKeyIssued(Event, frozen=True, tag="api_key.issued.v1"):
    """A key exists. `digest` is the keyed hash of its secret under the pepper `pepper_id`."""

    key_id: str
    account_id: str
    name: str
    digest: Annotated[bytes, INTERNAL]
    pepper_id: Annotated[str, INTERNAL]
    hint: str
    kind: Kind = "standard"
    environment: Environment = "live"
    audience: str | None = None
    permissions: tuple[str, ...] = ()
    expires_at: datetime | None = None
    metadata: dict[str, Scalar] = {}
    tags: tuple[str, ...] = ()
    external_id: str | None = None
    enabled: bool = True
    generation: int = 1


class ApiKeyRenamed(Event, frozen=True, tag="api_key.renamed.v1"):
    """The key has another name."""

    name: str


class ApiKeyPermissionsSet(Event, frozen=True, tag="api_key.permissions_set.v1"):
    """The key has exactly these permissions."""

    permissions: tuple[str, ...]


class ApiKeyExpirySet(Event, frozen=True, tag="api_key.expiry_set.v1"):
    """The key ends at this instant, or never."""

    expires_at: datetime | None = None


class ApiKeyLabelled(Event, frozen=True, tag="api_key.labelled.v1"):
    """The key's owner attached exactly these labels to it."""

    metadata: dict[str, Scalar] = {}
    tags: tuple[str, ...] = ()
    external_id: str | None = None


class ApiKeyPaused(Event, frozen=True, tag="api_key.paused.v1"):
    """The key is refused until it is resumed."""


class ApiKeyResumed(Event, frozen=True, tag="api_key.resumed.v1"):
    """The key works again."""


class ApiKeyRevoked(Event, frozen=True, tag="api_key.revoked.v1"):
    """The key has ended for good."""


ApiKeyEvent = (
    ApiKeyIssued
    | ApiKeyRenamed
    | ApiKeyPermissionsSet
    | ApiKeyExpirySet
    | ApiKeyLabelled
    | ApiKeyPaused
    | ApiKeyResumed
    | ApiKeyRevoked
)


class ApiKey(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A key as decisions and verification need it. Instants are Unix seconds."""

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


class AmendApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """The command behind PATCH /v1/keys/{id}: what is UNSET stays as it is."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    permissions: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    expires_at: datetime | msgspec.UnsetType | None = msgspec.UNSET
    metadata: dict[str, Scalar] | msgspec.UnsetType = msgspec.UNSET
    tags: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    external_id: str | msgspec.UnsetType | None = msgspec.UNSET
    enabled: bool | msgspec.UnsetType = msgspec.UNSET


def issue(
    command: IssueApiKey, key_id: str, digest: bytes, pepper_id: str, hint: str, now: datetime
) -> list[ApiKeyEvent]:
    """The facts of a new key. InvalidCommand names the field that breaks a rule."""
    check_labels(command.labels)
    return [
        ApiKeyIssued(
            key_id=key_id,
            account_id=command.account_id,
            name=checked_name(command.name),
            digest=digest,
            pepper_id=pepper_id,
            hint=hint,
            kind=command.kind,
            environment=command.environment,
            audience=checked_audience(command.audience),
            permissions=checked_permissions(command.permissions, command.kind),
            expires_at=checked_expiry(command.expires_at, now),
            metadata=command.labels.metadata,
            tags=command.labels.tags,
            external_id=command.labels.external_id,
            enabled=command.enabled,
        )
    ]


def amend(key: ApiKey, command: AmendApiKey, now: datetime) -> list[ApiKeyEvent]:
    """The facts that bring the key to what is asked for; none for what it is already."""
    if key.revoked_at is not None:
        raise KeyRevoked(key.id)
    events: list[ApiKeyEvent] = []
    if command.name is not msgspec.UNSET and (name := checked_name(command.name)) != key.name:
        events.append(ApiKeyRenamed(name=name))
    if command.permissions is not msgspec.UNSET:
        permissions = checked_permissions(command.permissions, key.kind)
        if permissions != key.permissions:
            events.append(ApiKeyPermissionsSet(permissions=permissions))
    if command.expires_at is not msgspec.UNSET and _unix(command.expires_at) != key.expires_at:
        events.append(ApiKeyExpirySet(expires_at=checked_expiry(command.expires_at, now)))
    labels = labels_of(key)
    wanted = Labels(
        metadata=labels.metadata if command.metadata is msgspec.UNSET else command.metadata,
        tags=labels.tags if command.tags is msgspec.UNSET else command.tags,
        external_id=(
            labels.external_id if command.external_id is msgspec.UNSET else command.external_id
        ),
    )
    if wanted != labels:
        check_labels(wanted)
        events.append(ApiKeyLabelled(**msgspec.structs.asdict(wanted)))
    if command.enabled is not msgspec.UNSET and command.enabled != key.enabled:
        events.append(ApiKeyResumed() if command.enabled else ApiKeyPaused())
    return events


def revoke(key: ApiKey) -> list[ApiKeyEvent]:
    """End the key; twice is once."""
    return [] if key.revoked_at is not None else [ApiKeyRevoked()]


def labels_of(key: ApiKey) -> Labels:
    """The labels that the key carries."""
    return Labels(metadata=key.metadata or {}, tags=key.tags, external_id=key.external_id)


def evolve(state: ApiKey | None, event: ApiKeyEvent, at: datetime) -> ApiKey:
    """The key after this event."""
    if isinstance(event, ApiKeyIssued):
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
        )
    if state is None:
        raise ValueError(f"{type(event).__name__} before api_key.issued")
    replace = msgspec.structs.replace
    match event:
        case ApiKeyRenamed():
            return replace(state, name=event.name)
        case ApiKeyPermissionsSet():
            return replace(state, permissions=event.permissions)
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
        case ApiKeyRevoked():
            return replace(state, revoked_at=at.timestamp())
        case _:
            assert_never(event)


def _unix(instant: datetime | None) -> float | None:
    return None if instant is None else instant.timestamp()
