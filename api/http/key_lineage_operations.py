"""What the reference says of rotation, import and the response to a leak."""

from api.http.api_key_operations import KEY, KEY_ID, TAG
from api.http.key_lineage_shapes import (
    ImportAnswer,
    ImportRequest,
    LeakAnswer,
    LeakRequest,
    RotatedAnswer,
    RotateRequest,
)
from api.http.operation import Operation

_SECRET = "th_live_EXAMPLE0EXAMPLE0EXAMPLE0EXAMPLE0EXAMPLE0000checks"  # noqa: S105 - of no key

ROTATE = Operation(
    id="rotate_key",
    tag=TAG,
    summary="Rotate a key",
    description=(
        "Gives the key another secret, answered in `key` this once. The present one works for "
        "`overlap_seconds` more (up to 30 days; left out, it ends at once), and both draw on the "
        "same counters: id, quotas, limits and history stay. Rotating again during an overlap "
        "ends the older secret. A service needs `keys.issue`; a service key is rotated by staff."
    ),
    who="actor",
    own_hand=True,
    right="keys.manage",
    permission="keys.issue",
    answer=RotatedAnswer,
    example={
        **KEY,
        "generation": 2,
        "previous_valid_until": "2026-02-02T12:00:00Z",
        "key": _SECRET,
    },
    body=RotateRequest,
    body_example={"overlap_seconds": 86400},
    body_optional=True,
    parameters=(KEY_ID,),
    commands=True,
    once=True,
    errors=("NOT_FOUND", "KEY_REVOKED"),
)

IMPORT = Operation(
    id="import_keys",
    tag=TAG,
    summary="Import keys",
    description=(
        "Keys that another system issued keep working: up to 1,000 of their hashes at once, all "
        "or none. The hash is of the whole secret, as `sha256`, `sha512`, `blake2b-256`, or "
        "`hmac-sha256` where the operator has set the other system's secret "
        "(`TOLLHOUSE_IMPORT_HMAC_KEY`). It is kept under a keyed digest, and replaced by our own "
        "digest of the secret at its first valid use. A plan's limit of keys holds. For staff, "
        "and services with `keys.issue`."
    ),
    who="staff",
    right="keys.manage",
    permission="keys.issue",
    status=201,
    answer=ImportAnswer,
    example={
        "items": [
            {
                "id": KEY["id"],
                "account_id": KEY["account_id"],
                "name": "shop backend",
                "hint": "old_…x7Qa",
            }
        ]
    },
    body=ImportRequest,
    body_example={
        "items": [
            {
                "account_id": KEY["account_id"],
                "name": "shop backend",
                "hash": "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b",
                "algorithm": "sha256",
                "hint": "old_…x7Qa",
                "permissions": ["orders.read"],
            }
        ]
    },
    commands=True,
    once=True,
    errors=("IMPORT_REFUSED",),
)

LEAK_RESPONSE = Operation(
    id="respond_to_leak",
    tag=TAG,
    summary="Respond to a leak",
    description=(
        "Revokes the key with all of its secrets, and then answers who used it: by day and "
        "outcome, and by the tags, resources and models that callers named, since `since` (left "
        "out, since it was issued). The revocation stands before anything is read; asking again "
        "is safe, and answers what was recorded meanwhile. Addresses are not recorded with "
        "verifications. For the key's owner, and for staff."
    ),
    who="actor",
    right="keys.manage",
    answer=LeakAnswer,
    example={
        "key_id": KEY["id"],
        "account_id": KEY["account_id"],
        "hint": KEY["hint"],
        "generation": 1,
        "revoked_at": "2026-02-01T12:00:00Z",
        "since": "2026-01-31T12:00:00Z",
        "last_used_at": "2026-02-01T09:30:00Z",
        "uses": {"valid": 4182, "denied": 7},
        "days": [
            {
                "day": "2026-02-01",
                "outcome": "VALID",
                "verifications": 4182,
                "cost": 4182,
                "first_at": "2026-02-01T00:00:04Z",
                "last_at": "2026-02-01T09:30:00Z",
            }
        ],
        "labels": [
            {
                "kind": "resource",
                "value": "/orders",
                "outcome": "VALID",
                "verifications": 4100,
                "first_at": "2026-02-01T00:00:04Z",
                "last_at": "2026-02-01T09:30:00Z",
            }
        ],
        "complete_until": "2026-02-01T11:59:55Z",
        "incomplete": None,
        "addresses": None,
    },
    body=LeakRequest,
    body_example={"since": "2026-01-31T12:00:00Z"},
    body_optional=True,
    parameters=(KEY_ID,),
    commands=True,
    errors=("NOT_FOUND",),
)
