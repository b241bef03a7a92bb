"""Where the lake is kept: a folder, or a bucket of an S3-compatible store.

What is put is there whole or not at all. Names are relative, as in
`usage/date=2026-11-22/000000000001-000000000900.parquet`.
"""

import contextlib
import os
import secrets
import shutil
import threading
from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from urllib.parse import urlsplit

from infra.httpfs import httpfs_path
from projections.lake.statements import Kind, quoted

SNAPSHOT = "analytics.duckdb"
OWNER = "log_id"
"""Names the log whose lake this is: two installations would overwrite each other."""
CONNECT_TIMEOUT_SECONDS = 3
READ_TIMEOUT_SECONDS = 10
HTTP_TIMEOUT_SECONDS = 5


class PlaceUnavailable(Exception):
    """The place can't be written or read now: away, slow, full, or it refuses us."""


class Place(Protocol):
    """Keeps files. Everything here blocks: call it from a thread. Raises PlaceUnavailable."""

    @property
    def snapshot(self) -> Path:
        """Where analytics.duckdb is published: always a local file."""
        ...

    def address(self, name: str) -> str:
        """What DuckDB opens this file by."""
        ...

    def put(self, name: str, file: Path, sha256: str) -> None:
        """Keep a copy of this file under this name, over any older one."""
        ...

    def fetch(self, name: str, folder: Path) -> Path:
        """A local file with these bytes: in this folder, unless it is local already."""
        ...

    def remove(self, name: str) -> None:
        """Forget a file. It is no error if there is none."""
        ...

    def opening(self) -> list[str]:
        """What DuckDB must run before it can open addresses."""
        ...

    def copy_snapshot(self) -> None:
        """Keep a copy of the snapshot beside the files, if that is not where it is."""
        ...

    def claim(self, log_id: str) -> str:
        """The id of the log whose lake this is: this one from now on, if it was nobody's."""
        ...

    def missing(self, kind: Kind, names: Sequence[str]) -> set[str]:
        """Those of these names of one kind that are not there."""
        ...

    def tidy(self, kind: Kind) -> None:
        """Remove what a crash left half written. For whoever holds the follower of this kind:
        a writer that was replaced and still writes fails, and has nothing to lose."""
        ...


def lake_place(
    url: str | None, data_dir: Path, s3_endpoint_url: str | None, s3_region: str | None
) -> Place:
    """The place that the settings name; DATA_DIR/lake if they name none."""
    local = (data_dir / "lake").resolve()
    if url is not None and url.startswith("s3://"):
        return S3Place(url, local / SNAPSHOT, s3_endpoint_url, s3_region)
    return FolderPlace(local if url is None else Path(url).resolve())


class FolderPlace:
    """A folder. A file gets its name when all of its bytes are on the disk."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def snapshot(self) -> Path:
        """In the folder itself."""
        return self._root / SNAPSHOT

    def address(self, name: str) -> str:
        """The absolute path."""
        return str(self._root / name)

    def put(self, name: str, file: Path, sha256: str) -> None:
        """Copy to a hidden name beside the target, flush, rename, flush the folder."""
        try:
            with file.open("rb") as source:
                self._write(name, source)
        except OSError as error:
            raise PlaceUnavailable(str(error)) from error

    def fetch(self, name: str, folder: Path) -> Path:
        """The file itself."""
        return self._root / name

    def remove(self, name: str) -> None:
        """Unlink it."""
        try:
            (self._root / name).unlink(missing_ok=True)
        except OSError as error:
            raise PlaceUnavailable(str(error)) from error

    def opening(self) -> list[str]:
        """Nothing."""
        return []

    def copy_snapshot(self) -> None:
        """It is here."""

    def claim(self, log_id: str) -> str:
        """A small file at the root."""
        owner = self._root / OWNER
        try:
            if not owner.exists():
                self._write(OWNER, BytesIO(log_id.encode()))
            return owner.read_text().strip()
        except OSError as error:
            raise PlaceUnavailable(str(error)) from error

    def missing(self, kind: Kind, names: Sequence[str]) -> set[str]:
        """Asked file by file: a folder that can't be read must not look empty."""
        gone = set()
        for name in names:
            try:
                (self._root / name).stat()
            except FileNotFoundError:
                gone.add(name)
            except OSError as error:
                raise PlaceUnavailable(str(error)) from error
        return gone

    def tidy(self, kind: Kind) -> None:
        """Hidden parts."""
        for part in self._root.glob(f"{kind}/date=*/.*.part"):
            with contextlib.suppress(OSError):
                part.unlink()

    def _write(self, name: str, source: BinaryIO) -> None:
        target = self._root / name
        part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("xb") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)
                copy.flush()
                os.fsync(copy.fileno())
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        sync_folder(target.parent)


