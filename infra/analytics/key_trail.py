"""The SQL of one key's trail: by day, and by what callers said of its uses."""

from datetime import UTC, datetime

MOST_LABELS = 100
"""Of each kind; the most frequent ones."""


def key_trail_sql(key_id: str, since: datetime) -> tuple[str, dict[str, str | None]]:
    """The statement, and the values of its `$names`."""
    values: dict[str, str | None] = {
        "key": key_id,
        "since": since.astimezone(UTC).isoformat(),
        "first_day": f"{since.astimezone(UTC):%Y-%m-%d}",
    }
    # The days are those of the folders: earlier ones aren't even opened.
    statement = f"""
        WITH uses AS (
            SELECT date, outcome, "cost", tags, resource, model, verified_at FROM verifications
            WHERE date >= $first_day::DATE AND verified_at >= $since::TIMESTAMPTZ
              AND key_id = $key
        ), named AS (
            SELECT 'day' AS kind, date::VARCHAR AS value, * FROM uses
            UNION ALL SELECT 'tag', unnest(tags), * FROM uses
            UNION ALL SELECT 'resource', resource, * FROM uses WHERE resource IS NOT NULL
            UNION ALL SELECT 'model', model, * FROM uses WHERE model IS NOT NULL
        ), traces AS (
            SELECT kind, value, outcome, count(*) AS verifications,
                   sum("cost")::BIGINT AS "cost",
                   min(verified_at) AS first_at, max(verified_at) AS last_at
            FROM named GROUP BY kind, value, outcome
        )
        SELECT * FROM traces
        QUALIFY kind = 'day' OR
            row_number() OVER (PARTITION BY kind ORDER BY verifications DESC, value, outcome)
            <= {MOST_LABELS}
        ORDER BY kind, value, outcome
    """  # noqa: S608
    return statement, values
