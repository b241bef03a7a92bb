"""Renewals: what was scheduled for the end of a month is carried out when it is due.

Any number of processes may do this at once. Each change is decided on the account's stream as it
stands, and the append says which version it was decided on: who comes second finds it done.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import structlog

from application.deciding import ACCOUNT, SYSTEM, Change, Context, commit, load, new_id
from application.ending import ended
from application.errors import StreamUnreadable, VersionConflict
from application.plans import known_plan, plan_change
from application.ports import Ports
from application.rows import Row
from domain import accounts
from domain.accounts import Account, PlanAssigned
from domain.errors import UnknownPlan
from domain.event import Event

log = structlog.get_logger()

PAUSE_SECONDS = 10.0
PAGE = 50


@asynccontextmanager
async def renewing(ports: Ports, pause_seconds: float = PAUSE_SECONDS) -> AsyncIterator[None]:
    """`keep_renewing` beside what is done inside."""
    task = asyncio.create_task(keep_renewing(ports, pause_seconds))
    try:
        yield
    finally:
        await ended(task)


async def keep_renewing(ports: Ports, pause_seconds: float = PAUSE_SECONDS) -> None:
    """`renew_due` for ever. What fails (the database may be away) is tried again."""
    while True:
        try:
            await renew_due(ports)
        except Exception as error:
            log.warning("renewals stopped", error=str(error).strip())
        await asyncio.sleep(pause_seconds)


async def renew_due(ports: Ports) -> int:
    """Carry out every plan change that is due now; answers how many this process did.

    An account whose stream can't be read is left as it is, and doesn't stop the others.
    """
    done = 0
    after: str | None = None
    while page := await ports.lookups.due_plan_changes(ports.clock(), after, PAGE):
        try:
            done += await _renew(ports, page)
        except VersionConflict:
            continue  # somebody else was first with some of these: look again at what is left
        after = page[-1]
    return done


async def _renew(ports: Ports, account_ids: list[str]) -> int:
    """These accounts' changes, all in one transaction."""
    now = ports.clock()
    changes: list[Change[Any]] = []
    rows: list[Row] = []
    done = 0
    for account_id in account_ids:
        try:
            stream = await load(ports, ACCOUNT, account_id)
            events = [] if stream.state is None else await _due(ports, stream.state, now)
            if not events:
                continue
            more, written = await plan_change(ports, stream, events, now)
        except StreamUnreadable as error:
            log.error("plan change can't be carried out", account=account_id, problem=str(error))
            continue
        changes += more
        rows += written
        done += 1
    if changes:
        context = Context(principal=SYSTEM, command_id=new_id(ports, "cmd"))
        await commit(ports, context, now, changes, rows, reason="plan change at renewal")
    return done


async def _due(ports: Ports, account: Account, now: datetime) -> list[Event]:
    """What is due of this account. A plan that was retired in the meantime takes nobody."""
    events = accounts.renew_plan(account, now)
    for event in events:
        if isinstance(event, PlanAssigned):
            try:
                retired = (await known_plan(ports, event.plan)).retired
            except UnknownPlan:
                retired = True
            if retired:
                return accounts.cancel_plan_change(account)
    return events
