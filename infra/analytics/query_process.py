"""One query, in a process of its own that can do nothing but answer it.

Started by `queries` as `python -I query_process.py PARENT ROOT`, with an empty environment. Reads
a `Job` as JSON from standard input; writes one line of JSON, `{"ok": true}` or the refusal, and
after it the answer. It never talks to anybody else, and ends.
"""

import os
import sys
import time
from typing import TYPE_CHECKING

if __name__ == "__main__":  # isolated: the place of the code is not on the path
    sys.path.append(sys.argv[2])

import io

import msgspec

from infra.analytics.confinement import die_with, stay_small
from infra.analytics.jobs import Job, Outcome
from infra.analytics.reach import confine_to_lake
from infra.analytics.refusals import Refusal

if TYPE_CHECKING:
    import duckdb


def main() -> None:
    """Read the job, give up every right that it does not need, answer."""
    die_with(int(sys.argv[1]))
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    try:
        body = _answer(job)
        outcome = Outcome()
    except Refusal as refusal:
        body = b""
        outcome = Outcome(reason=refusal.reason, detail=refusal.detail, hint=refusal.hint)
    except MemoryError:
        body = b""
        outcome = Outcome(reason="too_large", detail="The query needs more memory than it may use.")
    sys.stdout.buffer.write(msgspec.json.encode(outcome) + b"\n" + body)
    sys.stdout.buffer.flush()
    # DuckDB's own end would free its memory page by page; the kernel does it at once.
    os._exit(0)


def _answer(job: Job) -> bytes:
    _confine(job)
    from infra.analytics.engine import S3, Caps, one_select, open_snapshot, refusing

    s3 = None if job.s3 is None else S3(**msgspec.structs.asdict(job.s3))
    caps = Caps(job.engine_bytes, job.threads)
    connection = open_snapshot(job.snapshot, job.lake_root, s3, caps)
    with refusing():
        started = time.perf_counter()
        if job.parameters is None:
            relation = connection.sql(one_select(connection, job.sql))
        else:
            relation = connection.sql(job.sql, params=job.parameters)
        # One more than there may be, so that it shows that there are more.
        body = _encoded(job, connection, relation.limit(job.rows + 1), started)
    if len(body) > job.answer_bytes:
        detail = f"The answer has more than {job.answer_bytes // 1_000_000} MB."
        raise Refusal("too_large", detail, "Aggregate, select fewer columns, or add LIMIT.")
    return body


def _confine(job: Job) -> None:
    stay_small(job.cpu_seconds, job.address_bytes)
    confine_to_lake(job.snapshot, job.lake_root, s3=job.s3 is not None, arrow=job.format == "arrow")


def _encoded(
    job: Job,
    connection: "duckdb.DuckDBPyConnection",
    relation: "duckdb.DuckDBPyRelation",
    started: float,
) -> bytes:
    from infra.analytics import encoding

    columns = encoding.columns_of(relation)
    sink = io.BytesIO()
    if job.format == "arrow":
        _check_count(job, encoding.write_arrow(sink, relation))
        return sink.getvalue()
    rows = encoding.rows_of(encoding.plain(relation, columns), columns)
    if job.format == "csv":
        _check_count(job, encoding.write_csv(sink, columns, rows))
        return sink.getvalue()
    found = encoding.as_json(rows)
    _check_count(job, len(found))
    published = _published(connection)
    if job.envelope is not None:
        names = [column.name for column in columns]
        items = [dict(zip(names, row, strict=True)) for row in found]
        return msgspec.json.encode({"items": items, **job.envelope, "snapshot": published})
    return msgspec.json.encode(
        {
            "columns": [{"name": column.name, "type": column.type} for column in columns],
            "rows": found,
            "row_count": len(found),
            "elapsed_ms": round((time.perf_counter() - started) * 1000, 1),
            "snapshot": published,
        }
    )


def _check_count(job: Job, count: int) -> None:
    if count > job.rows:
        raise Refusal(
            "too_large",
            f"The answer has more than {job.rows:,} rows.",
            "Add LIMIT, or aggregate with GROUP BY.",
        )


def _published(connection: "duckdb.DuckDBPyConnection") -> dict[str, object]:
    row = connection.execute(
        "SELECT replace(replace(published_at::VARCHAR, ' ', 'T'), '+00', 'Z'), usage_position,"
        " events_position, replace(replace(complete_until::VARCHAR, ' ', 'T'), '+00', 'Z')"
        " FROM snapshot"
    ).fetchone()
    names = ("published_at", "usage_position", "events_position", "complete_until")
    return dict(zip(names, row or (None, None, None, None), strict=True))


if __name__ == "__main__":
    main()
