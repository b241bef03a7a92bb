"""What the reference says of the verify lane, which is no route of the framework."""

from api.http.operation import Operation
from api.verification import VerifyRequest
from application.verdicts import Verdict

VERIFY = Operation(
    id="verify_key",
    tag="API keys",
    summary="Verify a key",
    description=(
        "Judges a key and takes `cost` from every quota that it draws on, all of them or none. A "
        "denial is an answer (`valid: false` with a `code`), not an error. The caller is the key "
        "itself, or a service key with `keys.verify`. What was answered is durable and exact."
    ),
    who="key",
    answer=Verdict,
    example={
        "valid": True,
        "code": "VALID",
        "verification_id": "ver_01kamzr2d5g8j1n4q7t0w3y6ze_17_3",
        "request_id": "req_5f0c7d2a91b84e6633aa18f2",
        "key_id": "key_01kamzq9h4t7c2m5r8v1x3z6bd",
        "name": "shop backend",
        "account_id": "acct_01kamzq3v0b6f7n8w9x2y4z5ac",
        "username": "ada",
        "external_id": None,
        "audience": None,
        "environment": "live",
        "plan": "free",
        "permissions": ["orders.read"],
        "roles": [],
        "metadata": {"team": "checkout"},
        "expires_at": None,
        "quotas": [
            {
                "name": "day",
                "scope": "shared",
                "limit": 10,
                "used": 4,
                "remaining": 6,
                "period": "day",
                "resets_at": "2026-02-01T00:00:00Z",
            }
        ],
        "credits": None,
        "rate_limits": [],
        "position": "log5f0c7d2a91b8:1042",
    },
    body=VerifyRequest,
    body_example={"key": "th_live_EXAMPLE0EXAMPLE0EXAMPLE0EXAMPLE0EXAMPLE0000checks", "cost": 1},
    body_optional=True,
    reads=True,
    open_query=True,
    errors=("STORE_UNAVAILABLE", "INVALID_PERMISSION_QUERY", "UNKNOWN_OPERATION"),
)
