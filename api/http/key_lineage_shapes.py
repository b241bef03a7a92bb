"""What rotation, import and the response to a leak take and answer."""

from datetime import date, datetime
from typing import Annotated, Literal

import msgspec

from api.http.answers import instant
from api.http.api_key_shapes import ApiKeyAnswer, NewKeyBody, Text, Uses
from api.http.plan_shapes import Reason
from application.key_import import MAX_ITEMS, UNSHOWN, ImportedKey
from application.leaks import LeakReport
from application.ports import Trace
from domain.api_key_rules import MAX_OVERLAP_SECONDS
from domain.api_keys import Algorithm, ApiKey


class RotateRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For how long the present secret goes on working beside the new one; and why."""

    overlap_seconds: Annotated[int, msgspec.Meta(ge=0, le=MAX_OVERLAP_SECONDS)] = 0
    reason: Reason | None = None


class RotatedAnswer(ApiKeyAnswer, frozen=True, kw_only=True):
    """The same key; `key` is its new secret, shown this once."""

    key: str


class ImportItem(NewKeyBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key that was made elsewhere: the hash of its secret, and all that a new key may have."""

    account_id: Annotated[str, msgspec.Meta(description="Whose key it becomes.")]
    hash: Annotated[
        str,
        msgspec.Meta(max_length=200, description="Of the whole secret: hex, base64 or base64url."),
    ]
    algorithm: Annotated[
        Algorithm,
        msgspec.Meta(
            description="How the other system hashed it. `hmac-sha256` is taken where the "
            "operator has set the secret of that system, `TOLLHOUSE_IMPORT_HMAC_KEY`."
        ),
    ]
    hint: Annotated[
        str, msgspec.Meta(description="What is shown of it, such as its last four characters.")
    ] = UNSHOWN

    def imported(self, index: int) -> ImportedKey:
        """What the use case takes; `index` says which item, where one is refused."""
        here = f"items[{index}]."
        return ImportedKey(
            command=self.new_key(self.account_id, here),
            hash=self.hash,
            algorithm=self.algorithm,
            hint=self.hint,
            quota=None if self.quota is None else self.quota.own(f"{here}quota"),
        )


class ImportRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Up to 1,000 keys; all of them are imported, or none. And why."""

    items: Annotated[tuple[ImportItem, ...], msgspec.Meta(min_length=1, max_length=MAX_ITEMS)]
    reason: Reason | None = None


class ImportedAnswer(msgspec.Struct, frozen=True):
    """A key that was imported."""

    id: str
    account_id: str
    name: Text
    hint: str


class ImportAnswer(msgspec.Struct, frozen=True):
    """The keys, in the order of the items."""

    items: list[ImportedAnswer]


def import_answer(keys: list[ApiKey]) -> ImportAnswer:
    """These keys as they are answered."""
    return ImportAnswer(
        [ImportedAnswer(key.id, key.account_id, key.name, key.hint) for key in keys]
    )


class LeakRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Since when uses are wanted (left out, since the key was issued); and why."""

    since: datetime | None = None
    reason: Reason | None = None


class DayOfUse(msgspec.Struct, frozen=True, kw_only=True):
    """The verifications of a day (UTC) with this outcome."""

    day: date
    outcome: str
    verifications: int
    cost: int
    first_at: datetime
    last_at: datetime


class LabelOfUse(msgspec.Struct, frozen=True, kw_only=True):
    """Verifications for which callers said the same: a tag, the resource or the model."""

    kind: Literal["tag", "resource", "model"]
    value: str
    outcome: str
    verifications: int
    first_at: datetime
    last_at: datetime


class LeakAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The key is revoked; and how it was used.

    `days` and `labels` have all that was counted before `complete_until`; both are null where that
    can't be read at present, for the reason in `incomplete`. `uses` and `last_used_at` are of the
    key's whole life, late by a few seconds. Addresses are not recorded with verifications:
    `addresses` is null.
    """

    key_id: str
    account_id: str
    hint: str
    generation: int
    revoked_at: datetime
    since: datetime
    last_used_at: datetime | None
    uses: Uses
    days: list[DayOfUse] | None
    labels: list[LabelOfUse] | None
    complete_until: datetime | None
    incomplete: str | None
    addresses: None = None


def leak_answer(report: LeakReport) -> LeakAnswer:
    """The report as it is answered."""
    key, trail = report.key, report.trail
    assert key.revoked_at is not None
    return LeakAnswer(
        key_id=key.id,
        account_id=key.account_id,
        hint=key.hint,
        generation=key.generation,
        revoked_at=instant(key.revoked_at),
        since=report.since,
        last_used_at=report.uses.last_used_at,
        uses=Uses(report.uses.valid, report.uses.denied),
        days=None if trail is None else _days(trail.traces),
        labels=None if trail is None else _labels(trail.traces),
        complete_until=None if trail is None else trail.complete_until,
        incomplete=report.trail_problem,
    )


def _days(traces: list[Trace]) -> list[DayOfUse]:
    return [
        DayOfUse(
            day=date.fromisoformat(each.value),
            outcome=each.outcome,
            verifications=each.verifications,
            cost=each.cost,
            first_at=each.first_at,
            last_at=each.last_at,
        )
        for each in traces
        if each.kind == "day"
    ]


def _labels(traces: list[Trace]) -> list[LabelOfUse]:
    return [
        LabelOfUse(
            kind=each.kind,
            value=each.value,
            outcome=each.outcome,
            verifications=each.verifications,
            first_at=each.first_at,
            last_at=each.last_at,
        )
        for each in traces
        if each.kind != "day"
    ]
