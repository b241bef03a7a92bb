"""What the key routes take and answer. The secret is in one answer only: that of creation."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from api.http.answers import NO_NUL, in_utc, instant
from api.http.plan_shapes import Reason
from api.http.quota_answers import AllowanceAnswer
from api.http.quota_shapes import QuotaBody, QuotaRule, RateLimitBody, quota_rule
from application.ports import KeyUses, Ports
from domain.api_key_rules import Kind, Labels, Scalar
from domain.api_keys import AmendApiKey, ApiKey, Environment, IssueApiKey
from domain.calendars import RatePeriod
from domain.quotas import Quota

Text = Annotated[str, msgspec.Meta(pattern=NO_NUL)]
Metadata = dict[Text, Text | int | float | bool | None]
Permissions = Annotated[
    tuple[str, ...],
    msgspec.Meta(
        description="A standard key's may be wildcards: `documents.*` holds all below, `*` all."
    ),
]
IpAllow = Annotated[
    tuple[Text, ...],
    msgspec.Meta(
        description="Works from these only: addresses and networks (CIDR), IPv4 and IPv6.",
        examples=[["192.0.2.0/24", "2001:db8::/32"]],
    ),
]
NEVER_USED = KeyUses()


class NewKeyBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a key may be given when it begins, issued here or imported."""

    name: Text
    kind: Annotated[Kind, msgspec.Meta(description="`service`: made by staff only.")] = "standard"
    audience: Annotated[
        Text | None, msgspec.Meta(description="Verified only for who names this audience.")
    ] = None
    environment: Environment = "live"
    permissions: Permissions = ()
    roles: tuple[str, ...] = ()
    ip_allow: IpAllow = ()
    rate_limits: tuple[RateLimitBody, ...] = ()
    expires_at: datetime | None = None
    metadata: Metadata = {}
    tags: tuple[Text, ...] = ()
    external_id: Text | None = None
    quota: QuotaBody | None = None
    enabled: bool = True

    def new_key(self, account_id: str, here: str = "") -> IssueApiKey:
        """The command, for this account. `here` is where the body stands, in a larger one."""
        expires_at = self.expires_at
        return IssueApiKey(
            account_id=account_id,
            name=self.name,
            kind=self.kind,
            environment=self.environment,
            audience=self.audience,
            permissions=self.permissions,
            expires_at=None if expires_at is None else in_utc(expires_at, f"{here}expires_at"),
            labels=Labels(
                metadata=dict[str, Scalar](self.metadata),
                tags=self.tags,
                external_id=self.external_id,
            ),
            enabled=self.enabled,
            roles=self.roles,
            ip_allow=self.ip_allow,
            rate_limits=tuple(each.rate_limit() for each in self.rate_limits),
        )


