"""What the reference says of histories, of the log, and of explanations."""

from api.http.history_shapes import EventItem, EventPage, ExplanationAnswer, HistoryPage
from api.http.operation import Operation, Parameter
from api.http.paging import PAGE_PARAMETERS

TAG = "History"
_KEY_ID = "key_01kamzq9h4t7c2m5r8v1x3z6bd"
_ACCOUNT_ID = "acct_01kamzq3v0b6f7n8w9x2y4z5ac"
_POSITION = "log5f0c7d2a91b8:1042"
_VERIFICATION = "ver_01kamzq9h4t7c2m5r8v1x3z6bd_42_7"
_ITEM: dict[str, object] = {
    "position": _POSITION,
    "at": "2026-02-03T08:00:00Z",
    "summary": "The key was revoked: it is refused for good.",
    "by": "the owner",
    "reason": "left in a public repository",
    "type": "api_key.revoked.v1",
    "stream": _KEY_ID,
    "actor": _ACCOUNT_ID,
    "impersonator": None,
    "request_id": "req_01kb0q2m5r8v1x3z6bd9h4t7c2",
    "data": {},
}
_EVENT = {
    **_ITEM,
    "version": 4,
    "account_id": _ACCOUNT_ID,
    "command_id": "cmd_01kb0q2m5r8v1x3z6bd9h4t7c2",
    "cause": None,
}
_SET = {
    **_ITEM,
    "position": "log5f0c7d2a91b8:871",
    "at": "2026-02-01T09:30:00Z",
    "summary": "The key may be used 1,000 a day.",
    "reason": None,
    "type": "allowance.set.v1",
    "stream": "alw_01kamzq9h4t7c2m5r8v1x3z6bd",
    "data": {"limit": 1000, "period": "day", "scope": "own"},
}
_ERRORS = ("NOT_FOUND", "STORE_UNAVAILABLE")

KEY_HISTORY = Operation(
    id="key_history",
    tag=TAG,
    summary="Read a key's history",
    description=(
        "What happened to a key and to its own quota, in plain words, by whom and why; newest "
        "first. For its owner and staff with `history.read`."
    ),
    who="actor",
    answer=HistoryPage,
    example={"items": [_ITEM], "next_cursor": None},
    parameters=(
        Parameter("key_id", "The key's id.", {"type": "string"}, _KEY_ID, "path"),
        *PAGE_PARAMETERS,
    ),
    reads=True,
    errors=_ERRORS,
    right="history.read",
)

ACCOUNT_HISTORY = Operation(
    id="account_history",
    tag=TAG,
    summary="Read an account's history",
    description=(
        "What happened to an account and to all that is its: sign-ins, keys, quotas, credits; in "
        "plain words, newest first. Owners see their own words, and where they signed in from; "
        "staff with `history.read` see the reasons, and what is personal as far as their level "
        "sees it."
    ),
    who="actor",
    answer=HistoryPage,
    example={"items": [_ITEM], "next_cursor": None},
    parameters=(
        Parameter(
            "account_id",
            "The account's id, or `@` and its username.",
            {"type": "string"},
            _ACCOUNT_ID,
            "path",
        ),
        *PAGE_PARAMETERS,
    ),
    reads=True,
    errors=_ERRORS,
    right="history.read",
)

