"""What can be asked of the lake: every table and view, every column, and what it means."""

from typing import NamedTuple


class Column(NamedTuple):
    """A column, its DuckDB type, and what a person who reads it should know."""

    name: str
    type: str
    comment: str


class Table(NamedTuple):
    """A table or view of the snapshot."""

    name: str
    comment: str
    columns: tuple[Column, ...]

    @property
    def column_names(self) -> str:
        """The columns, quoted and separated by commas."""
        return ", ".join(f'"{column.name}"' for column in self.columns)


_DATE = Column("date", "DATE", "The UTC day of the row. Files are cut by it: filter on it first.")
_ACCOUNT = Column("account_id", "VARCHAR", "The account that owns the key.")
_KEY = Column("key_id", "VARCHAR", "The key that was presented; NULL where there is no such key.")
_OUTCOME = Column(
    "outcome",
    "VARCHAR",
    "The answer: VALID, NOT_FOUND, DISABLED, EXPIRED, REVOKED, FORBIDDEN, IP_NOT_ALLOWED, "
    "INSUFFICIENT_PERMISSIONS, RATE_LIMITED, USAGE_EXCEEDED, CREDITS_EXHAUSTED, "
    "ACCOUNT_SUSPENDED; UNAVAILABLE was answered with 503 and took nothing.",
)

VERIFICATIONS = Table(
    "verifications",
    "Every verification that was counted, one row each.",
    (
        Column("verification_id", "VARCHAR", "The id of this verification; unique."),
        Column("verified_at", "TIMESTAMPTZ", "When it was asked, in UTC."),
        _DATE,
        _ACCOUNT._replace(comment="The account that owns the key; NULL where it isn't known."),
        _KEY,
        _OUTCOME,
        Column("valid", "BOOLEAN", "Whether the outcome is VALID."),
        Column("cost", "BIGINT", "How much of the quota it asked for."),
        Column("tags", "VARCHAR[]", "The tags that the caller gave; NULL without any."),
        Column("resource", "VARCHAR", "The resource that the caller named."),
        Column("model", "VARCHAR", "The model that the caller named."),
        Column("operation", "VARCHAR", "The operation that was priced, where one was named."),
        Column("credits", "BIGINT", "What it spent, in hundredths of a credit."),
        Column("judged_at", "BIGINT", "The position in the decisions log that it was judged at."),
        Column("position", "BIGINT", "The position of its flush in the usage log."),
        Column("row", "INTEGER", "Its row within that flush, from 0."),
    ),
)

EVENTS = Table(
    "events",
    "Every event of the decisions log, without personal fields.",
    (
        Column("position", "BIGINT", "The place in the decisions log; unique."),
        Column("recorded_at", "TIMESTAMPTZ", "When it was decided, in UTC."),
        _DATE,
        Column("type", "VARCHAR", "The stored name, as in api_key.revoked.v1."),
        Column("noun", "VARCHAR", "What it happened to, as in api_key."),
        Column("fact", "VARCHAR", "What happened, as in revoked."),
        Column("stream", "VARCHAR", "The id of the thing that it happened to."),
        Column("version", "BIGINT", "The number of the event in its stream, from 1."),
        Column("account_id", "VARCHAR", "The account that it concerns; NULL for none."),
        Column("actor", "VARCHAR", "Who did it: an id, or operator."),
        Column("request_id", "VARCHAR", "The request that led to it, where there was one."),
        Column("data", "JSON", "The rest of the event, by the names of docs/events.md."),
    ),
)

DAILY_USAGE = Table(
    "daily_usage",
    "Verifications by day, account, key and outcome: a view over verifications.",
    (
        _DATE,
        _ACCOUNT,
        _KEY,
        _OUTCOME,
        Column("verifications", "BIGINT", "How many there were."),
        Column("cost", "BIGINT", "The sum of what they asked for; what was refused included."),
    ),
)

CREDITS = Table(
    "credits",
    "Every movement of credits, of commands, time and verifications: a view over events and "
    "verifications. Amounts are in hundredths.",
    (
        Column("account_id", "VARCHAR", "Whose credits."),
        Column("at", "TIMESTAMPTZ", "Since when it holds, in UTC."),
        _DATE,
        Column(
            "kind",
            "VARCHAR",
            "granted, begun, expired, spent, held, captured, released, withdrawn; verification.",
        ),
        Column("amount", "BIGINT", "What it is about; never negative."),
        Column("change", "BIGINT", "What is available after it, less what was before it."),
        Column("operation", "VARCHAR", "What it was spent on, where the plan has a price for it."),
        Column("entry_no", "BIGINT", "Its number in the account; NULL for verifications."),
        Column("hold_id", "VARCHAR", "The hold that it is of."),
        Column("verification_id", "VARCHAR", "The verification that spent it; see verifications."),
        Column("position", "BIGINT", "In the decisions log; for verifications, the usage log."),
    ),
)

ACCOUNTS = Table(
    "accounts",
    "Accounts as they were when the snapshot was made. Nothing personal.",
    (
        Column("account_id", "VARCHAR", "The account's id."),
        Column("username", "VARCHAR", "The public name that it chose; NULL for none."),
        Column("kind", "VARCHAR", "personal or business."),
        Column("plan", "VARCHAR", "The name of its plan; see plans."),
        Column("status", "VARCHAR", "active, suspended, or what later versions add."),
        Column("registered_at", "TIMESTAMPTZ", "When it was registered."),
    ),
)

KEYS = Table(
    "keys",
    "API keys as they were when the snapshot was made. No secrets, no digests.",
    (
        Column("key_id", "VARCHAR", "The key's id."),
        Column("account_id", "VARCHAR", "The account that owns it; see accounts."),
        Column("name", "VARCHAR", "The name that its owner gave it."),
        Column("environment", "VARCHAR", "live or test."),
        Column("kind", "VARCHAR", "standard or service."),
        Column("issued_at", "TIMESTAMPTZ", "When it was issued."),
        Column("revoked_at", "TIMESTAMPTZ", "When it was revoked; NULL for a living key."),
    ),
)

PLANS = Table(
    "plans",
    "Published plans and what they permit.",
    (
        Column("name", "VARCHAR", "The plan's name; accounts.plan names it."),
        Column("tier", "VARCHAR", "The tier that it belongs to."),
        Column("title", "VARCHAR", "What people call it."),
        Column("self_service", "BOOLEAN", "Whether an account may choose it by itself."),
        Column("key_limit", "BIGINT", "How many keys an account may have; NULL for any number."),
        Column("quota_limit", "BIGINT", "Verifications per period; NULL without limit."),
        Column("quota_period", "VARCHAR", "The period of that quota."),
        Column("monthly_credits", "BIGINT", "Credits granted each month, in hundredths."),
    ),
)

SNAPSHOT = Table(
    "snapshot",
    "What this file shows: one row.",
    (
        Column("published_at", "TIMESTAMPTZ", "When it was made."),
        Column("usage_position", "BIGINT", "The usage log is here up to this position."),
        Column("events_position", "BIGINT", "The decisions log is here up to this position."),
        Column("log_id", "VARCHAR", "The id of the log; positions belong to it."),
        Column("complete_until", "TIMESTAMPTZ", "All that was counted before this is here."),
    ),
)

VIEWS = (VERIFICATIONS, EVENTS, DAILY_USAGE, CREDITS)
DIMENSIONS = (ACCOUNTS, KEYS, PLANS)
TABLES = (*VIEWS, *DIMENSIONS, SNAPSHOT)