class IssueRequest(NewKeyBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new key. Only its name is needed."""

    account_id: Annotated[
        str | None, msgspec.Meta(description="Whose key; left out, the caller's account.")
    ] = None
    prefix: Annotated[
        str | None, msgspec.Meta(description="What the key begins with: 1 to 12 of a-z 0-9.")
    ] = None
    reason: Reason | None = None


class AmendRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change. What is absent stays; null clears an expiry, an external id, a quota."""

    name: Text | UnsetType = UNSET
    permissions: tuple[str, ...] | UnsetType = UNSET
    roles: tuple[str, ...] | UnsetType = UNSET
    ip_allow: tuple[Text, ...] | UnsetType = UNSET
    rate_limits: tuple[RateLimitBody, ...] | UnsetType = UNSET
    expires_at: datetime | UnsetType | None = UNSET
    metadata: Metadata | UnsetType = UNSET
    tags: tuple[Text, ...] | UnsetType = UNSET
    external_id: Text | UnsetType | None = UNSET
    quota: QuotaBody | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET
    reason: Reason | None = None

    def command(self) -> AmendApiKey:
        """The command for all but the quota."""
        expires_at, limits = self.expires_at, self.rate_limits
        return AmendApiKey(
            name=self.name,
            permissions=self.permissions,
            roles=self.roles,
            ip_allow=self.ip_allow,
            rate_limits=(
                UNSET
                if isinstance(limits, UnsetType)
                else tuple(each.rate_limit() for each in limits)
            ),
            expires_at=(
                in_utc(expires_at, "expires_at") if isinstance(expires_at, datetime) else expires_at
            ),
            metadata=UNSET if self.metadata is UNSET else dict[str, Scalar](self.metadata),
            tags=self.tags,
            external_id=self.external_id,
            enabled=self.enabled,
        )

    def quota_rule(self) -> Quota | UnsetType | None:
        """The quota that is asked for."""
        return self.quota.own() if isinstance(self.quota, QuotaBody) else self.quota


class RevokeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why, for the history."""

    reason: Reason | None = None


class RateLimitRule(msgspec.Struct, frozen=True):
    """A rate limit as it was set."""

    name: str
    limit: int
    period: RatePeriod
    cost: int


class Uses(msgspec.Struct, frozen=True):
    """How many verifications were valid, and how many had another verdict."""

    valid: int
    denied: int


class ApiKeyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A key, without its secret: that can't be read back by anybody.

    `generation` is 1, and one more with every rotation; the secret before the last one works
    before `previous_valid_until`, if it does at all. `last_used_at` is when the key was valid
    the last time. It and `uses` are late by a few seconds. `as_of` is there where the key is
    told as it was then: of the past, neither of the two is known.
    """

    id: str
    account_id: str
    name: str
    hint: str
    kind: Kind
    environment: Environment
    audience: str | None
    permissions: tuple[str, ...]
    roles: tuple[str, ...]
    ip_allow: tuple[str, ...]
    rate_limits: list[RateLimitRule]
    expires_at: datetime | None
    metadata: dict[str, Scalar]
    tags: tuple[str, ...]
    external_id: str | None
    enabled: bool
    generation: int
    previous_valid_until: datetime | None
    issued_at: datetime
    revoked_at: datetime | None
    quota: QuotaRule | None
    last_used_at: datetime | None
    uses: Uses | None
    as_of: datetime | msgspec.UnsetType = msgspec.UNSET


class IssuedAnswer(ApiKeyAnswer, frozen=True, kw_only=True):
    """A new key; `key` is its secret, shown this once."""

    key: str


class WhoAmI(ApiKeyAnswer, frozen=True, kw_only=True):
    """A key, and every quota that it draws on."""

    quotas: list[AllowanceAnswer]


class ApiKeyPage(msgspec.Struct, frozen=True):
    """A page of keys, oldest first."""

    items: list[ApiKeyAnswer]
    next_cursor: str | None


def key_fields(key: ApiKey, quota: Quota | None, uses: KeyUses | None = None) -> dict[str, Any]:
    """The fields of every answer about this key; never its digest. No `uses`: never used."""
    uses = uses or NEVER_USED
    return {
        "id": key.id,
        "account_id": key.account_id,
        "name": key.name,
        "hint": key.hint,
        "kind": key.kind,
        "environment": key.environment,
        "audience": key.audience,
        "permissions": key.permissions,
        "roles": key.roles,
        "ip_allow": key.ip_allow,
        "rate_limits": [
            RateLimitRule(each.name, each.limit, each.period, each.cost) for each in key.rate_limits
        ],
        "expires_at": None if key.expires_at is None else instant(key.expires_at),
        "metadata": key.metadata or {},
        "tags": key.tags,
        "external_id": key.external_id,
        "enabled": key.enabled,
        "generation": key.generation,
        "previous_valid_until": (
            None
            if not key.previous_until or key.revoked_at is not None
            else instant(key.previous_until)
        ),
        "issued_at": instant(key.issued_at),
        "revoked_at": None if key.revoked_at is None else instant(key.revoked_at),
        "quota": None if quota is None else quota_rule(quota, "own"),
        "last_used_at": uses.last_used_at,
        "uses": Uses(uses.valid, uses.denied),
    }


async def uses_of(ports: Ports, key_ids: Sequence[str]) -> dict[str, KeyUses]:
    """How these keys were used; from now on, for a while, `own_quota` knows their rules."""
    await ports.directory.hold(key_ids)
    return await ports.read_models.key_uses(key_ids)


def own_quota(ports: Ports, key_id: str) -> Quota | None:
    """The key's own quota as this process knows it."""
    for rule in ports.directory.allowances(key_id):
        if rule.scope == "own":
            return rule.quota
    return None
