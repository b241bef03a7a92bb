"""What the reference says of closing, restoring and importing accounts."""

from api.http.closing_shapes import (
    CloseRequest,
    ImportAccountsAnswer,
    ImportAccountsRequest,
    ReceiptAnswer,
    RestoredAnswer,
    RestoreRequest,
)
from api.http.operation import Operation, Parameter

MODE = Parameter("mode", "`close` or `erase`, where there is no body.", {"type": "string"}, "close")

CLOSE = Operation(
    id="close_me",
    tag="Accounts",
    summary="Close or erase the own account",
    description=(
        "Ends the account: its tokens, sessions and keys stop working at once. Within the grace "
        "period (`TOLLHOUSE_CLOSE_GRACE_DAYS`, 30) `POST /v1/me/restore` undoes it. With `erase` "
        "the person is forgotten after that: the key that everything personal is sealed with is "
        "destroyed, address and names are free again, credentials, sessions, mail and answers "
        "that were kept are deleted. `grace_days: 0` with `erase` does it now, for good; "
        "fewer days than usual take a sign-in of the last ten minutes. The "
        "answer is the receipt. The body may be left out, and `mode` be in the query."
    ),
    who="user",
    own_hand=True,
    answer=ReceiptAnswer,
    example={
        "account_id": "acct_01kamzq3v0b6f7n8w9x2y4z5ac",
        "mode": "erase",
        "status": "closed",
        "at": "2026-01-31T12:00:00Z",
        "final_at": "2026-03-02T12:00:00Z",
        "position": "log4f1c2a9b7d3e:1841",
        "erased": None,
    },
    body=CloseRequest,
    body_example={"mode": "erase"},
    body_optional=True,
    parameters=(MODE,),
    commands=True,
    errors=("ACCOUNT_IS_STAFF", "FORBIDDEN", "FRESH_SIGN_IN_REQUIRED"),
)

RESTORE = Operation(
    id="restore_me",
    tag="Accounts",
    summary="Restore the own account",
    description=(
        "Undoes the closing of an account within its grace period. Whoever closed it has no token "
        "any more, so they prove themselves as for signing in: by password, or by a "
        "`verification_token` of the purpose `sign_in`, and a second factor where there is one. "
        "Then sign in. What staff closed, staff restore."
    ),
    who="public",
    answer=RestoredAnswer,
    example={"account_id": "acct_01kamzq3v0b6f7n8w9x2y4z5ac", "status": "active"},
    body=RestoreRequest,
    body_example={"email": "ada@example.com", "password": "correct horse battery staple"},
    commands=True,
    errors=("WRONG_CREDENTIALS", "NOT_CLOSED", "FORBIDDEN", "OVERLOADED"),
)

IMPORT_ACCOUNTS = Operation(
    id="import_accounts",
    tag="Staff",
    summary="Import accounts",
    description=(
        "Accounts of another system come with the hashes of their passwords (bcrypt, argon2, "
        "scrypt, pbkdf2): their owners sign in as before, and at the first sign-in the hash is "
        "replaced by ours. Up to 1,000 at once; those that can't be imported are in `refused`, "
        "the others are imported in one transaction. Where none can be, that is 422. For staff, "
        "and services with `accounts.manage`."
    ),
    who="staff",
    right="accounts.create",
    permission="accounts.manage",
    status=201,
    answer=ImportAccountsAnswer,
    example={
        "imported": [{"index": 0, "id": "acct_01kamzq3v0b6f7n8w9x2y4z5ac"}],
        "refused": [{"index": 1, "param": "email", "reason": "an account here has it already"}],
    },
    body=ImportAccountsRequest,
    body_example={
        "items": [
            {
                "email": "ada@example.com",
                "external_id": "user-1815",
                "password_hash": "pbkdf2_sha256$600000$c2FsdHNhbHQ$"
                "6OCTEsRdhFGUZcXkgVbNy0hGTSuzCkwaVYQJnUJbBmk=",
                "email_verified": True,
            }
        ],
        "reason": "The old system is switched off.",
    },
    commands=True,
    once=True,
    errors=("IMPORT_REFUSED",),
)
