"""What the reference says of the credit routes."""

from api.http.credit_shapes import (
    CaptureRequest,
    CheckAnswer,
    CheckRequest,
    CostsAnswer,
    CreditHistoryPage,
    CreditsAnswer,
    GrantAnswer,
    GrantRequest,
    HoldAnswer,
    HoldRequest,
    ReleaseRequest,
    SpendAnswer,
    SpendRequest,
)
from api.http.operation import Operation, Parameter
from api.http.paging import PAGE_PARAMETERS

_TAG = "Credits"
_ACCOUNT = "acct_01kamzq3v0b6f7n8w9x2y4z5ac"
_HOLD = "hold_01kb2m9k2q4s6v8x0z2b4d6f8h"
_AMOUNT = {"amount": "12.50", "operation": None}
_WHOSE = Parameter(
    "account_id",
    "Whose; left out, the caller's. Others: staff, and services with `credits.spend`.",
    {"type": "string"},
    _ACCOUNT,
)
_AS_OF = Parameter(
    "as_of",
    "As it was then: an instant, or a position as `Tollhouse-Position` has it.",
    {"type": "string"},
    "2026-01-31T12:00:00Z",
)
_HOLD_ID = Parameter("hold_id", "The hold's id.", {"type": "string"}, _HOLD, "path")
_HOLD_EXAMPLE = {
    "id": _HOLD,
    "account_id": _ACCOUNT,
    "status": "held",
    "amount": "12.50",
    "captured": "0.00",
    "expires_at": "2026-01-31T12:15:00Z",
    "available": "87.50",
}
_SPENDS = ("NOT_FOUND", "INVALID_AMOUNT", "CREDITS_EXHAUSTED", "STORE_UNAVAILABLE")
_PRICED = (*_SPENDS, "UNKNOWN_OPERATION", "ACCOUNT_NOT_ACTIVE")
_ENDS = (
    "NOT_FOUND",
    "HOLD_CAPTURED",
    "HOLD_RELEASED",
    "HOLD_EXPIRED",
    "STORE_UNAVAILABLE",
)

CREDITS = Operation(
    id="get_credits",
    tag=_TAG,
    summary="Read credits",
    description=(
        "What an account can spend, what is held, what was granted for later, and what will be "
        "gone when. With `as_of` as it was then, exactly: what verifications had spent by then "
        "is off."
    ),
    who="actor",
    right="credits.read",
    permission="credits.spend",
    answer=CreditsAnswer,
    example={
        "account_id": _ACCOUNT,
        "available": "87.50",
        "held": "12.50",
        "upcoming": "0.00",
        "currency": "credits",
        "expiring": [{"amount": "5.00", "expires_at": "2026-02-01T00:00:00Z"}],
        "as_of": "2026-01-31T12:00:00Z",
    },
    parameters=(_WHOSE, _AS_OF),
    reads=True,
    errors=("NOT_FOUND", "STORE_UNAVAILABLE"),
)

HISTORY = Operation(
    id="credit_history",
    tag=_TAG,
    summary="Read the history of credits",
    description=(
        "Every entry, newest first, with what was available before and after it: what commands "
        "did, what time did, and what each verification spent. A verification's entry is here "
        "about a second after it."
    ),
    who="actor",
    right="credits.read",
    permission="credits.spend",
    answer=CreditHistoryPage,
    example={
        "items": [
            {
                "entry_no": 7,
                "at": "2026-01-31T12:00:00Z",
                "kind": "verification",
                "amount": "1.00",
                "before": "88.50",
                "after": "87.50",
                "operation": "post",
                "verification_id": "ver_01kb2m7a8c0e2g4j6m8p0r2t4w_12_0",
                "key_id": "key_01kamzq9h4t7c2m5r8v1x3z6bd",
                "hold_id": None,
                "lot": None,
                "source": None,
                "expires_at": None,
            }
        ],
        "next_cursor": None,
    },
    parameters=(_WHOSE, _AS_OF, *PAGE_PARAMETERS),
    reads=True,
    errors=("NOT_FOUND", "STORE_UNAVAILABLE"),
)

