"""What happens to API keys: the facts, and what stands in them."""

from datetime import datetime
from typing import Annotated, Literal

from domain.api_key_rules import Kind, Scalar
from domain.event import INTERNAL, Event
from domain.quotas import RateLimit

Environment = Literal["live", "test"]
Algorithm = Literal["sha256", "sha512", "blake2b-256", "hmac-sha256"]
"""How keys that are imported were hashed. Four, so that a secret that isn't known is hashed in
four ways at most, whatever is imported at the same time."""


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
    roles: tuple[str, ...] = ()
    ip_allow: tuple[str, ...] = ()
    rate_limits: tuple[RateLimit, ...] = ()


class ApiKeyImported(ApiKeyIssued, frozen=True, kw_only=True, tag="api_key.imported.v1"):
    """A key that was made elsewhere exists here, too: nobody here has seen its secret.

    `digest` is keyed over the hash that was handed over, which is the secret's under
    `algorithm`; the secret itself is digested at its first use.
    """

    algorithm: Algorithm


class ApiKeyRenamed(Event, frozen=True, tag="api_key.renamed.v1"):
    """The key has another name."""

    name: str


class ApiKeyPermissionsSet(Event, frozen=True, tag="api_key.permissions_set.v1"):
    """The key has exactly these permissions."""

    permissions: tuple[str, ...]


class ApiKeyRolesSet(Event, frozen=True, tag="api_key.roles_set.v1"):
    """The key has exactly these roles."""

    roles: tuple[str, ...]


class ApiKeyIpAllowSet(Event, frozen=True, tag="api_key.ip_allow_set.v1"):
    """The key works from these networks only; from everywhere, if there are none."""

    ip_allow: tuple[str, ...]


class ApiKeyLimitsSet(Event, frozen=True, tag="api_key.limits_set.v1"):
    """The key has exactly these rate limits."""

    rate_limits: tuple[RateLimit, ...]


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


class ApiKeyRotated(Event, frozen=True, tag="api_key.rotated.v1"):
    """The key has another secret. The one before it works until `previous_until`, and no
    longer at all where that is null; the one before that has ended."""

    digest: Annotated[bytes, INTERNAL]
    pepper_id: Annotated[str, INTERNAL]
    hint: str
    generation: int
    previous_until: datetime | None = None


class ApiKeyRehashed(Event, frozen=True, tag="api_key.rehashed.v1"):
    """The secret of an imported key was seen, and is digested like those made here."""

    digest: Annotated[bytes, INTERNAL]
    pepper_id: Annotated[str, INTERNAL]


class ApiKeyRevoked(Event, frozen=True, tag="api_key.revoked.v1"):
    """The key has ended for good."""


ApiKeyEvent = (
    ApiKeyIssued
    | ApiKeyImported
    | ApiKeyRenamed
    | ApiKeyPermissionsSet
    | ApiKeyRolesSet
    | ApiKeyIpAllowSet
    | ApiKeyLimitsSet
    | ApiKeyExpirySet
    | ApiKeyLabelled
    | ApiKeyPaused
    | ApiKeyResumed
    | ApiKeyRotated
    | ApiKeyRehashed
    | ApiKeyRevoked
)
