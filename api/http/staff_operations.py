"""What the reference says of staff itself: who they are, and of what level."""

from functools import partial
from typing import get_args

from api.http.account_operations import ID, LISTED, REASONED
from api.http.account_shapes import ReasonRequest
from api.http.duty_operations import REFUSALS
from api.http.operation import Operation, Parameter
from api.http.paging import PAGE_PARAMETERS
from api.http.staff_shapes import AppointRequest, MoveRequest, StaffAnswer, StaffPage
from domain.staff import Level

_STAFF_ID = Parameter(
    "staff_id", "The account's id, or `@` and its username.", {"type": "string"}, ID, "path"
)
_MEMBER = {**LISTED, "plan": "internal", "roles": ["support"], "level": "support"}

_STAFF = partial(Operation, tag="Staff", who="staff", right="staff.manage")

LIST_STAFF = _STAFF(
    id="list_staff",
    summary="List staff",
    description="Everybody with a level of staff, or of the one that is asked for. For `admin`.",
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

APPOINT = _STAFF(
    id="appoint_staff",
    summary="Appoint staff",
    description=(
        "Makes an account staff of a level, on the plan `internal`. Its access tokens end, so "
        "that the next one knows. For `admin`. " + REASONED
    ),
    own_hand=True,
    status=201,
    answer=StaffAnswer,
    example=_MEMBER,
    body=AppointRequest,
    body_example={"account": "@ada", "level": "support", "reason": "joins the help desk"},
    commands=True,
    once=True,
    errors=(*REFUSALS, "ACCOUNT_NOT_ACTIVE"),
)

MOVE = _STAFF(
    id="move_staff",
    summary="Change a member's level",
    description="Another level, in the place of the present one. For `admin`. " + REASONED,
    answer=StaffAnswer,
    example={**_MEMBER, "roles": ["advanced"], "level": "advanced"},
    body=MoveRequest,
    body_example={"level": "advanced", "reason": "leads the help desk"},
    parameters=(_STAFF_ID,),
    commands=True,
    errors=(*REFUSALS, "ACCOUNT_NOT_ACTIVE", "LAST_ADMIN"),
)

DISMISS = _STAFF(
    id="dismiss_staff",
    summary="Dismiss staff",
    description=(
        "Takes the level away, at once: access tokens end within a second. The account stays, on "
        "the free plan. For `admin`. " + REASONED
    ),
    answer=StaffAnswer,
    example={**_MEMBER, "plan": "free", "roles": [], "level": None},
    body=ReasonRequest,
    body_example={"reason": "left"},
    parameters=(_STAFF_ID,),
    commands=True,
    errors=(*REFUSALS, "LAST_ADMIN"),
)
