"""What a query needs to know to find the lake: the snapshot, the files, and who may read them."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from infra.analytics.jobs import S3Access
from infra.settings import Settings


class LakeAccess(NamedTuple):
    """`s3` is asked before each query, since credentials may expire; None for a folder."""

    snapshot: Path
    root: str
    s3: Callable[[], S3Access] | None


def lake_access(settings: Settings) -> LakeAccess:
    """Where the lake of these settings is. Its snapshot is a local file in any case."""
    local = settings.data_dir / "lake"
    url = settings.lake_url
    if url is None or not url.startswith("s3://"):
        root = local if url is None else Path(url).expanduser().absolute()
        return LakeAccess(root / "analytics.duckdb", str(root), None)

    def access() -> S3Access:
        session = _session(settings.s3_region)
        found = session.get_credentials()
        known = None if found is None else found.get_frozen_credentials()
        return S3Access(
            region=settings.s3_region or session.region_name,
            endpoint_url=settings.s3_endpoint_url,
            key_id=known and known.access_key,
            secret=known and known.secret_key,
            session_token=known and known.token,
        )

    return LakeAccess(local / "analytics.duckdb", url, access)


@cache
def _session(region: str | None) -> Any:
    # Here, because serve needs it for a lake in S3 only, and it is large.
    import boto3

    return boto3.session.Session(region_name=region)
