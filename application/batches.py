"""Batches: verifications in columns, as their usage event will have them."""

import time
from typing import Any, Protocol

import msgspec

from domain.api_keys import ApiKey
from domain.counters import Rule
from domain.verification import Code, verification_id

# A flush becomes one message, and a NATS server takes 1 MiB as shipped: 6,000 rows without
# labels are at most 136 bytes each there.
MAX_ROWS = 6_000
MAX_LABEL_BYTES = 100_000


class Labels(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a caller says of a verification, for analytics."""

    tags: tuple[str, ...] = ()
    resource: str | None = None
    model: str | None = None


NO_LABELS = Labels()


class Answer(Protocol):
    """Who waits for a row: a future, or what takes its place."""

    def done(self) -> bool: ...

    def set_result(self, result: Any, /) -> None: ...

    def set_exception(self, error: Exception, /) -> None: ...


class Waiting:
    """A row of a batch that waits for its counters: so much of each."""

    __slots__ = ("amounts", "answer", "row", "rules")

    def __init__(
        self,
        row: int,
        rules: tuple[Rule, ...],
        amounts: tuple[int, ...],
        answer: Answer,
    ) -> None:
        self.row = row
        self.rules = rules
        self.amounts = amounts
        self.answer = answer


class Batch:
    """Verifications in columns, as the usage event has them; and who waits for which row."""

    def __init__(self, stream: str, version: int) -> None:
        self.version = version
        self.prefix = verification_id(stream, version, "")
        self.keys: dict[str, int] = {}
        self.accounts: dict[str, int] = {}
        self.at_us: list[int] = []
        self.key: list[int] = []
        self.account: list[int] = []
        self.code: list[str] = []
        self.cost: list[int] = []
        self.judged_at: list[tuple[int, int]] = []
        self.labels: dict[str, dict[str, Any]] = {}
        self.operations: dict[str, str] = {}
        self.waiting: list[Waiting] = []
        self.label_bytes = 0
        self.index: dict[int, int] = {}

    def add(
        self,
        key: ApiKey | None,
        code: Code,
        cost: int,
        labels: Labels,
        position: int,
        operation: str | None = None,
    ) -> int:
        """Append a row; answers its number."""
        row = len(self.code)
        if not self.judged_at or self.judged_at[-1][1] != position:
            self.judged_at.append((row, position))
        self.at_us.append(time.time_ns() // 1000)
        if key is None:
            self.key.append(-1)
            self.account.append(-1)
        else:
            self.key.append(self.keys.setdefault(key.id, len(self.keys)))
            self.account.append(self.accounts.setdefault(key.account_id, len(self.accounts)))
        self.code.append(code)
        self.cost.append(cost)
        if labels is not NO_LABELS and labels != NO_LABELS:
            self.labels[str(row)] = msgspec.to_builtins(labels)
            self.label_bytes += len(msgspec.json.encode(labels))
        if operation is not None:
            self.operations[str(row)] = operation
            self.label_bytes += len(msgspec.json.encode(operation)) + 12
        return row

    @property
    def full(self) -> bool:
        """Whether it is as large as one flush can carry in its time."""
        return len(self.code) >= MAX_ROWS or self.label_bytes >= MAX_LABEL_BYTES

    def fail(self, error: Exception) -> None:
        """Tell everybody who waits that it did not work."""
        for waiting in self.waiting:
            if not waiting.answer.done():
                waiting.answer.set_exception(error)

    def disown(self) -> None:
        """Give up on everybody who waits: their rows stay, and take nothing."""
        for waiting in self.waiting:
            self.code[waiting.row] = "UNAVAILABLE"
        self.waiting = []
