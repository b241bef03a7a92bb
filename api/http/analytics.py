"""Analytics: SQL of staff on the lake, and what an account used, for charts."""

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any

from litestar import Controller, Request, Response, get, post
from litestar.datastructures import State
from litestar.params import JSONBody, QueryParameter

from api.http.analytics_operations import QUERY, USAGE
from api.http.analytics_shapes import (
    MEDIA_TYPES,
    QueryRequest,
    group_by_of,
    instant_of,
    named_format,
    wanted_format,
)
from api.http.dependencies import Caller, TheAnalytics, ThePorts
from api.http.problems import HttpProblem
from application.deciding import Principal
from application.errors import AnalyticsUnavailable
from application.ports import Analytics, LakeFormat, Ports, UsageWanted
from domain.errors import NotFound, NotPermitted
from domain.ids import is_id

DEFAULT_DAYS = 30
CLIENT_CLOSED_REQUEST = 499  # nobody reads it but the log

Text = Annotated[str | None, QueryParameter(max_length=200)]
AnyRequest = Request[Any, Any, State]


class AnalyticsController(Controller):
    """Both read the lake as it was last published: seconds behind, and never in anyone's way."""

    @post("/v1/analytics/query", opt={"operation": QUERY}, status_code=200)
    async def query(
        self,
        data: JSONBody[QueryRequest],
        request: AnyRequest,
        user: Caller,
        analytics: TheAnalytics,
    ) -> Response[bytes]:
        """One statement that only reads."""
        if not user.may("lake.query"):
            raise NotPermitted("lake.query")
        format = data.format or wanted_format(request.headers.get("accept", ""))
        return await _answered(request, _there(analytics).query(data.sql, format), format)

    @get("/v1/analytics/usage", opt={"operation": USAGE})
    async def usage(
        self,
        request: AnyRequest,
        user: Caller,
        ports: ThePorts,
        analytics: TheAnalytics,
        group_by: Text = None,
        since: Text = None,
        until: Text = None,
        account_id: Text = None,
        format: Text = None,
    ) -> Response[bytes]:
        """Counts and costs in sums."""
        now = ports.clock()
        wanted = UsageWanted(
            group_by=group_by_of(group_by),
            since=instant_of("since", since, days_ago=DEFAULT_DAYS, now=now),
            until=instant_of("until", until, days_ago=0, now=now),
            account_id=_whose(ports, user, account_id),
        )
        if wanted.since >= wanted.until:
            raise HttpProblem("INVALID_REQUEST", "`since` has to be before `until`.", param="since")
        accepted = wanted_format(request.headers.get("accept", ""))
        chosen = accepted if format is None else named_format(format)
        return await _answered(request, _there(analytics).usage(wanted, chosen), chosen)


def _there(analytics: Analytics | None) -> Analytics:
    if analytics is None:
        raise AnalyticsUnavailable("This server has no lake.")
    return analytics


def _whose(ports: Ports, user: Principal, account_id: str | None) -> str | None:
    """Staff see everybody unless they name somebody; others see themselves. NotFound."""
    if account_id is None:
        return None if user.may("usage.read") else user.id
    known = is_id("acct", account_id) and ports.directory.account(account_id) is not None
    if not known or (account_id != user.id and not user.may("usage.read")):
        raise NotFound("account", account_id)
    return account_id


async def _answered(
    request: AnyRequest, asking: Coroutine[Any, Any, bytes], format: LakeFormat
) -> Response[bytes]:
    """The answer, unless the client goes away first: then nobody computes for nobody."""
    answer = asyncio.ensure_future(asking)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait([answer, gone], return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            return Response(b"", status_code=CLIENT_CLOSED_REQUEST)
        return Response(answer.result(), media_type=MEDIA_TYPES[format])
    finally:
        gone.cancel()
        answer.cancel()
        # Until its process is gone, too.
        await asyncio.gather(answer, gone, return_exceptions=True)


async def _gone(request: AnyRequest) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
