"""What the key routes take and answer. The secret is in one answer only: that of creation."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from api.http.answers import NO_NUL, in_utc, instant
from api.http.problems import HttpProblem
from api.http.quotas import AllowanceAnswer
from application.ports import KeyUses, Ports
from domain.allowances import MAX_AMOUNT, Period, Quota, Scope
from domain.api_key_rules import Kind, Labels, Scalar
from domain.api_keys import AmendApiKey, ApiKey, Environment, IssueApiKey

Text = Annotated[str, msgspec.Meta(pattern=NO_NUL)]
Metadata = dict[Text, Text | int | float | bool | None]
NEVER_USED = KeyUses()


class QuotaBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """So many verifications in each period, for this key alone."""

    limit: Annotated[int, msgspec.Meta(ge=0, le=MAX_AMOUNT)]
    period: Period
    scope: Scope = "own"

    def quota(self) -> Quota:
        """The rule; HttpProblem where it is meant to be shared."""
        if self.scope == "shared":
            detail = "A key's quota is its own; a shared one belongs to the account and its plan."
            raise HttpProblem("INVALID_REQUEST", detail, param="quota.scope")
        return Quota(self.limit, self.period)


class IssueRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new key. Only its name is needed."""

    name: Text
    kind: Annotated[Kind, msgspec.Meta(description="`service`: made by staff only.")] = "standard"
    account_id: Annotated[
        str | None, msgspec.Meta(description="Whose key; left out, the caller's account.")
    ] = None
    audience: Annotated[
        Text | None, msgspec.Meta(description="Verified only for who names this audience.")
    ] = None
    environment: Environment = "live"
    prefix: Annotated[
        str | None, msgspec.Meta(description="What the key begins with: 1 to 12 of a-z 0-9.")
    ] = None
    permissions: tuple[str, ...] = ()
    expires_at: datetime | None = None
    metadata: Metadata = {}
    tags: tuple[Text, ...] = ()
    external_id: Text | None = None
    quota: QuotaBody | None = None
    enabled: bool = True

    def command(self, account_id: str) -> IssueApiKey:
        """The command, for this account."""
        expires_at = self.expires_at
        return IssueApiKey(
            account_id=account_id,
            name=self.name,
            kind=self.kind,
            environment=self.environment,
            audience=self.audience,
            permissions=self.permissions,
            expires_at=None if expires_at is None else in_utc(expires_at, "expires_at"),
            labels=Labels(
                metadata=dict[str, Scalar](self.metadata),
                tags=self.tags,
                external_id=self.external_id,
            ),
            enabled=self.enabled,
        )


class AmendRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change. What is absent stays; null clears an expiry, an external id, a quota."""

    name: Text | UnsetType = UNSET
    permissions: tuple[str, ...] | UnsetType = UNSET
    expires_at: datetime | UnsetType | None = UNSET
    metadata: Metadata | UnsetType = UNSET
    tags: tuple[Text, ...] | UnsetType = UNSET
    external_id: Text | UnsetType | None = UNSET
    quota: QuotaBody | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET

    def command(self) -> AmendApiKey:
        """The command for all but the quota."""
        expires_at = self.expires_at
        return AmendApiKey(
            name=self.name,
            permissions=self.permissions,
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
        return self.quota.quota() if isinstance(self.quota, QuotaBody) else self.quota


class RevokeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why, for the history."""

    reason: Annotated[str, msgspec.Meta(max_length=500)] | None = None


class QuotaRule(msgspec.Struct, frozen=True):
    """A key's own quota; what is left of it is at GET /v1/quotas."""

    limit: int
    period: Period
    scope: Literal["own"] = "own"


class Uses(msgspec.Struct, frozen=True):
    """How many verifications were valid, and how many had another verdict."""

    valid: int
    denied: int


class ApiKeyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A key, without its secret: that can't be read back by anybody.

    `last_used_at` is when it was valid the last time. It and `uses` are late by a few seconds.
    """

    id: str
    account_id: str
    name: str
    hint: str
    kind: Kind
    environment: Environment
    audience: str | None
    permissions: tuple[str, ...]
    expires_at: datetime | None
    metadata: dict[str, Scalar]
    tags: tuple[str, ...]
    external_id: str | None
    enabled: bool
    generation: int
    issued_at: datetime
    revoked_at: datetime | None
    quota: QuotaRule | None
    last_used_at: datetime | None
    uses: Uses


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
        "expires_at": None if key.expires_at is None else instant(key.expires_at),
        "metadata": key.metadata or {},
        "tags": key.tags,
        "external_id": key.external_id,
        "enabled": key.enabled,
        "generation": key.generation,
        "issued_at": instant(key.issued_at),
        "revoked_at": None if key.revoked_at is None else instant(key.revoked_at),
        "quota": None if quota is None else QuotaRule(quota.limit, quota.period),
        "last_used_at": uses.last_used_at,
        "uses": Uses(uses.valid, uses.denied),
    }


def own_quota(ports: Ports, key_id: str) -> Quota | None:
    """The key's own quota as this process knows it."""
    for rule in ports.directory.allowances(key_id):
        if rule.scope == "own":
            return Quota(rule.limit, rule.period)
    return None