_INSTANT = {"type": "string", "format": "date-time"}
EVENTS = Operation(
    id="list_events",
    tag=TAG,
    summary="Read the log",
    description=(
        "The decisions log in its order, by any filter: everything that was ever decided. What "
        "is personal is only there for who may see it. Follow the log by sending the last "
        "`position` as `after`. `since` is meant, `until` isn't."
    ),
    who="staff",
    right="events.read",
    permission="events.read",
    answer=EventPage,
    example={"items": [_EVENT], "next_cursor": None},
    parameters=(
        Parameter(
            "after", "Only what comes after this position.", {"type": "string"}, "log5f0c7d2a91b8:0"
        ),
        Parameter(
            "types",
            "Nouns, facts or whole names, with commas between: `api_key`, `api_key.revoked`.",
            {"type": "string"},
            "api_key.revoked,account",
        ),
        Parameter("stream", "Of this account, key, session, …", {"type": "string"}, _KEY_ID),
        Parameter("actor", "Done by this actor.", {"type": "string"}, _ACCOUNT_ID),
        Parameter("since", "Decided at this instant or later.", _INSTANT, "2026-02-01T00:00:00Z"),
        Parameter("until", "Decided before this instant.", _INSTANT, "2026-03-01T00:00:00Z"),
        Parameter(
            "order",
            "`oldest` first, or `newest`.",
            {"type": "string", "enum": ["oldest", "newest"], "default": "oldest"},
            "newest",
        ),
        *PAGE_PARAMETERS,
    ),
    reads=True,
    errors=("STORE_UNAVAILABLE",),
)

EVENT = Operation(
    id="get_event",
    tag=TAG,
    summary="Read one event",
    description=(
        "The event at this position of the decisions log. Positions rise, and not each of them "
        "has an event."
    ),
    who="staff",
    right="events.read",
    permission="events.read",
    answer=EventItem,
    example=_EVENT,
    parameters=(
        Parameter(
            "position",
            "The position, with or without the log's id.",
            {"type": "string"},
            _POSITION,
            "path",
        ),
    ),
    reads=True,
    errors=_ERRORS,
)

EXPLAIN = Operation(
    id="explain_verification",
    tag=TAG,
    summary="Why a verification was answered as it was",
    description=(
        "The key, its account and its limits as they were when it was judged, each question that "
        "was asked, in plain words, and the events that had made the answers so. For the key's "
        "owner and staff with `history.read`; as long as the usage log holds the verification."
    ),
    who="actor",
    right="history.read",
    answer=ExplanationAnswer,
    example={
        "verification_id": _VERIFICATION,
        "at": "2026-02-02T17:21:09.123456Z",
        "valid": False,
        "code": "USAGE_EXCEEDED",
        "summary": (
            "Refused (USAGE_EXCEEDED): The key's quota is 1,000 a day; 1,000 were used before, "
            "and this takes 1: more than there was."
        ),
        "cost": 1,
        "operation": None,
        "position": "log5f0c7d2a91b8:1040",
        "usage_position": "log5f0c7d2a91b8u:77",
        "key": {
            "id": _KEY_ID,
            "name": "shop backend",
            "hint": "th_live_…x7Qa",
            "environment": "live",
            "generation": 1,
            "enabled": True,
            "audience": None,
            "permissions": ["orders.read"],
            "roles": [],
            "ip_allow": [],
            "expires_at": None,
            "revoked_at": None,
        },
        "account": {"id": _ACCOUNT_ID, "status": "active", "plan": "pro"},
        "steps": [
            {
                "question": "paused",
                "passed": True,
                "words": "It was not paused.",
                "decided_by": ["log5f0c7d2a91b8:870"],
            },
            {
                "question": "quota:day",
                "passed": False,
                "words": (
                    "The key's quota is 1,000 a day; 1,000 were used before, and this takes 1: "
                    "more than there was."
                ),
                "decided_by": ["log5f0c7d2a91b8:871"],
            },
        ],
        "limits": [
            {
                "kind": "quota",
                "name": "day",
                "scope": "own",
                "period": "day",
                "limit": 1000,
                "used_before": 1000,
                "asked": 1,
                "taken": 0,
                "refused": True,
                "began_at": "2026-02-02T00:00:00Z",
                "resets_at": "2026-02-03T00:00:00Z",
            }
        ],
        "events": [_SET],
    },
    parameters=(
        Parameter(
            "verification_id",
            "The `verification_id` of a verdict.",
            {"type": "string"},
            _VERIFICATION,
            "path",
        ),
    ),
    errors=_ERRORS,
)
