"""What the command line needs from the composition root, which `main` hands in."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, BinaryIO, Literal, Protocol

from application.ports import Found, LakeColumn, LakeTable, Ports, SheetFormat
from projections.read_model import Rebuilt


class Opened(Protocol):
    """An open house."""

    @property
    def ports(self) -> Ports: ...


class Sheet(Protocol):
    """The answer to a query."""

    @property
    def columns(self) -> Sequence[LakeColumn]: ...

    def rows(self, most: int) -> list[list[Any]]: ...

    def write(self, format: SheetFormat, sink: BinaryIO) -> int: ...


class Lake(Protocol):
    """The lake of this data folder. All but `progress` and `interrupt` is for one thread, which
    is not the main one: it may read nothing else afterwards."""

    def tables(self) -> Sequence[LakeTable]: ...

    def ask(self, sql: str) -> Sheet: ...

    def progress(self) -> float | None: ...

    def interrupt(self) -> None: ...


class Wiring(Protocol):
    """Start, and be let in."""

    def up(self, say: Callable[[str], None]) -> None: ...

    def serve(self, descriptor: int | None, first: bool, say: Callable[[str], None]) -> None: ...

    def work(self, only: Sequence[str]) -> None: ...

    def event_at(self, log: Literal["decisions", "usage"], position: int) -> Found | None: ...

    def rebuild(self, name: str, check: bool, progress: Callable[[int, int], None]) -> Rebuilt: ...

    def migrate(self, say: Callable[[str], None]) -> None: ...

    def opened(self) -> AbstractAsyncContextManager[Opened]: ...

    def http_url(self) -> str: ...

    def signed_test_notice(self, body: bytes) -> dict[str, str]: ...

    def lake(self) -> Lake: ...

    def version(self) -> str: ...

    def refusals(self) -> tuple[type[Exception], ...]: ...
