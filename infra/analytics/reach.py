"""What a thread that asks the lake can reach: the lake, and what DuckDB can't do without."""

from pathlib import Path

from infra.analytics.confinement import see_only
from infra.httpfs import httpfs_path

_SYSTEM = (
    "/proc/self/cgroup",
    "/proc/self/mountinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/sys/devices/system/cpu/online",
    "/sys/fs/cgroup",
)
"""Where DuckDB looks how large the machine is; it aborts when it sees them and can't open them."""

_SYSTEM_FOR_S3 = (
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/lib/ssl",
    "/usr/local/share/ca-certificates",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
)
"""What a process needs to find a host and to trust it."""


def confine_to_lake(snapshot: str | Path, lake_root: str, *, s3: bool, arrow: bool) -> None:
    """Keep this thread, and those that it starts, to reading the lake, as far as the kernel can.

    Imports all that asking needs: afterwards nothing could be read any more.
    """
    import encodings.idna  # noqa: F401
    import json  # noqa: F401

    import duckdb  # noqa: F401
    import pytz  # noqa: F401  # duckdb asks for it

    from infra.analytics import encoding, engine  # noqa: F401

    if arrow:
        import pyarrow
        import pyarrow.dataset
        import pyarrow.ipc
        import pyarrow.parquet  # noqa: F401
    # The folder of the snapshot too: its name may come to mean a newer file before it is opened.
    readable: list[str | Path] = [Path(snapshot).parent, *_SYSTEM]
    readable += [httpfs_path(), *_SYSTEM_FOR_S3] if s3 else [lake_root]
    see_only(readable, network=s3)
