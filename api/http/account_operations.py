"""What the reference says of the accounts that staff reads, makes, changes and closes."""

from typing import get_args

from api.http.account_shapes import (
    AccountForStaff,
    AccountPage,
    AmendAccountRequest,
    CloseAccountRequest,
    MakeAccountRequest,
)
from api.http.closing_operations import CLOSE as CLOSE_OWN
from api.http.closing_shapes import ReceiptAnswer
from api.http.operation import Operation, Parameter
from api.http.paging import PAGE_PARAMETERS
from application.account_making import PERMISSION, RIGHT
from domain.accounts import Status

TAG = "Accounts, by staff"
ID = "acct_01kamzq3v0b6f7n8w9x2y4z5ac"
LISTED: dict[str, object] = {
    "id": ID,
    "username": "ada",
    "external_id": "crm-4711",
    "kind": "personal",
    "actor_type": "user",
    "status": "active",
    "plan": "free",
    "roles": [],
    "email_verified": True,
    "registered_at": "2026-01-31T12:00:00Z",
}
ACCOUNT: dict[str, object] = {
    **LISTED,
    "next_plan": None,
    "next_plan_at": None,
    "final_at": None,
    "totp": False,
    "passkeys": 0,
    "recovery_codes": 0,
    "name": "Ada Lovelace",
    "about": None,
    "hobbies": None,
    "avatar_url": None,
    "email": "ada@example.com",
    "phone": None,
    "wallet_address": None,
    "note": "pays by invoice",
}
ACCOUNT_ID = Parameter(
    "account_id", "The account's id, or `@` and its username.", {"type": "string"}, ID, "path"
)
REASONED = (
    "`reason` is kept, sealed, in the account's history. Who is staff is touched only by who "
    "manages staff, and nobody does this to themselves."
)

_FILTERS = (
    Parameter(
        "search",
        "An account's id, an exact address (for who sees addresses), an exact `@username`, "
        "`external:` and an external id, or how a username begins.",
        {"type": "string", "maxLength": 300},
        "ad",
    ),
    Parameter("plan", "On this plan.", {"type": "string"}, "free"),
    Parameter(
        "status", "Of this status.", {"type": "string", "enum": list(get_args(Status))}, "active"
    ),
    Parameter("role", "With this role; a level of staff is one.", {"type": "string"}, "editor"),
)

LIST = Operation(
    id="list_accounts",
    tag=TAG,
    summary="List and search accounts",
    description=(
        "Accounts in the order of their ids, or of their usernames where `search` is how one "
        "begins. Nothing personal is in a list: for that, read one. With `Accept: text/csv` all "
        "that are found as CSV (or one page, with `limit`), in which nothing is a formula."
    ),
    who="staff",
    right="accounts.read",
    answer=AccountPage,
    example={"items": [LISTED], "next_cursor": None},
    parameters=(*_FILTERS, *PAGE_PARAMETERS),
    media_types=("application/json", "text/csv"),
    reads=True,
    errors=("STORE_UNAVAILABLE",),
)

GET = Operation(
    id="get_account",
    tag=TAG,
    summary="Read an account",
    description=(
        "One account, for its owner and for staff. What a level doesn't see is absent: `email`, "
        "`phone`, `wallet_address` and `note` are for `support` and above. With `as_of`, as it "
        "was then."
    ),
    who="actor",
    right="accounts.read",
    answer=AccountForStaff,
    example=ACCOUNT,
    parameters=(
        ACCOUNT_ID,
        Parameter(
            "as_of",
            "An instant, or a position as `Tollhouse-Position` gives it.",
            {"type": "string"},
            "2026-02-01T00:00:00Z",
        ),
    ),
    reads=True,
    errors=("NOT_FOUND", "STORE_UNAVAILABLE"),
)

MAKE = Operation(
    id="make_account",
    tag=TAG,
    summary="Make an account for somebody",
    description=(
        "Makes an account on the free plan, without a password: nobody chooses one for somebody "
        "else. The person sets it by a reset (`POST /v1/auth/otp`). For `advanced` and above, "
        f"who say why in `reason`, and for services with `{PERMISSION}`."
    ),
    who="staff",
    right=RIGHT,
    permission=PERMISSION,
    status=201,
    answer=AccountForStaff,
    example={**ACCOUNT, "note": None},
    body=MakeAccountRequest,
    body_example={
        "email": "ada@example.com",
        "username": "ada",
        "external_id": "crm-4711",
        "email_verified": True,
        "reason": "moved from the old shop",
    },
    commands=True,
    once=True,
    errors=("EMAIL_TAKEN", "USERNAME_TAKEN", "ALREADY_TAKEN"),
)

AMEND = Operation(
    id="amend_account",
    tag=TAG,
    summary="Change an account",
    description=(
        "Changes what the body has and leaves the rest; null clears a field. `support` and above; "
        "`roles` (those that are no levels of staff) only `admin`. Another address isn't proven "
        "by this, and the old one is told. " + REASONED
    ),
    who="staff",
    right="accounts.change",
    answer=AccountForStaff,
    example=ACCOUNT,
    body=AmendAccountRequest,
    body_example={"note": "pays by invoice", "reason": "asked for on the telephone"},
    parameters=(ACCOUNT_ID,),
    commands=True,
    errors=(
        "NOT_FOUND",
        "EMAIL_TAKEN",
        "USERNAME_TAKEN",
        "ACCOUNT_NOT_ACTIVE",
        "ON_ONESELF",
    ),
)

CLOSE = Operation(
    id="close_account",
    tag=TAG,
    summary="Close or erase an account",
    description=(
        "Ends the account; until `final_at` it can be restored. With `mode: erase` the person is "
        "forgotten then, which only `admin` may ask for. `advanced` and above. " + REASONED
    ),
    who="staff",
    right="accounts.close",
    answer=ReceiptAnswer,
    example=CLOSE_OWN.example,
    body=CloseAccountRequest,
    body_example={"reason": "asked for by its owner", "mode": "close"},
    parameters=(ACCOUNT_ID,),
    commands=True,
    errors=("NOT_FOUND", "ACCOUNT_NOT_ACTIVE", "ACCOUNT_IS_STAFF", "ON_ONESELF"),
)
