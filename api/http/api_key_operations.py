"""What the reference says of the key routes."""

from api.http.api_key_shapes import (
    AmendRequest,
    ApiKeyAnswer,
    ApiKeyPage,
    IssuedAnswer,
    IssueRequest,
    RevokeRequest,
    WhoAmI,
)
from api.http.operation import Operation, Parameter
from api.http.paging import PAGE_PARAMETERS
from api.http.quota_answers import ALLOWANCE_EXAMPLE

TAG = "API keys"
KEY = {
    "id": "key_01kamzq9h4t7c2m5r8v1x3z6bd",
    "account_id": "acct_01kamzq3v0b6f7n8w9x2y4z5ac",
    "name": "shop backend",
    "hint": "th_live_…x7Qa",
    "kind": "standard",
    "environment": "live",
    "audience": None,
    "permissions": ["orders.read", "documents.*"],
    "roles": ["editor"],
    "ip_allow": ["192.0.2.0/24"],
    "rate_limits": [{"name": "burst", "limit": 10, "period": "second", "cost": 1}],
    "expires_at": "2030-01-31T00:00:00Z",
    "metadata": {"team": "checkout"},
    "tags": ["shop"],
    "external_id": None,
    "enabled": True,
    "generation": 1,
    "previous_valid_until": None,
    "issued_at": "2026-01-31T12:00:00Z",
    "revoked_at": None,
    "quota": {
        "limit": 1000,
        "period": "day",
        "scope": "own",
        "carry_over_max": 0,
        "anchor": None,
        "time_zone": "UTC",
    },
    "last_used_at": "2026-02-01T09:30:00Z",
    "uses": {"valid": 4182, "denied": 7},
}
NEW = {"last_used_at": None, "uses": {"valid": 0, "denied": 0}}
KEY_ID = Parameter("key_id", "The key's id.", {"type": "string"}, KEY["id"], "path")

ISSUE = Operation(
    id="issue_key",
    tag=TAG,
    summary="Create a key",
    description=(
        "Issues a key and answers its secret in `key`, this once: only a digest is kept. For "
        "another account: staff, and services with `keys.issue`. An account is issued so many in "
        "an hour; staff are not limited."
    ),
    who="actor",
    own_hand=True,
    right="keys.manage",
    permission="keys.issue",
    status=201,
    answer=IssuedAnswer,
    example={**KEY, **NEW, "key": "th_live_EXAMPLE0EXAMPLE0EXAMPLE0EXAMPLE0EXAMPLE0000checks"},
    body=IssueRequest,
    body_example={
        "name": "shop backend",
        "permissions": ["orders.read", "documents.*"],
        "roles": ["editor"],
        "ip_allow": ["192.0.2.0/24"],
        "rate_limits": [{"name": "burst", "limit": 10, "period": "second"}],
        "expires_at": "2030-01-31T00:00:00Z",
        "metadata": {"team": "checkout"},
        "tags": ["shop"],
        "quota": {"limit": 1000, "period": "day"},
    },
    commands=True,
    once=True,
    errors=("NOT_FOUND", "PLAN_LIMIT_REACHED", "ACCOUNT_NOT_ACTIVE"),
)

LIST = Operation(
    id="list_keys",
    tag=TAG,
    summary="List keys",
    description=(
        "An account's keys, oldest first, revoked ones too. `last_used_at`, the last valid use, "
        "and `uses` follow by a few seconds."
    ),
    who="actor",
    right="keys.read",
    permission="keys.manage",
    answer=ApiKeyPage,
    example={"items": [KEY], "next_cursor": None},
    parameters=(
        *PAGE_PARAMETERS,
        Parameter(
            "account_id",
            "Whose keys; left out, the caller's. Others: staff, and services with `keys.manage`.",
            {"type": "string"},
            KEY["account_id"],
        ),
    ),
    reads=True,
    errors=("NOT_FOUND", "STORE_UNAVAILABLE"),
)

WHOAMI = Operation(
    id="whoami",
    tag=TAG,
    summary="What the calling key is",
    description="The key that calls, and what is left of every quota it draws on. Spends nothing.",
    who="key",
    answer=WhoAmI,
    example={**KEY, "quotas": [ALLOWANCE_EXAMPLE]},
    reads=True,
    errors=("STORE_UNAVAILABLE",),
)

GET = Operation(
    id="get_key",
    tag=TAG,
    summary="Read a key",
    description=(
        "One key, as the log has it. Never its secret. `last_used_at`, the last valid use, and "
        "`uses` follow by a few seconds. With `as_of` as it was then: those two are null, and "
        "`as_of` is the instant that was meant."
    ),
    who="actor",
    right="keys.read",
    permission="keys.manage",
    answer=ApiKeyAnswer,
    example=KEY,
    parameters=(
        KEY_ID,
        Parameter(
            "as_of",
            "An instant, or a `Tollhouse-Position`: the key as it was.",
            {"type": "string"},
            "2026-02-01T00:00:00Z",
        ),
    ),
    reads=True,
    errors=("NOT_FOUND", "STORE_UNAVAILABLE"),
)

AMEND = Operation(
    id="amend_key",
    tag=TAG,
    summary="Change a key",
    description=(
        "Changes what the body has and leaves the rest. null clears `expires_at`, `external_id` "
        "and `quota`. `enabled: false` pauses the key. A service key is changed by staff only."
    ),
    who="actor",
    right="keys.manage",
    permission="keys.manage",
    answer=ApiKeyAnswer,
    example={**KEY, "enabled": False},
    body=AmendRequest,
    body_example={"enabled": False, "tags": ["shop", "paused"]},
    parameters=(KEY_ID,),
    commands=True,
    errors=("NOT_FOUND", "KEY_REVOKED", "PLAN_LIMIT_REACHED"),
)

REVOKE = Operation(
    id="revoke_key",
    tag=TAG,
    summary="Revoke a key",
    description="Ends a key for good, everywhere within a second. Again, it changes nothing.",
    who="actor",
    right="keys.manage",
    permission="keys.manage",
    status=204,
    body=RevokeRequest,
    body_example={"reason": "left in a public repository"},
    body_optional=True,
    parameters=(KEY_ID,),
    commands=True,
    once=True,
    errors=("NOT_FOUND",),
)
