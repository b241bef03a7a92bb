"""What the reference says of what staff does to an account."""

from functools import partial

from api.http.account_operations import ACCOUNT, ACCOUNT_ID, ID, REASONED, TAG
from api.http.account_shapes import (
    AccountForStaff,
    ImpersonationAnswer,
    ReasonRequest,
    RotateForRequest,
)
from api.http.key_lineage_operations import ROTATE
from api.http.operation import Operation

_REASON = {"reason": "asked for on the telephone"}
REFUSALS = ("NOT_FOUND", "ON_ONESELF")

_DUTY = partial(
    Operation, tag=TAG, who="staff", body=ReasonRequest, parameters=(ACCOUNT_ID,), commands=True
)
"""Each with a reason, and of the account in the path."""

SUSPEND = _DUTY(
    id="suspend_account",
    summary="Suspend an account",
    description=(
        "Stops everything of the account for now: its keys are refused and its tokens end, within "
        "a second. Again, it changes nothing. `support` and above. " + REASONED
    ),
    right="accounts.suspend",
    answer=AccountForStaff,
    example={**ACCOUNT, "status": "suspended"},
    body_example={"reason": "abuse"},
    errors=(*REFUSALS, "LAST_ADMIN"),
)

REINSTATE = _DUTY(
    id="reinstate_account",
    summary="Reinstate an account",
    description="Undoes a suspension (`support` and above), or a closing until its `final_at` "
    "(`advanced` and above). " + REASONED,
    right="accounts.suspend",
    answer=AccountForStaff,
    example=ACCOUNT,
    body_example={"reason": "settled"},
    errors=(*REFUSALS, "NOT_CLOSED"),
)

END_SESSIONS = _DUTY(
    id="end_account_sessions",
    summary="End an account's sessions",
    description=(
        "Signs the account out everywhere: sessions and tokens end within a second; keys work on. "
        "`support` and above. " + REASONED
    ),
    right="sessions.end",
    status=204,
    body_example={"reason": "a lost telephone"},
    errors=REFUSALS,
)

RESET = _DUTY(
    id="start_password_reset",
    summary="Start a password reset",
    description=(
        "Takes the password away, ends all sessions, and mails the owner a code to set another "
        "with. Nobody of staff sees the code or chooses a password. `support` and above. "
        + REASONED
    ),
    right="accounts.reset",
    status=204,
    body_example=_REASON,
    errors=(*REFUSALS, "ACCOUNT_NOT_ACTIVE"),
)

ROTATE_KEY = _DUTY(
    id="rotate_account_key",
    summary="Rotate a key of an account",
    description=(
        "Gives the key another secret and answers it in `key`, this once; the present one works "
        "on for `overlap_seconds`. `support` and above. " + REASONED
    ),
    right="keys.manage",
    answer=ROTATE.answer,
    example=ROTATE.example,
    body=RotateForRequest,
    body_example={**_REASON, "overlap_seconds": 3600},
    parameters=(
        ACCOUNT_ID,
        next(each for each in ROTATE.parameters if each.name == "key_id"),
    ),
    once=True,
    errors=(*REFUSALS, "KEY_REVOKED"),
)

IMPERSONATE = _DUTY(
    id="impersonate",
    summary="Act as somebody else",
    description=(
        "An access token of the account, for 15 minutes, which says who really acts (`act`, RFC "
        "8693). The person is told by mail, and every event that follows is marked. Credentials, "
        "factors, sessions and the end of the account stay out of reach; nobody acts as staff. "
        "`advanced` and above. " + REASONED
    ),
    right="accounts.impersonate",
    own_hand=True,
    status=201,
    answer=ImpersonationAnswer,
    example={
        "account_id": ID,
        "session_id": "sess_01kb0q2m5r8v1x3z6bd9h4t7c2",
        "access_token": "eyJhbGciOiJFZERTQSIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiJhY2N0XzAxIn0.c2ln",
        "token_type": "Bearer",
        "expires_in": 900,
    },
    body_example={"reason": "ticket 4711: the list of keys stays empty"},
    once=True,
    errors=(*REFUSALS, "ACCOUNT_NOT_ACTIVE", "ACCOUNT_IS_STAFF"),
)
