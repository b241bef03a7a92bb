"""The lake as use cases need it: queries, and who used what."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

import msgspec

LakeFormat = Literal["json", "csv", "arrow"]
SheetFormat = Literal["json", "csv", "arrow", "parquet"]


class LakeColumn(NamedTuple):
    """A column of the lake, or of an answer; `type` as DuckDB writes it."""

    name: str
    type: str
    numeric: bool
    comment: str | None


class LakeTable(NamedTuple):
    """A table or a view of the lake."""

    name: str
    comment: str | None
    columns: Sequence[LakeColumn]


class UsageWanted(msgspec.Struct, frozen=True, kw_only=True):
    """Usage from `since` up to, not with, `until`, in sums per `group_by`. `account_id` None is
    everybody's."""

    group_by: tuple[Literal["day", "key", "outcome", "model"], ...]
    since: datetime
    until: datetime
    account_id: str | None


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """Verifications of one key that have something in common: a day, a tag, a resource or a
    model, and their outcome."""

    kind: Literal["day", "tag", "resource", "model"]
    value: str
    outcome: str
    verifications: int
    cost: int
    first_at: datetime
    last_at: datetime


class KeyTrail(msgspec.Struct, frozen=True):
    """How a key was used, as the lake has it: all that stands in the usage log up to
    `usage_position`, and so all that was counted before `complete_until`."""

    traces: list[Trace]
    complete_until: datetime | None
    usage_position: int | None


class Analytics(Protocol):
    """Reads the lake as it was last published. Answers whole documents in the format wanted.

    Raises QueryNotAnswered, AnalyticsUnavailable, Overloaded.
    """

    async def query(self, sql: str, format: LakeFormat) -> bytes:
        """The answer to one statement of SQL that only reads. As JSON: columns, rows, row_count,
        elapsed_ms, snapshot."""
        ...

    async def usage(self, wanted: UsageWanted, format: LakeFormat) -> bytes:
        """Counts and costs. As JSON: items, since, until, group_by, snapshot."""
        ...

    async def key_trail(self, key_id: str, since: datetime) -> KeyTrail:
        """How this key was used from this instant on; the most frequent labels only."""
        ...
