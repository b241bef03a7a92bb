"""What queries of the lake can be refused with; `codes` is where all codes are."""

from api.http.code import Code

ANALYTICS = (
    Code(
        "QUERY_REFUSED",
        400,
        "The query does more than read",
        "The SQL is not one statement that only reads, or it reaches for a file or an address "
        "outside the lake. `detail` names what it is. Nothing was done.",
        "Send one SELECT (FROM, WITH, VALUES, DESCRIBE, SUMMARIZE, SHOW, EXPLAIN of these are "
        "fine, too) on the tables of the lake.",
        "This is ATTACH.",
        "sql",
    ),
    Code(
        "QUERY_TOO_LONG",
        422,
        "The query takes too long",
        "The query was not done within 10 seconds and was stopped.",
        "Ask about fewer days (`WHERE date >= …` reads only their files), aggregate before "
        "joining, or open the lake yourself: `tollhouse sql` has no such limit.",
        "The query was not done within 10 seconds.",
        "sql",
    ),
    Code(
        "QUERY_TOO_LARGE",
        422,
        "The query or its answer is too large",
        "The query needs more than 1 GB of memory, or its answer has more than 100,000 rows or "
        "64 MB. `detail` says which.",
        "Aggregate, select fewer rows or columns, or add LIMIT.",
        "The answer has more than 100,000 rows.",
        "sql",
    ),
    Code(
        "QUERY_FAILED",
        422,
        "The query broke the engine",
        "DuckDB failed on this query, in a process of its own: nothing else is harmed.",
        "Write the query in another way. If it is an ordinary one, report it with its "
        "`request_id`.",
        "DuckDB failed on this query.",
        "sql",
    ),
    Code(
        "ANALYTICS_UNAVAILABLE",
        503,
        "There is no lake to ask",
        "The lake has not been written yet, or can't be read, or this server has none.",
        "See that `tollhouse work` runs (`tollhouse up` runs it, too), and repeat the request as "
        "`Retry-After` says.",
        "The lake has not been written yet.",
    ),
)
