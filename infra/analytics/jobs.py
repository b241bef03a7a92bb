"""What goes over the pipe between the server and a query process."""

from typing import Any, Literal

import msgspec

from infra.analytics.refusals import Reason


class S3Access(msgspec.Struct, frozen=True, kw_only=True):
    """Where a lake in S3 is, and as whom it is read. None: as Amazon has it, or nobody."""

    region: str | None = None
    endpoint_url: str | None = None
    key_id: str | None = None
    secret: str | None = None
    session_token: str | None = None


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One query. With `parameters`, `sql` is our own and they are bound to its `$names`; without,
    it is somebody's, and refused unless it only reads.

    With `envelope` the JSON is `{"items": [{name: value}], **envelope, "snapshot": …}`.
    """

    snapshot: str
    lake_root: str
    s3: S3Access | None
    sql: str
    parameters: dict[str, str | None] | None
    format: Literal["json", "csv", "arrow"]
    envelope: dict[str, Any] | None
    rows: int
    answer_bytes: int
    engine_bytes: int
    address_bytes: int
    cpu_seconds: int
    threads: int


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """The first line of an answer. Without a reason, what follows is the answer itself."""

    reason: Reason | None = None
    detail: str = ""
    hint: str | None = None
