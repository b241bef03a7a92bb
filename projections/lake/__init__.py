"""The lake: both logs as Parquet by day, for analytics.

    tables.py      what the tables and views hold, with a comment on every column
    rows.py        event -> the JSON line that DuckDB reads
    statements.py  the SQL that turns lines into Parquet, and files into views

Pure: nothing here opens a file or a connection.
"""
