"""What analytics routes take and answer."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from api.http.answers import NO_NUL, in_utc
from api.http.problems import HttpProblem
from application.ports import LakeFormat

Group = Literal["day", "key", "outcome", "model"]

MEDIA_TYPES: dict[LakeFormat, str] = {
    "json": "application/json",
    "csv": "text/csv",
    "arrow": "application/vnd.apache.arrow.stream",
}
_FORMATS: dict[str, LakeFormat] = {media_type: format for format, media_type in MEDIA_TYPES.items()}


class QueryRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One statement of SQL. `format` counts more than the Accept header."""

    sql: Annotated[str, Meta(min_length=1, pattern=NO_NUL)]
    format: LakeFormat | None = None


class Snapshot(msgspec.Struct, frozen=True):
    """What the answer was read from: everything up to these positions of the two logs, and so
    all verifications that were counted before `complete_until`."""

    published_at: datetime | None
    usage_position: int | None
    events_position: int | None
    complete_until: datetime | None


class ColumnAnswer(msgspec.Struct, frozen=True):
    """A column; `type` as DuckDB writes it."""

    name: str
    type: str


class QueryAnswer(msgspec.Struct, frozen=True):
    """The rows of a query."""

    columns: list[ColumnAnswer]
    rows: list[list[Any]]
    row_count: int
    elapsed_ms: float
    snapshot: Snapshot


class UsageItem(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A sum. Only what it is grouped by is there beside `verifications` and `cost`."""

    day: date | None = None
    key_id: str | None = None
    key_name: str | None = None
    outcome: str | None = None
    model: str | None = None
    verifications: int
    cost: int


class UsageAnswer(msgspec.Struct, frozen=True):
    """A series, in the order of what it is grouped by. Sums of nothing are left out."""

    items: list[UsageItem]
    since: datetime
    until: datetime
    group_by: list[Group]
    snapshot: Snapshot


def wanted_format(accept: str) -> LakeFormat:
    """The format that an Accept header likes best of ours; JSON if it names none of them."""
    best: tuple[float, LakeFormat] = (0.0, "json")
    for entry in accept.split(","):
        media_type, *parameters = (part.strip().lower() for part in entry.split(";"))
        format = _FORMATS.get(media_type)
        weight = _weight(parameters)
        if format is not None and weight > best[0]:
            best = (weight, format)
    return best[1]


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def named_format(name: str) -> LakeFormat:
    """HttpProblem unless it is one."""
    for format in MEDIA_TYPES:
        if name == format:
            return format
    raise HttpProblem("INVALID_REQUEST", "Formats are json, csv and arrow.", param="format")


def group_by_of(text: str | None) -> tuple[Group, ...]:
    """What `day,key` names, in its order. HttpProblem for others, none, or one twice."""
    names = ("day",) if text is None else tuple(text.split(","))
    found = tuple(group for name in names for group in get_args(Group) if group == name)
    if len(found) != len(names) or len(set(found)) != len(found):
        detail = "Any of day, key, outcome and model, each once, with commas between them."
        raise HttpProblem("INVALID_REQUEST", detail, param="group_by")
    return found


def instant_of(name: str, text: str | None, *, days_ago: int, now: datetime) -> datetime:
    """An instant (RFC 3339) or a date (midnight UTC), in UTC; left out, so many days ago."""
    if text is None:
        return now - timedelta(days=days_ago)
    try:
        if len(text) == len("2026-01-31"):
            day = msgspec.convert(text, date)
            return in_utc(datetime(day.year, day.month, day.day, tzinfo=UTC), name)
        return in_utc(msgspec.convert(text, datetime), name)
    except (ValueError, msgspec.ValidationError):
        raise HttpProblem(
            "INVALID_REQUEST",
            "A date, as in 2026-01-31, or an instant, as in 2026-01-31T12:00:00Z.",
            "A + has to be written as %2B in a URL." if " " in text else None,
            param=name,
        ) from None
