"""DuckDB's extension for s3:// addresses, out of its wheel: nothing is fetched at run time."""

from functools import cache
from pathlib import Path


@cache
def httpfs_path() -> Path:
    """Where it is. Looked for once: a confined process may not look any more later."""
    import duckdb_extension_httpfs

    folder = Path(duckdb_extension_httpfs.__file__).parent
    return next(folder.rglob("httpfs.duckdb_extension"))
