"""The lineage of a key: rotation with an overlap, keys from elsewhere, their re-hashing.

One key, whatever its secret: the same id, counters, limits and history. At most two secrets
work at a time, and both draw on the same counters.
"""

from datetime import datetime, timedelta

import msgspec

from domain.api_key_rules import checked_hint, checked_overlap
from domain.api_keys import (
    Algorithm,
    ApiKey,
    ApiKeyEvent,
    ApiKeyImported,
    ApiKeyRehashed,
    ApiKeyRotated,
    IssueApiKey,
    issued_fields,
)
from domain.errors import KeyRevoked

HASH_BYTES: dict[Algorithm, int] = {
    "sha256": 32,
    "sha512": 64,
    "blake2b-256": 32,
    "hmac-sha256": 32,
}
"""How long a hash is under each algorithm."""


class Secret(msgspec.Struct, frozen=True):
    """What may be kept of a secret: its digest, under which pepper, and its hint."""

    digest: bytes
    pepper_id: str
    hint: str


def rotate(key: ApiKey, new: Secret, overlap_seconds: int, now: datetime) -> list[ApiKeyEvent]:
    """Another secret for this key; the present one works for so long beside it.

    An overlap that still runs ends here: two secrets work at most. Raises KeyRevoked,
    InvalidCommand.
    """
    if key.revoked_at is not None:
        raise KeyRevoked(key.id)
    overlap = timedelta(seconds=checked_overlap(overlap_seconds))
    return [
        ApiKeyRotated(
            digest=new.digest,
            pepper_id=new.pepper_id,
            hint=new.hint,
            generation=key.generation + 1,
            previous_until=now + overlap if overlap else None,
        )
    ]


def bring_in(
    command: IssueApiKey, key_id: str, secret: Secret, algorithm: Algorithm, now: datetime
) -> list[ApiKeyEvent]:
    """The facts of a key that was made elsewhere. InvalidCommand names the field at fault."""
    return [
        ApiKeyImported(
            key_id=key_id,
            digest=secret.digest,
            pepper_id=secret.pepper_id,
            hint=checked_hint(secret.hint),
            algorithm=algorithm,
            **issued_fields(command, now),
        )
    ]


def rehash(key: ApiKey, digest: bytes, pepper_id: str) -> list[ApiKeyEvent]:
    """The present secret of an imported key is digested like our own from now on.

    Nothing to do for one that is already, or that has ended.
    """
    if key.algorithm is None or key.revoked_at is not None:
        return []
    return [ApiKeyRehashed(digest=digest, pepper_id=pepper_id)]