class S3Place:
    """A bucket and a prefix. Credentials come the way boto3 finds them. Timeouts are short:
    who waits for a store that is away has a spool to go on with."""

    def __init__(
        self, url: str, snapshot: Path, endpoint_url: str | None, region: str | None
    ) -> None:
        parts = urlsplit(url)
        self._bucket = parts.netloc
        self._prefix = parts.path.strip("/")
        self._snapshot = snapshot
        self._endpoint_url = endpoint_url
        self._region = region
        self._opened: tuple[Any, Any] | None = None
        self._opening_it = threading.Lock()

    @property
    def snapshot(self) -> Path:
        """In the data folder."""
        return self._snapshot

    def address(self, name: str) -> str:
        """The s3:// URL."""
        return f"s3://{self._bucket}/{self._key(name)}"

    def put(self, name: str, file: Path, sha256: str) -> None:
        """One request, which the store checks against the digest."""
        digest = b64encode(bytes.fromhex(sha256)).decode()
        with file.open("rb") as body, _unavailable():
            self._client().put_object(
                Bucket=self._bucket,
                Key=self._key(name),
                Body=body,
                ChecksumSHA256=digest,
                Metadata={"sha256": sha256},
            )

    def fetch(self, name: str, folder: Path) -> Path:
        """Download it."""
        target = folder / name.rpartition("/")[2]
        with _unavailable():
            found = self._client().get_object(Bucket=self._bucket, Key=self._key(name))
            with target.open("wb") as copy:
                shutil.copyfileobj(found["Body"], copy, 1 << 20)
        return target

    def remove(self, name: str) -> None:
        """Delete the object."""
        with _unavailable():
            self._client().delete_object(Bucket=self._bucket, Key=self._key(name))

    def opening(self) -> list[str]:
        """Load httpfs, from its wheel, and say where the store is and who we are."""
        with _unavailable():
            session, _ = self._open()
            credentials = session.get_credentials()
            if credentials is None:
                raise PlaceUnavailable("no AWS credentials found")
            known = credentials.get_frozen_credentials()
        options = ["TYPE s3", f"KEY_ID {quoted(known.access_key)}"]
        options.append(f"SECRET {quoted(known.secret_key)}")
        if known.token:
            options.append(f"SESSION_TOKEN {quoted(known.token)}")
        if region := self._region or session.region_name:
            options.append(f"REGION {quoted(region)}")
        if self._endpoint_url is not None:
            parts = urlsplit(self._endpoint_url)
            secure = "true" if parts.scheme == "https" else "false"
            options += [f"ENDPOINT {quoted(parts.netloc)}", "URL_STYLE 'path'", f"USE_SSL {secure}"]
        return [
            f"LOAD {quoted(str(httpfs_path()))}",
            f"SET http_timeout = {HTTP_TIMEOUT_SECONDS}",  # to connect as well as to read
            "SET http_retries = 1",
            f"CREATE OR REPLACE SECRET lake ({', '.join(options)})",
        ]

    def copy_snapshot(self) -> None:
        """Upload it, as a convenience: readers elsewhere need not find this machine."""
        with self._snapshot.open("rb") as body, _unavailable():
            self._client().put_object(Bucket=self._bucket, Key=self._key(SNAPSHOT), Body=body)

    def claim(self, log_id: str) -> str:
        """A small object at the root. Two that begin in the same moment may both write it, and
        the later one wins: the other finds out when it begins the next time."""
        with _unavailable():
            found = self._owner()
            if found is None:
                self._client().put_object(
                    Bucket=self._bucket, Key=self._key(OWNER), Body=log_id.encode()
                )
                found = self._owner()
            return found or ""

    def missing(self, kind: Kind, names: Sequence[str]) -> set[str]:
        """By a list of what there is."""
        gone = {self._key(name): name for name in names}
        with _unavailable():
            pages = self._client().get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._key(f"{kind}/")):
                for found in page.get("Contents", ()):
                    gone.pop(found["Key"], None)
        return set(gone.values())

    def tidy(self, kind: Kind) -> None:
        """A store shows whole objects only."""

    def _owner(self) -> str | None:
        try:
            found = self._client().get_object(Bucket=self._bucket, Key=self._key(OWNER))
        except self._client().exceptions.NoSuchKey:
            return None
        body: bytes = found["Body"].read()
        return body.decode().strip()

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name

    def _client(self) -> Any:
        return self._open()[1]

    def _open(self) -> tuple[Any, Any]:
        with self._opening_it:
            if self._opened is None:
                import boto3
                from botocore.config import Config

                session = boto3.session.Session(region_name=self._region)
                config = Config(
                    connect_timeout=CONNECT_TIMEOUT_SECONDS,
                    read_timeout=READ_TIMEOUT_SECONDS,
                    retries={"total_max_attempts": 2, "mode": "standard"},
                    max_pool_connections=4,
                    s3={"addressing_style": "path"} if self._endpoint_url else {},
                )
                client = session.client("s3", endpoint_url=self._endpoint_url, config=config)
                self._opened = (session, client)
            return self._opened


@contextlib.contextmanager
def _unavailable() -> Any:
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

    try:
        yield
    except (BotoCoreError, ClientError, HTTPClientError, Boto3Error, OSError) as error:
        raise PlaceUnavailable(str(error)) from error


def sync_folder(folder: Path) -> None:
    """Put the names of a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
