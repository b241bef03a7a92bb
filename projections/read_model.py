"""What a read model is: tables that a log's events fold into, and nothing else does.

Table names are not qualified: the live tables and those of a rebuild differ in the
connection's search_path only.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

import psycopg

from domain.event import Recorded


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

    async def apply(self, connection: psycopg.AsyncConnection, events: Sequence[Recorded]) -> None:
        """Write what these events change, in the transaction that is open. They are next in
        order after all that was applied before; each comes once."""
        ...
