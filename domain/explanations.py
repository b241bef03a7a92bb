"""Why a verification was answered as it was, in plain words: each question that was asked of the
key, in the order of `verification.judge`, and what its answer was.

What came with the key (its address, the audience, the permissions asked for) is not kept, so
of that only what follows from the verdict is told.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec

from domain.account_events import (
    AccountClosed,
    AccountErased,
    AccountRegistered,
    AccountReinstated,
    AccountRestored,
    AccountSuspended,
)
from domain.accounts import Account
from domain.api_key_events import (
    ApiKeyExpirySet,
    ApiKeyImported,
    ApiKeyIpAllowSet,
    ApiKeyIssued,
    ApiKeyPaused,
    ApiKeyPermissionsSet,
    ApiKeyResumed,
    ApiKeyRevoked,
    ApiKeyRolesSet,
    ApiKeyRotated,
)
from domain.api_keys import ApiKey
from domain.event import Event
from domain.wording import moment, the_list

Question = Literal[
    "known", "revoked", "account", "paused", "expired", "audience", "address", "permissions"
]

_REFUSED: dict[Question, str] = {
    "known": "NOT_FOUND",
    "revoked": "REVOKED",
    "account": "ACCOUNT_SUSPENDED",
    "paused": "DISABLED",
    "expired": "EXPIRED",
    "audience": "FORBIDDEN",
    "address": "IP_NOT_ALLOWED",
    "permissions": "INSUFFICIENT_PERMISSIONS",
}
_MADE: tuple[type[Event], ...] = (ApiKeyIssued, ApiKeyImported)
SET_BY: dict[Question, tuple[type[Event], ...]] = {
    "known": _MADE,
    "revoked": (*_MADE, ApiKeyRevoked),
    "account": (
        AccountRegistered,
        AccountSuspended,
        AccountReinstated,
        AccountClosed,
        AccountRestored,
        AccountErased,
    ),
    "paused": (*_MADE, ApiKeyPaused, ApiKeyResumed),
    "expired": (*_MADE, ApiKeyExpirySet, ApiKeyRotated),
    "audience": _MADE,
    "address": (*_MADE, ApiKeyIpAllowSet),
    "permissions": (*_MADE, ApiKeyPermissionsSet, ApiKeyRolesSet),
}
"""The last event of these, in the streams of key and account, is what answers the question."""


class Answer(msgspec.Struct, frozen=True):
    """A question and what came of it. `words` say why."""

    question: Question
    passed: bool
    words: str


def answers(key: ApiKey, account: Account, code: str, at: datetime) -> list[Answer]:
    """The questions that were asked of this key, up to the one that refused it.

    `code` is the verdict that memory gave; whatever a counter said comes after all of these.
    """
    told = []
    for question, refused in _REFUSED.items():
        passed = code != refused
        told.append(Answer(question, passed, _words(question, passed, key, account, at)))
        if not passed:
            break
    return told


def _words(question: Question, passed: bool, key: ApiKey, account: Account, at: datetime) -> str:
    match question:
        case "known":
            return f"The key “{key.name}” ({key.hint}) was known."
        case "revoked":
            return "It was not revoked." if passed else "It was revoked, for good."
        case "account":
            return f"Its account was {account.status}."
        case "paused":
            return "It was not paused." if passed else "It was paused."
        case "expired":
            return _expiry(passed, key, at)
        case "audience":
            return _audience(passed, key)
        case "address":
            return _address(passed, key)
        case "permissions":
            return _permissions(passed, key)


def _expiry(passed: bool, key: ApiKey, at: datetime) -> str:
    ends = None if key.expires_at is None else datetime.fromtimestamp(key.expires_at, UTC)
    if passed:
        return "It has no end." if ends is None else f"It was good until {moment(ends)}."
    if ends is not None and ends <= at:
        return f"It had expired at {moment(ends)}."
    if key.previous_until:
        until = datetime.fromtimestamp(key.previous_until, UTC)
        return f"The secret was one that a rotation had replaced; it worked until {moment(until)}."
    return "The secret was one that a rotation had replaced, and ended at once."


def _audience(passed: bool, key: ApiKey) -> str:
    if key.audience is None:
        return "It is for any audience."
    if passed:
        return f"It is for the audience “{key.audience}”, and was presented there."
    return f"It is for the audience “{key.audience}” only, and was presented elsewhere."


def _address(passed: bool, key: ApiKey) -> str:
    if not key.ip_allow:
        return "It works from every address."
    came = "came from there" if passed else "came from elsewhere, or nobody said from where"
    return f"It works from {the_list(key.ip_allow)} only, and {came}."


def _permissions(passed: bool, key: ApiKey) -> str:
    held = [*key.permissions, *(f"role:{role}" for role in key.roles)]
    has = f"It has {the_list(held)}" if held else "It has no permissions"
    return f"{has}: {'enough for' if passed else 'not'} what was asked for."


def summary(code: str, told: Sequence[Answer], refused_by: str | None) -> str:
    """Why, in one sentence. `refused_by` are the words of the limit that refused."""
    if code == "VALID":
        return "Valid: every question was answered with yes, and every limit had room."
    if code == "UNAVAILABLE":
        return "Refused with 503: it could not be counted, so nothing was taken."
    if code == "RETRIED":
        return "Asked again a moment later, by newer rules: that one has an answer of its own."
    if code == "NOT_FOUND":
        return "Refused (NOT_FOUND): no key that was known had this secret."
    if refused_by is not None:
        return f"Refused ({code}): {refused_by}"
    why = told[-1].words if told and not told[-1].passed else "its state said so."
    return f"Refused ({code}): {why[0].lower()}{why[1:]}"
