"""The answer to a leak: the key is ended first, and then what was done with it is told."""

from datetime import UTC, datetime

import msgspec

from application import api_keys
from application.deciding import Context, acts_as_staff
from application.errors import AnalyticsUnavailable, Overloaded
from application.ports import Analytics, KeyTrail, KeyUses, Ports
from domain.api_keys import ApiKey
from domain.errors import InvalidCommand, NotPermitted

REASON = "leak response"


class LeakReport(msgspec.Struct, frozen=True, kw_only=True):
    """Who used a key since when, as far as that was recorded. `uses` are of its whole life.

    `trail` is None where the lake can't be asked, for the reason in `trail_problem`.
    """

    key: ApiKey
    since: datetime
    uses: KeyUses
    trail: KeyTrail | None
    trail_problem: str | None = None


async def leak_response(
    ports: Ports,
    analytics: Analytics | None,
    context: Context,
    key_id: str,
    since: datetime | None = None,
) -> tuple[LeakReport, int]:
    """Revoke the key with all of its secrets, and report how it was used since then (from its
    beginning, unless said). Answers the report and the position.

    For its owner, and for staff, who say why. The revocation is committed before anything is
    read: a report that fails leaves no key alive, and asking again is safe. Raises NotFound,
    NotPermitted, InvalidCommand.
    """
    if context.principal.kind == "service":
        raise NotPermitted("staff")
    key = await api_keys.get(ports, context.principal, key_id)
    if since is not None and since > ports.clock():
        raise InvalidCommand("since", "must be in the past")
    mine = not acts_as_staff(context.principal, key.account_id)
    position = await api_keys.revoke(
        ports, context, key_id, context.reason or (REASON if mine else None)
    )
    ended = await api_keys.get(ports, context.principal, key_id)
    asked_since = since or datetime.fromtimestamp(key.issued_at, UTC)
    uses = (await ports.read_models.key_uses([key_id])).get(key_id, KeyUses())
    trail, problem = await _trail(analytics, key_id, asked_since)
    report = LeakReport(key=ended, since=asked_since, uses=uses, trail=trail, trail_problem=problem)
    return report, position


async def _trail(
    analytics: Analytics | None, key_id: str, since: datetime
) -> tuple[KeyTrail | None, str | None]:
    if analytics is None:
        return None, "This server has no lake."
    try:
        return await analytics.key_trail(key_id, since), None
    except AnalyticsUnavailable as error:
        return None, error.detail
    except Overloaded:
        return None, "Too many queries at present: ask again, the key is revoked."
