"""What a read model is: tables that a log's events fold into, and nothing else does.

Table names are not qualified: the live tables and those of a rebuild differ in the
connection's search_path only.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from domain.event import Recorded

if TYPE_CHECKING:  # slow to import, and the command line only wants names
    import psycopg

Side = Literal["live only", "rebuilt only"]


class ReadModel(Protocol):
    """Rows of its own in Postgres. It decides nothing, calls nobody, and mints no ids.

    `nouns` are the events that it wants (all, if empty), `tables` those that it alone
    writes, `gather_seconds` how long a busy log may gather before the next batch.
    """

    @property
    def name(self) -> str: ...

    @property
    def log(self) -> Literal["decisions", "usage"]: ...

    @property
    def nouns(self) -> tuple[str, ...]: ...

    @property
    def tables(self) -> tuple[str, ...]: ...

    @property
    def gather_seconds(self) -> float: ...

    async def apply(
        self, connection: "psycopg.AsyncConnection", events: Sequence[Recorded]
    ) -> None:
        """Write what these events change, in the transaction that is open. They are next in
        order after all that was applied before; each comes once."""
        ...


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of one table that the live read model has and the rebuilt one has not, or the other
    way round. `examples` are a few of them, as JSON."""

    table: str
    side: Side
    rows: int
    examples: list[str]


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True):
    """What a rebuild found, and whether the new tables are in the place of the live ones.

    Both were compared at the same position. `stopped_at` and `problem` are those of the live
    follower, where an event stops it: nothing after its checkpoint is in either.
    """

    name: str
    position: int
    differences: list[Difference]
    switched: bool
    stopped_at: int | None = None
    problem: str | None = None
