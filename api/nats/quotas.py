"""Quotas over NATS: what an account and its keys may use and have used."""

from typing import Annotated

import msgspec
from msgspec import Meta

from api.http.paging import DEFAULT_LIMIT, MAX_LIMIT
from api.http.quota_answers import AllowancePage, allowance_answers
from api.http.quota_operations import QUOTAS as LIST
from api.http.quotas import cursor_of, place_of
from api.nats.call import Call
from api.nats.endpoint import Endpoint
from application import quota_pages


class GetQuotas(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose, and which page. `account_id` left out is the service's own account."""

    account_id: str | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT
    cursor: Annotated[str, Meta(max_length=200)] | None = None


async def get(call: Call, data: GetQuotas) -> AllowancePage:
    """A page of quotas and rate limits, as they stand."""
    actor = await call.service("quotas.read")
    after = place_of(data.cursor)
    wanted = actor.account_id if data.account_id is None else data.account_id
    account = quota_pages.readable(call.ports, actor, wanted or "")
    items, following = await quota_pages.page(call.ports, account, after, data.limit)
    return AllowancePage(allowance_answers(items), cursor_of(following))


QUOTAS = (
    Endpoint(
        noun="quotas",
        verb="get",
        request=GetQuotas,
        request_example={"account_id": "acct_01kamzq3v0b6f7n8w9x2y4z5ac"},
        operation=LIST,
        http="GET /v1/quotas",
        permission="quotas.read",
        handler=get,
    ),
)
