"""Why a verification was answered as it was: the key, its account and its limits as they were
when it was judged, and the events that had made them so.

A verification's id says where it is in the usage log; its batch says up to which position of the
decisions log it was judged. So what it saw is folded again, exactly.
"""

import asyncio
import re
from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from application.allowances import allowance_id
from application.deciding import ACCOUNT, API_KEY, Principal
from application.history import Told, may_read, told
from application.past_limits import LimitThen, Past, limits_then
from application.ports import Ports
from application.time_travel import folded
from domain import plans
from domain.account_events import PlanAssigned
from domain.accounts import Account
from domain.allowances import EVERYBODY
from domain.api_key_events import ApiKeyImported, ApiKeyIssued, ApiKeyLimitsSet
from domain.api_keys import ApiKey
from domain.calendars import instant
from domain.errors import NotFound
from domain.event import Event, Recorded
from domain.explanations import SET_BY, Answer, answers, summary
from domain.plans import PlanEvent
from domain.verification import VerificationsCounted, outcomes

MOST_LOOKS = 15
LOOK_AGAIN_SECONDS = 0.1

_ID = re.compile(r"ver_([0-9a-hjkmnp-tv-z]{26})_([1-9][0-9]{0,17})_(0|[1-9][0-9]{0,8})")


class Step(msgspec.Struct, frozen=True):
    """A question, its answer in words, and the positions of the events that decided it."""

    question: str
    passed: bool
    words: str
    decided_by: tuple[int, ...]


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A verification, and why. `judged_at` is the position of the decisions log that was known,
    `counted_at` that of the usage log. `key`, `account` are as they were then; None where no key
    was known. `events` are those that steps name, in the order of the log."""

    verification_id: str
    at: datetime
    code: str
    summary: str
    cost: int
    operation: str | None
    judged_at: int
    counted_at: int
    key: ApiKey | None
    account: Account | None
    steps: list[Step]
    limits: list[LimitThen]
    events: list[Told]


async def explain(ports: Ports, principal: Principal, verification_id: str) -> Explanation:
    """Why this verification was answered as it was. For the owner of the key, and for staff who
    may read histories. NotFound for others, and where the usage log doesn't hold it any more.
    """
    batch, row, recorded = await _counted(ports, verification_id)
    key_id, account_id = _of(batch.keys, batch.key[row]), _of(batch.accounts, batch.account[row])
    if not may_read(principal, account_id):
        raise NotFound("verification", verification_id)
    judged_at = next(at for first, at in reversed(batch.judged_at) if first <= row)
    at = instant(batch.at_us[row])
    code = outcomes(batch)[row]
    explanation = Explanation(
        verification_id=verification_id,
        at=at,
        code=code,
        summary=summary(code, (), None),
        cost=batch.cost[row],
        operation=batch.operations.get(str(row)),
        judged_at=judged_at,
        counted_at=recorded.position,
        key=None,
        account=None,
        steps=[],
        limits=[],
        events=[],
    )
    if key_id is None or account_id is None:
        return explanation
    past = await _past(ports, key_id, account_id, judged_at)
    key, account = folded(API_KEY, past, key_id), folded(ACCOUNT, past, account_id)
    if key is None or account is None:
        raise NotFound("verification", verification_id)
    return await _explained(ports, principal, explanation, batch, row, key, account, past)


async def _explained(
    ports: Ports,
    principal: Principal,
    bare: Explanation,
    batch: VerificationsCounted,
    row: int,
    key: ApiKey,
    account: Account,
    past: list[Recorded],
) -> Explanation:
    asked = answers(key, account, batch.code[row], bare.at)
    limits = limits_then(batch, row, key, account, Past(past))
    steps = [_step(each, past) for each in asked]
    steps += [
        Step(f"{each.kind}:{each.name}", not each.refused, each.words, _rule_events(each, past))
        for each in limits
    ]
    named = {position for step in steps for position in step.decided_by}
    found = await ports.log_pages.at(named, personal=True)
    refused = next((each.words for each in limits if each.refused), None)
    return msgspec.structs.replace(
        bare,
        summary=summary(bare.code, asked, refused),
        key=key,
        account=account,
        steps=steps,
        limits=limits,
        events=[told(principal, found[position]) for position in sorted(named & set(found))],
    )


async def _counted(
    ports: Ports, verification_id: str
) -> tuple[VerificationsCounted, int, Recorded]:
    parts = _ID.fullmatch(verification_id)
    if parts is None:
        raise NotFound("verification", verification_id)
    version, row = int(parts[2]), int(parts[3])
    recorded = await _written(ports, f"usage_{parts[1]}", version)
    if recorded is None or not isinstance(recorded.event, VerificationsCounted):
        raise NotFound("verification", verification_id)
    if row >= len(recorded.event.code):
        raise NotFound("verification", verification_id)
    return recorded.event, row, recorded


async def _written(ports: Ports, stream: str, version: int) -> Recorded | None:
    """The flush of this number. What took nothing is written half a second behind its answer, so
    the next one of a stream is waited for."""
    for _ in range(MOST_LOOKS):
        found = await ports.log_pages.counted(stream, version)
        if found is not None:
            return found
        if version > 1 and await ports.log_pages.counted(stream, version - 1) is None:
            return None
        await asyncio.sleep(LOOK_AGAIN_SECONDS)
    return None


async def _past(ports: Ports, key_id: str, account_id: str, up_to: int) -> list[Recorded]:
    """The events of all that this key is judged by, up to there, in the order of the log."""
    streams = [key_id, account_id, allowance_id(key_id), allowance_id(account_id), EVERYBODY]
    found = await ports.log_pages.of(streams, up_to)
    account = folded(ACCOUNT, found, account_id)
    if account is not None:
        found += await ports.log_pages.of([plans.stream(account.plan)], up_to)
    return sorted(found, key=lambda each: each.position)


def _step(answer: Answer, past: Sequence[Recorded]) -> Step:
    decided = _last(past, SET_BY[answer.question])
    return Step(answer.question, answer.passed, answer.words, decided)


def _rule_events(limit: LimitThen, past: Sequence[Recorded]) -> tuple[int, ...]:
    """Where a limit comes from: what set it last; of a plan, what put the account on it, too."""
    ours = [each for each in past if each.stream in limit.streams]
    if limit.kind == "rate" and limit.scope == "own":
        return _last(ours, (ApiKeyIssued, ApiKeyImported, ApiKeyLimitsSet))
    of_plan = any(isinstance(each.event, PlanEvent) for each in ours)
    assigned = _last(past, (PlanAssigned,)) if of_plan else ()
    return (*assigned, *(each.position for each in ours[-1:]))


def _last(past: Iterable[Recorded], types: tuple[type[Event], ...]) -> tuple[int, ...]:
    positions = [each.position for each in past if isinstance(each.event, types)]
    return tuple(positions[-1:])


def _of(ids: Sequence[str], index: int) -> str | None:
    return ids[index] if index >= 0 else None
