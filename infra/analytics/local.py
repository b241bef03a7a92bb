"""The lake for the command line: the same engine and the same locks, without the caps.

Who asks owns the files; what is kept from them is only to change something by mistake.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from application.errors import AnalyticsUnavailable, QueryNotAnswered
from application.ports import LakeColumn, LakeTable, SheetFormat
from infra.analytics.jobs import S3Access
from infra.analytics.refusals import Refusal

if TYPE_CHECKING:
    import duckdb


class LocalLake:
    """Implements api.cli.wiring.Lake.

    Everything but `progress` and `interrupt` belongs into one thread, not the main one: that
    thread loses its rights on all other files. Raises QueryNotAnswered, AnalyticsUnavailable.
    """

    def __init__(
        self,
        snapshot: Path,
        lake_root: str,
        s3: S3Access | Callable[[], S3Access] | None = None,
    ) -> None:
        self._snapshot = snapshot.absolute()
        self._lake_root = lake_root if s3 else str(Path(lake_root).absolute())
        self._s3 = s3
        self._connection: duckdb.DuckDBPyConnection | None = None

    def tables(self) -> list[LakeTable]:
        """Every view and table, in the order of their names."""
        with _understood():
            connection = self._opened()
            found = connection.execute(
                "SELECT view_name, comment FROM duckdb_views() WHERE NOT internal UNION ALL"
                " SELECT table_name, comment FROM duckdb_tables() WHERE NOT internal ORDER BY 1"
            ).fetchall()
            columns = connection.execute(
                "SELECT table_name, column_name, data_type, comment FROM duckdb_columns()"
                " WHERE NOT internal ORDER BY table_name, column_index"
            ).fetchall()
        by_table: dict[str, list[LakeColumn]] = {name: [] for name, _ in found}
        for table, name, type, comment in columns:
            by_table[table].append(LakeColumn(name, type, False, comment))
        return [LakeTable(name, comment, by_table[name]) for name, comment in found]

    def ask(self, sql: str) -> "LocalSheet":
        """The answer to one statement that only reads; most of the work comes with its rows."""
        from infra.analytics.engine import one_select

        with _understood():
            connection = self._opened()
            return LocalSheet(connection.sql(one_select(connection, sql)))

    def progress(self) -> float | None:
        """The share of the running query that is done, from 0 to 1, if DuckDB can tell."""
        connection = self._connection
        percent = -1.0 if connection is None else connection.query_progress()
        return percent / 100 if 0 <= percent <= 100 else None

    def interrupt(self) -> None:
        """Stop the running query, which then raises QueryNotAnswered."""
        if self._connection is not None:
            self._connection.interrupt()

    def _opened(self) -> "duckdb.DuckDBPyConnection":
        if self._connection is None:
            from infra.analytics.engine import S3, Caps, open_snapshot
            from infra.analytics.reach import confine_to_lake

            access = self._s3() if callable(self._s3) else self._s3
            confine_to_lake(self._snapshot, self._lake_root, s3=access is not None, arrow=True)
            s3 = None if access is None else S3(**msgspec.structs.asdict(access))
            caps = Caps(progress=True)
            self._connection = open_snapshot(self._snapshot, self._lake_root, s3, caps)
        return self._connection


class LocalSheet:
    """Implements api.cli.wiring.Sheet."""

    def __init__(self, relation: "duckdb.DuckDBPyRelation") -> None:
        from infra.analytics import encoding

        self._relation = relation
        self._columns = encoding.columns_of(relation)
        self.columns = [
            LakeColumn(each.name, each.type, each.numeric, None) for each in self._columns
        ]

    def rows(self, most: int) -> list[list[Any]]:
        """The first rows, at most so many, as values that JSON has."""
        with _understood():
            return [row for batch in self._batches(self._relation.limit(most)) for row in batch]

    def write(self, format: SheetFormat, sink: BinaryIO) -> int:
        """All rows; answers how many they were. JSON is an object a line."""
        from infra.analytics import encoding

        with _understood():
            if format == "arrow":
                return encoding.write_arrow(sink, self._relation)
            if format == "parquet":
                return encoding.write_parquet(sink, self._relation)
            batches = self._batches(self._relation)
            if format == "csv":
                return encoding.write_csv(sink, self._columns, batches)
            return encoding.write_lines(sink, self._columns, batches)

    def _batches(self, relation: "duckdb.DuckDBPyRelation") -> Iterable[list[list[Any]]]:
        from infra.analytics import encoding

        return encoding.rows_of(encoding.plain(relation, self._columns), self._columns)


@contextmanager
def _understood() -> Iterator[None]:
    """Turns what goes wrong into what the command line knows."""
    from infra.analytics.engine import refusing

    try:
        with refusing():
            yield
    except Refusal as refusal:
        if refusal.reason == "unavailable":
            raise AnalyticsUnavailable(refusal.detail) from None
        raise QueryNotAnswered(refusal.reason, refusal.detail, refusal.hint) from None
