"""What the reference says of the quota routes, and what they take."""

from datetime import datetime
from typing import Annotated

import msgspec

from api.http.operation import Operation, Parameter
from api.http.paging import PAGE_PARAMETERS
from api.http.plan_operations import ACCOUNT_ID
from api.http.plan_shapes import Reason
from api.http.quota_answers import ALLOWANCE_EXAMPLE, AllowancePage
from api.http.quota_shapes import QuotaBody, QuotaRule
from application.quotas import MAX_RESETS

_TAG = "Plans and quotas"
_KEY = "key_01kamzq9h4t7c2m5r8v1x3z6bd"
_RULE = {
    "limit": 1000,
    "period": "month",
    "scope": "shared",
    "carry_over_max": 200,
    "anchor": "2026-01-15T08:00:00Z",
    "time_zone": "Europe/Berlin",
}
_BODY = {name: value for name, value in _RULE.items() if name != "scope"}


class QuotaRequest(QuotaBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A quota, and why."""

    reason: Reason | None = None


class EndQuotaRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The quota that was set ends; and why."""

    limit: None
    reason: Reason | None = None


class AccountQuota(msgspec.Struct, frozen=True, kw_only=True):
    """What the account's keys share: what staff `set`, else what its plan gives."""

    account_id: str
    set: QuotaRule | None
    in_force: QuotaRule | None


class KeyQuota(msgspec.Struct, frozen=True, kw_only=True):
    """A key's own quota. What its account has counts as well."""

    key_id: str
    quota: QuotaRule | None


class ResetRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose quotas: one of the four, and why (but for `all`)."""

    account_id: str | None = None
    key_id: str | None = None
    ids: Annotated[tuple[str, ...], msgspec.Meta(max_length=MAX_RESETS)] | None = None
    all: bool = False
    reason: Reason | None = None


class ResetAnswer(msgspec.Struct, frozen=True):
    """How many accounts and keys (null: all), and from when on their quotas are counted anew."""

    reset: int | None
    reset_at: datetime


QUOTAS = Operation(
    id="list_quotas",
    tag=_TAG,
    summary="List quotas and rate limits",
    description=(
        "Every quota and rate limit of the account, of the environments live and test apart, and "
        "of its keys that have not ended, with what was used in the window that is now and when "
        "the rest runs out at the present pace. A window is that of the rule's anchor and time "
        "zone, or of UTC; weeks begin on Monday."
    ),
    who="actor",
    right="accounts.read",
    permission="quotas.read",
    answer=AllowancePage,
    example={"items": [ALLOWANCE_EXAMPLE], "next_cursor": None},
    parameters=(
        *PAGE_PARAMETERS,
        Parameter(
            "account_id",
            "Whose; left out, the caller's. Others: staff, and services with `quotas.read`.",
            {"type": "string"},
            ACCOUNT_ID.example,
        ),
    ),
    reads=True,
    errors=("NOT_FOUND", "STORE_UNAVAILABLE"),
)

SET_ACCOUNT = Operation(
    id="set_account_quota",
    tag=_TAG,
    summary="Set an account's quota",
    description=(
        "In the place of the one that its plan gives, until the account gets another plan. A "
        "`limit` of null with the reason alone ends it. What was used stays used. For staff, who "
        "say why."
    ),
    who="staff",
    right="limits.set",
    answer=AccountQuota,
    example={"account_id": ACCOUNT_ID.example, "set": _RULE, "in_force": _RULE},
    body=QuotaRequest,
    body_ending=EndQuotaRequest,
    body_example={**_BODY, "reason": "agreed by contract"},
    parameters=(ACCOUNT_ID,),
    commands=True,
    errors=("NOT_FOUND",),
)

SET_KEY = Operation(
    id="set_key_quota",
    tag=_TAG,
    summary="Set a key's quota",
    description=(
        "The key's own, beside what its account has; in the same period no more than that, unless "
        "staff sets it. A `limit` of null, or the body null, ends it. What was used stays used."
    ),
    who="actor",
    right="keys.manage",
    permission="keys.manage",
    answer=KeyQuota,
    example={"key_id": _KEY, "quota": {**_RULE, "scope": "own"}},
    body=QuotaRequest,
    body_ending=EndQuotaRequest,
    body_example=_BODY,
    parameters=(Parameter("key_id", "The key's id.", {"type": "string"}, _KEY, "path"),),
    commands=True,
    errors=("NOT_FOUND", "KEY_REVOKED", "PLAN_LIMIT_REACHED"),
)

RESET = Operation(
    id="reset_quotas",
    tag=_TAG,
    summary="Reset quotas",
    description=(
        "A window begins now: of what an account's keys share (`account_id`), of a key's own "
        "quota (`key_id`), of up to 200 of both, all or none (`ids`), or of everybody (`all`, "
        "which keeps no reason). For staff, who say why."
    ),
    who="staff",
    right="limits.reset",
    answer=ResetAnswer,
    example={"reset": 1, "reset_at": "2026-01-31T12:00:00Z"},
    body=ResetRequest,
    body_example={"account_id": ACCOUNT_ID.example, "reason": "an outage of ours"},
    commands=True,
    once=True,
    errors=("NOT_FOUND",),
)
