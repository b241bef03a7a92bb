"""What the reference says of the analytics routes."""

from api.http.analytics_shapes import MEDIA_TYPES, QueryAnswer, QueryRequest, UsageAnswer
from api.http.operation import Operation, Parameter

_TAG = "Analytics"
_SNAPSHOT = {
    "published_at": "2026-01-31T12:00:03.201Z",
    "usage_position": 48210,
    "events_position": 1042,
    "complete_until": "2026-01-31T12:00:02.904Z",
}
_ERRORS = ("QUERY_TOO_LONG", "QUERY_TOO_LARGE", "OVERLOADED", "ANALYTICS_UNAVAILABLE")
_FORMATS = {"type": "string", "enum": [*MEDIA_TYPES]}

QUERY = Operation(
    id="query_lake",
    tag=_TAG,
    summary="Ask the lake in SQL",
    description=(
        "Answers one statement of DuckDB SQL that only reads, on the lake as it was last "
        "published. For staff. It runs in a process of its own with 10 seconds, 1 GB of memory, "
        "100,000 rows and 64 MB of answer. `format`, or else Accept, chooses JSON, CSV or an "
        "Arrow IPC stream. In JSON, integers beyond 2^53 and decimals are strings, NaN and "
        "infinities are null, bytes are base64."
    ),
    who="staff",
    right="lake.query",
    answer=QueryAnswer,
    media_types=tuple(MEDIA_TYPES.values()),
    example={
        "columns": [{"name": "outcome", "type": "VARCHAR"}, {"name": "n", "type": "BIGINT"}],
        "rows": [["VALID", 48103], ["QUOTA_EXCEEDED", 107]],
        "row_count": 2,
        "elapsed_ms": 18.4,
        "snapshot": _SNAPSHOT,
    },
    body=QueryRequest,
    body_example={
        "sql": "SELECT outcome, count(*) AS n FROM verifications GROUP BY outcome ORDER BY n DESC"
    },
    errors=("QUERY_REFUSED", "QUERY_FAILED", *_ERRORS),
)

USAGE = Operation(
    id="read_usage",
    tag=_TAG,
    summary="Read usage",
    description=(
        "How many verifications there were and what they cost, in sums for charts: of the own "
        "account, and for staff of all accounts or one. It follows the counting by some seconds; "
        "`snapshot` says how far it has come."
    ),
    who="user",
    right="usage.read",
    answer=UsageAnswer,
    media_types=tuple(MEDIA_TYPES.values()),
    example={
        "items": [
            {"day": "2026-01-30", "outcome": "VALID", "verifications": 4810, "cost": 4810},
            {"day": "2026-01-31", "outcome": "VALID", "verifications": 950, "cost": 960},
        ],
        "since": "2026-01-30T00:00:00Z",
        "until": "2026-02-01T00:00:00Z",
        "group_by": ["day", "outcome"],
        "snapshot": _SNAPSHOT,
    },
    parameters=(
        Parameter(
            "group_by",
            "What to sum by: any of `day` (of UTC), `key`, `outcome`, `model`, with commas.",
            {"type": "string", "default": "day"},
            "day,outcome",
        ),
        Parameter(
            "since",
            "From when on: an instant or a date. Left out, 30 days ago.",
            {"type": "string"},
            "2026-01-30",
        ),
        Parameter(
            "until", "Until before when. Left out, now.", {"type": "string"}, "2026-02-01T00:00:00Z"
        ),
        Parameter(
            "account_id",
            "Whose; left out, the own, and for staff everybody's. Others: staff only.",
            {"type": "string"},
            "acct_01kamzq3v0b6f7n8w9x2y4z5ac",
        ),
        Parameter("format", "Counts more than Accept.", _FORMATS, "csv"),
    ),
    errors=("NOT_FOUND", *_ERRORS),
)
