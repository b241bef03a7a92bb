"""The SQL of usage series: ours, from fixed pieces; what callers say is bound, never spliced."""

from datetime import UTC, datetime, timedelta

from application.ports import UsageWanted

_GROUPS = {"day": "date", "key": "key_id", "outcome": "outcome", "model": "model"}
_SHOWN = {
    "day": "counted.date::VARCHAR AS day",
    "key": "counted.key_id, keys.name AS key_name",
    "outcome": "counted.outcome",
    "model": "counted.model",
}


def usage_sql(wanted: UsageWanted) -> tuple[str, dict[str, str | None]]:
    """The statement, and the values of its `$names`."""
    groups = ", ".join(_GROUPS[each] for each in wanted.group_by)
    shown = ", ".join(_SHOWN[each] for each in wanted.group_by)
    order = ", ".join(f"counted.{_GROUPS[each]}" for each in wanted.group_by)
    values: dict[str, str | None] = {
        "since": _instant(wanted.since),
        "until": _instant(wanted.until),
        "first_day": f"{wanted.since.astimezone(UTC):%Y-%m-%d}",
        "last_day": f"{wanted.until.astimezone(UTC) - timedelta(microseconds=1):%Y-%m-%d}",
    }
    whose = ""
    if wanted.account_id is not None:
        whose = "AND account_id = $account"
        values["account"] = wanted.account_id
    names = "LEFT JOIN keys ON keys.key_id = counted.key_id" if "key" in wanted.group_by else ""
    # The days are those of the folders: others aren't even opened.
    statement = f"""
        WITH counted AS (
            SELECT {groups}, count(*) AS verifications, sum("cost")::BIGINT AS "cost"
            FROM verifications
            WHERE date BETWEEN $first_day::DATE AND $last_day::DATE
              AND verified_at >= $since::TIMESTAMPTZ AND verified_at < $until::TIMESTAMPTZ {whose}
            GROUP BY {groups}
        )
        SELECT {shown}, counted.verifications, counted."cost"
        FROM counted {names} ORDER BY {order}
    """  # noqa: S608
    return statement, values


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat()
