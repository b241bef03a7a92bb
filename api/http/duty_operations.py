"""What the reference says of what staff does to an account, and of staff itself."""

from typing import Annotated, get_args

import msgspec

from api.http.account_operations import ACCOUNT, ACCOUNT_ID, ID, LISTED, REASONED, TAG
from api.http.account_shapes import (
    AccountForStaff,
    AccountListed,
    ImpersonationAnswer,
    ReasonRequest,
    RotateForRequest,
    Why,
)
from api.http.key_lineage_operations import ROTATE
from api.http.operation import Operation, Parameter
from api.http.paging import PAGE_PARAMETERS
from domain.accounts import Account
from domain.staff import Level, levels_of

_REASON = {"reason": "asked for on the telephone"}
_REFUSALS = ("NOT_FOUND", "ON_ONESELF")
_STAFF_TAG = "Staff"


class AppointRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who becomes staff: an account's id, address or @username."""

    account: Annotated[str, msgspec.Meta(min_length=1, max_length=300)]
    level: Level
    reason: Why


class MoveRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another level, and why."""

    level: Level
    reason: Why


class StaffAnswer(AccountListed, frozen=True, kw_only=True):
    """A member of staff. `level` is null of who isn't any more."""

    level: Level | None


class StaffPage(msgspec.Struct, frozen=True):
    """A page of staff."""

    items: list[StaffAnswer]
    next_cursor: str | None


def staff_answer(account: Account) -> StaffAnswer:
    """The account with its level."""
    levels = levels_of(account.roles)
    fields = {name: getattr(account, name) for name in AccountListed.__struct_fields__}
    return StaffAnswer(level=levels[0] if levels else None, **fields)


SUSPEND = Operation(
    id="suspend_account",
    tag=TAG,
    summary="Suspend an account",
    description=(
        "Stops everything of the account for now: its keys are refused and its tokens end, within "
        "a second. Again, it changes nothing. `support` and above. " + REASONED
    ),
    who="staff",
    right="accounts.suspend",
    answer=AccountForStaff,
    example={**ACCOUNT, "status": "suspended"},
    body=ReasonRequest,
    body_example={"reason": "abuse"},
    parameters=(ACCOUNT_ID,),
    commands=True,
    errors=_REFUSALS,
)

REINSTATE = Operation(
    id="reinstate_account",
    tag=TAG,
    summary="Reinstate an account",
    description="Undoes a suspension (`support` and above), or a closing until its `final_at` "
    "(`advanced` and above). " + REASONED,
    who="staff",
    right="accounts.suspend",
    answer=AccountForStaff,
    example=ACCOUNT,
    body=ReasonRequest,
    body_example={"reason": "settled"},
    parameters=(ACCOUNT_ID,),
    commands=True,
    errors=(*_REFUSALS, "NOT_CLOSED"),
)

END_SESSIONS = Operation(
    id="end_account_sessions",
    tag=TAG,
    summary="End an account's sessions",
    description=(
        "Signs the account out everywhere: sessions and tokens end within a second; keys work on. "
        "`support` and above. " + REASONED
    ),
    who="staff",
    right="sessions.end",
    status=204,
    body=ReasonRequest,
    body_example={"reason": "a lost telephone"},
    parameters=(ACCOUNT_ID,),
    commands=True,
    errors=_REFUSALS,
)

RESET = Operation(
    id="start_password_reset",
    tag=TAG,
    summary="Start a password reset",
    description=(
        "Takes the password away, ends all sessions, and mails the owner a code to set another "
        "with. Nobody of staff sees the code or chooses a password. `support` and above. "
        + REASONED
    ),
    who="staff",
    right="accounts.reset",
    status=204,
    body=ReasonRequest,
    body_example=_REASON,
    parameters=(ACCOUNT_ID,),
    commands=True,
    errors=(*_REFUSALS, "ACCOUNT_NOT_ACTIVE"),
)

