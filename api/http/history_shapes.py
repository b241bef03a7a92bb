"""What histories, the log and explanations answer."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from api.http import positions
from api.http.answers import instant
from api.http.paging import cursor_after
from application.explaining import Explanation, Step
from application.history import Told
from application.past_limits import LimitThen
from application.ports import Ports
from domain.credit_amounts import decimal


class HistoryItem(msgspec.Struct, frozen=True, kw_only=True):
    """One event. `summary` says what happened, `by` who did it, `reason` why, in their words;
    null where nobody said, where it isn't for the reader, or where it was erased.

    `impersonator` is the staff account that acted as `actor`. `at` is null where the event can't
    be read by this version of the server.
    """

    position: str
    at: datetime | None
    summary: str
    by: str
    reason: str | None
    type: str
    stream: str
    actor: str
    impersonator: str | None
    request_id: str | None
    data: dict[str, Any]


class HistoryPage(msgspec.Struct, frozen=True):
    """A page of a history, newest first."""

    items: list[HistoryItem]
    next_cursor: str | None


class EventItem(HistoryItem, frozen=True, kw_only=True):
    """One event of the log. `version` counts within its stream; all events of one command have
    the same `command_id`; `account_id` is whose it is."""

    version: int
    account_id: str | None
    command_id: str | None
    cause: str | None


class EventPage(msgspec.Struct, frozen=True):
    """A page of the log, in its order; or newest first."""

    items: list[EventItem]
    next_cursor: str | None


class StepAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A question that was asked of the key, and what came of it. `decided_by` are the positions
    of the events that made the answer what it was."""

    question: str
    passed: bool
    words: str
    decided_by: list[str]


class KeyState(msgspec.Struct, frozen=True, kw_only=True):
    """The key as it was."""

    id: str
    name: str
    hint: str
    environment: str
    generation: int
    enabled: bool
    audience: str | None
    permissions: tuple[str, ...]
    roles: tuple[str, ...]
    ip_allow: tuple[str, ...]
    expires_at: datetime | None
    revoked_at: datetime | None


class AccountState(msgspec.Struct, frozen=True, kw_only=True):
    """The key's account as it was."""

    id: str
    status: str
    plan: str


class LimitState(msgspec.Struct, frozen=True, kw_only=True):
    """A limit as the verification found it. Amounts are whole numbers; of credits, decimals with
    two places, and `limit` is what had been there in all. `limit` null counts without end."""

    kind: Literal["quota", "rate", "credits"]
    name: str
    scope: str | None
    period: str | None
    limit: int | str | None
    used_before: int | str
    asked: int | str
    taken: int | str
    refused: bool
    began_at: datetime | None
    resets_at: datetime | None


class ExplanationAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Why a verification was answered as it was.

    `position` is the position of the decisions log that it was judged at, `usage_position` where
    it stands in the usage log. `key` and `account` are null where no key was known. `steps` are
    in the order of the questions; the first that did not pass is why.
    """

    verification_id: str
    at: datetime
    valid: bool
    code: str
    summary: str
    cost: int
    operation: str | None
    position: str
    usage_position: str
    key: KeyState | None
    account: AccountState | None
    steps: list[StepAnswer]
    limits: list[LimitState]
    events: list[HistoryItem]


def history_page(ports: Ports, found: Sequence[Told], limit: int) -> HistoryPage:
    """The page; one more than `limit` says that there is another."""
    items = [item(ports, each) for each in found[:limit]]
    return HistoryPage(items, _following(found, limit))


def event_page(ports: Ports, found: Sequence[Told], limit: int) -> EventPage:
    """The same of the log."""
    items = [event_item(ports, each) for each in found[:limit]]
    return EventPage(items, _following(found, limit))


def _following(found: Sequence[Told], limit: int) -> str | None:
    return cursor_after(str(found[limit - 1].position)) if len(found) > limit else None


def item(ports: Ports, told: Told) -> HistoryItem:
    """One event as histories show it."""
    return HistoryItem(**_fields(ports, told))


def event_item(ports: Ports, told: Told) -> EventItem:
    """One event as the log shows it."""
    return EventItem(
        **_fields(ports, told),
        version=told.version,
        account_id=told.account_id,
        command_id=told.command_id,
        cause=told.cause,
    )


def _fields(ports: Ports, told: Told) -> dict[str, Any]:
    return {
        "position": positions.token(ports.store.log_id, told.position),
        "at": told.at,
        "summary": told.summary,
        "by": told.by,
        "reason": told.reason,
        "type": told.type,
        "stream": told.stream,
        "actor": told.actor,
        "impersonator": told.impersonator,
        "request_id": told.request_id,
        "data": told.data,
    }


def explanation_answer(ports: Ports, found: Explanation) -> ExplanationAnswer:
    """The explanation as it is sent."""
    log_id = ports.store.log_id
    return ExplanationAnswer(
        verification_id=found.verification_id,
        at=found.at,
        valid=found.code == "VALID",
        code=found.code,
        summary=found.summary,
        cost=found.cost,
        operation=found.operation,
        position=positions.token(log_id, found.judged_at),
        usage_position=positions.token(f"{log_id}u", found.counted_at),
        key=_key(found),
        account=_account(found),
        steps=[_step(log_id, each) for each in found.steps],
        limits=[_limit(each) for each in found.limits],
        events=[item(ports, each) for each in found.events],
    )


def _key(found: Explanation) -> KeyState | None:
    key = found.key
    if key is None:
        return None
    return KeyState(
        id=key.id,
        name=key.name,
        hint=key.hint,
        environment=key.environment,
        generation=key.generation,
        enabled=key.enabled,
        audience=key.audience,
        permissions=key.permissions,
        roles=key.roles,
        ip_allow=key.ip_allow,
        expires_at=None if key.expires_at is None else instant(key.expires_at),
        revoked_at=None if key.revoked_at is None else instant(key.revoked_at),
    )


def _account(found: Explanation) -> AccountState | None:
    account = found.account
    if account is None:
        return None
    return AccountState(id=account.id, status=account.status, plan=account.plan)


def _step(log_id: str, step: Step) -> StepAnswer:
    return StepAnswer(
        question=step.question,
        passed=step.passed,
        words=step.words,
        decided_by=[positions.token(log_id, each) for each in step.decided_by],
    )


def _limit(found: LimitThen) -> LimitState:
    def amount(number: int) -> int | str:
        return decimal(number) if found.kind == "credits" else number

    return LimitState(
        kind=found.kind,
        name=found.name,
        scope=found.scope,
        period=found.period,
        limit=None if found.limit is None else amount(found.limit),
        used_before=amount(found.used_before),
        asked=amount(found.asked),
        taken=amount(found.taken),
        refused=found.refused,
        began_at=found.began_at,
        resets_at=found.resets_at,
    )
