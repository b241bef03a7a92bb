"""The read model `keys`: every API key as it stands, without digests and pepper."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import msgspec

from domain.api_keys import ApiKey, ApiKeyEvent, evolve
from domain.event import Recorded
from projections.rows import fold, upsert, write

if TYPE_CHECKING:  # slow to import, and the command line only wants names
    import psycopg

_COLUMNS = {
    "key_id": "text",
    "account_id": "text",
    "name": "text",
    "hint": "text",
    "kind": "text",
    "environment": "text",
    "enabled": "boolean",
    "expires_at": "timestamptz",
    "issued_at": "timestamptz",
    "revoked_at": "timestamptz",
    "external_id": "text",
    "generation": "integer",
    "version": "bigint",
    "position": "bigint",
    "state": "text",
}
_UPSERT = upsert("key_list", _COLUMNS)
_SELECT = b"SELECT key_id, version, state FROM key_list WHERE key_id = ANY (%s)"
_DECODER = msgspec.json.Decoder(ApiKey)


class KeyList:
    """Implements projections.read_model.ReadModel on the table key_list."""

    name = "keys"
    log: Literal["decisions"] = "decisions"
    nouns = ("api_key",)
    tables = ("key_list",)
    gather_seconds = 0.0

    async def apply(
        self, connection: "psycopg.AsyncConnection", events: Sequence[Recorded]
    ) -> None:
        """Fold with the domain's own evolve, from the states that the table holds."""
        folded = await fold(connection, events, _SELECT, _DECODER, _evolve)
        await write(connection, _UPSERT, [_row(*each) for each in folded.values()])


def without_digest(key: ApiKey) -> ApiKey:
    """The key as read models keep it: they are copied around, and digests stay where keys are
    looked up."""
    if not key.digest and not key.pepper_id and key.previous_digest is None:
        return key
    return msgspec.structs.replace(key, digest=b"", pepper_id="", previous_digest=None)


def _evolve(state: ApiKey | None, event: ApiKeyEvent, at: datetime) -> ApiKey:
    return without_digest(evolve(state, event, at))


def _row(key: ApiKey, last: Recorded) -> dict[str, object]:
    return {
        "key_id": key.id,
        "account_id": key.account_id,
        "name": key.name,
        "hint": key.hint,
        "kind": key.kind,
        "environment": key.environment,
        "enabled": key.enabled,
        "expires_at": _instant(key.expires_at),
        "issued_at": _instant(key.issued_at),
        "revoked_at": _instant(key.revoked_at),
        "external_id": key.external_id,
        "generation": key.generation,
        "version": last.version,
        "position": last.position,
        "state": key,
    }


def _instant(unix_seconds: float | None) -> datetime | None:
    return None if unix_seconds is None else datetime.fromtimestamp(unix_seconds, UTC)