ROTATE_KEY = Operation(
    id="rotate_account_key",
    tag=TAG,
    summary="Rotate a key of an account",
    description=(
        "Gives the key another secret and answers it in `key`, this once; the present one works "
        "on for `overlap_seconds`. `support` and above. " + REASONED
    ),
    who="staff",
    right="keys.manage",
    answer=ROTATE.answer,
    example=ROTATE.example,
    body=RotateForRequest,
    body_example={**_REASON, "overlap_seconds": 3600},
    parameters=(
        ACCOUNT_ID,
        next(each for each in ROTATE.parameters if each.name == "key_id"),
    ),
    commands=True,
    once=True,
    errors=(*_REFUSALS, "KEY_REVOKED"),
)

IMPERSONATE = Operation(
    id="impersonate",
    tag=TAG,
    summary="Act as somebody else",
    description=(
        "An access token of the account, for 15 minutes, which says who really acts (`act`, RFC "
        "8693). The person is told by mail, and every event that follows is marked. Credentials, "
        "factors, sessions and the end of the account stay out of reach; nobody acts as staff. "
        "`advanced` and above. " + REASONED
    ),
    who="staff",
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
    body=ReasonRequest,
    body_example={"reason": "ticket 4711: the list of keys stays empty"},
    parameters=(ACCOUNT_ID,),
    commands=True,
    once=True,
    errors=(*_REFUSALS, "ACCOUNT_NOT_ACTIVE", "ACCOUNT_IS_STAFF"),
)

_STAFF_ID = Parameter(
    "staff_id", "The account's id, or `@` and its username.", {"type": "string"}, ID, "path"
)
_MEMBER = {**LISTED, "plan": "internal", "roles": ["support"], "level": "support"}

LIST_STAFF = Operation(
    id="list_staff",
    tag=_STAFF_TAG,
    summary="List staff",
    description="Everybody with a level of staff, or of the one that is asked for. For `admin`.",
    who="staff",
    right="staff.manage",
    answer=StaffPage,
    example={"items": [_MEMBER], "next_cursor": None},
    parameters=(
        Parameter(
            "level",
            "Of this level.",
            {"type": "string", "enum": sorted(get_args(Level))},
            "support",
        ),
        *PAGE_PARAMETERS,
    ),
    reads=True,
    errors=("STORE_UNAVAILABLE",),
)

APPOINT = Operation(
    id="appoint_staff",
    tag=_STAFF_TAG,
    summary="Appoint staff",
    description=(
        "Makes an account staff of a level, on the plan `internal`. Its access tokens end, so "
        "that the next one knows. For `admin`. " + REASONED
    ),
    who="staff",
    right="staff.manage",
    own_hand=True,
    status=201,
    answer=StaffAnswer,
    example=_MEMBER,
    body=AppointRequest,
    body_example={"account": "@ada", "level": "support", "reason": "joins the help desk"},
    commands=True,
    once=True,
    errors=(*_REFUSALS, "ACCOUNT_NOT_ACTIVE"),
)

MOVE = Operation(
    id="move_staff",
    tag=_STAFF_TAG,
    summary="Change a member's level",
    description="Another level, in the place of the present one. For `admin`. " + REASONED,
    who="staff",
    right="staff.manage",
    answer=StaffAnswer,
    example={**_MEMBER, "roles": ["advanced"], "level": "advanced"},
    body=MoveRequest,
    body_example={"level": "advanced", "reason": "leads the help desk"},
    parameters=(_STAFF_ID,),
    commands=True,
    errors=(*_REFUSALS, "ACCOUNT_NOT_ACTIVE"),
)

DISMISS = Operation(
    id="dismiss_staff",
    tag=_STAFF_TAG,
    summary="Dismiss staff",
    description=(
        "Takes the level away, at once: access tokens end within a second. The account stays, on "
        "the free plan. For `admin`. " + REASONED
    ),
    who="staff",
    right="staff.manage",
    answer=StaffAnswer,
    example={**_MEMBER, "plan": "free", "roles": [], "level": None},
    body=ReasonRequest,
    body_example={"reason": "left"},
    parameters=(_STAFF_ID,),
    commands=True,
    errors=_REFUSALS,
)
