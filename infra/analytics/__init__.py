"""Asking the lake: SQL of other people, in processes that can do nothing but read it.

`queries` is the side of the server: it starts a process for each query, feeds it, bounds it and
ends it, and imports neither DuckDB nor Arrow. `query_process` is that process; what it may do is
taken away in `confinement` before it opens anything in `engine`. `local` is the same engine for
the command line, whose user owns the files anyway.
"""