CHECK = Operation(
    id="check_credits",
    tag=_TAG,
    summary="Check whether credits suffice",
    description="Whether an amount, or an operation, could be spent now. Nothing is spent.",
    who="actor",
    right="credits.read",
    permission="credits.spend",
    answer=CheckAnswer,
    example={
        "account_id": _ACCOUNT,
        "allowed": True,
        "amount": "1.00",
        "operation": "post",
        "available": "87.50",
    },
    body=CheckRequest,
    body_example={"account_id": _ACCOUNT, "operation": "post"},
    reads=True,
    errors=("NOT_FOUND", "INVALID_AMOUNT", "UNKNOWN_OPERATION", "STORE_UNAVAILABLE"),
)

COSTS = Operation(
    id="credit_costs",
    tag=_TAG,
    summary="Read what operations cost",
    description="The table of costs of the account's plan.",
    who="actor",
    right="credits.read",
    permission="credits.spend",
    answer=CostsAnswer,
    example={
        "plan": "free",
        "currency": "credits",
        "monthly_credits": "5.00",
        "costs": {"ai": "2.00", "post": "1.00"},
    },
    parameters=(_WHOSE,),
    reads=True,
    errors=("NOT_FOUND", "STORE_UNAVAILABLE"),
)

GRANT = Operation(
    id="grant_credits",
    tag=_TAG,
    summary="Grant credits",
    description=(
        "Gives an account credits on top of what it has. Lots are spent by priority, then by "
        "what expires first. For staff, and services with `credits.spend`."
    ),
    who="staff",
    right="credits.grant",
    permission="credits.spend",
    status=201,
    answer=GrantAnswer,
    example={
        "account_id": _ACCOUNT,
        "amount": "100.00",
        "priority": 50,
        "lots": [3],
        "available": "187.50",
    },
    body=GrantRequest,
    body_example={
        "account_id": _ACCOUNT,
        "amount": "100.00",
        "priority": 50,
        "starts_at": None,
        "expires_at": "2030-01-31T00:00:00Z",
        "every": "month",
        "times": 3,
        "reason": "goodwill",
    },
    commands=True,
    once=True,
    errors=("NOT_FOUND", "INVALID_AMOUNT", "STORE_UNAVAILABLE"),
)

SPEND = Operation(
    id="spend_credits",
    tag=_TAG,
    summary="Spend credits",
    description=(
        "Spends an amount, or what the account's plan asks for an operation, at once. For staff, "
        "and services with `credits.spend`."
    ),
    who="staff",
    right="credits.grant",
    permission="credits.spend",
    answer=SpendAnswer,
    example={
        "account_id": _ACCOUNT,
        "amount": "12.50",
        "operation": None,
        "available": "75.00",
    },
    body=SpendRequest,
    body_example={"account_id": _ACCOUNT, **_AMOUNT},
    commands=True,
    once=True,
    errors=_PRICED,
)

HOLD = Operation(
    id="hold_credits",
    tag=_TAG,
    summary="Hold credits",
    description=(
        "Sets credits aside for a while: capture what was really used, and the rest is free "
        "again. A hold that nobody ends lets go by itself when it expires."
    ),
    who="staff",
    right="credits.grant",
    permission="credits.spend",
    status=201,
    answer=HoldAnswer,
    example=_HOLD_EXAMPLE,
    body=HoldRequest,
    body_example={"account_id": _ACCOUNT, **_AMOUNT, "expires_in": 900},
    commands=True,
    once=True,
    errors=_PRICED,
)

CAPTURE = Operation(
    id="capture_hold",
    tag=_TAG,
    summary="Capture a hold",
    description="Spends what was used of a hold, at most all of it, and lets go of the rest.",
    who="staff",
    right="credits.grant",
    permission="credits.spend",
    answer=HoldAnswer,
    example={**_HOLD_EXAMPLE, "status": "captured", "captured": "10.00", "available": "90.00"},
    body=CaptureRequest,
    body_example={"amount": "10.00"},
    body_optional=True,
    parameters=(_HOLD_ID,),
    commands=True,
    once=True,
    errors=(*_ENDS, "INVALID_AMOUNT"),
)

RELEASE = Operation(
    id="release_hold",
    tag=_TAG,
    summary="Release a hold",
    description="Lets go of a hold: what was set aside is available again.",
    who="staff",
    right="credits.grant",
    permission="credits.spend",
    answer=HoldAnswer,
    example={**_HOLD_EXAMPLE, "status": "released", "available": "100.00"},
    body=ReleaseRequest,
    body_example={"reason": "the order was cancelled"},
    body_optional=True,
    parameters=(_HOLD_ID,),
    commands=True,
    once=True,
    errors=_ENDS,
)
