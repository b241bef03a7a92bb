"""The read model `accounts`: every account as it stands, nothing personal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from domain.accounts import Account, evolve
from domain.event import Recorded
from projections.rows import fold, upsert, write

if TYPE_CHECKING:  # slow to import, and the command line only wants names
    import psycopg

_COLUMNS = {
    "account_id": "text",
    "username": "text",
    "kind": "text",
    "actor_type": "text",
    "status": "text",
    "plan": "text",
    "roles": "text[]",
    "email_verified": "boolean",
    "registered_at": "timestamptz",
    "changed_at": "timestamptz",
    "external_id": "text",
    "version": "bigint",
    "position": "bigint",
    "state": "text",
}
_UPSERT = upsert("account_list", _COLUMNS)
_SELECT = b"SELECT account_id, version, state FROM account_list WHERE account_id = ANY (%s)"
_DECODER = msgspec.json.Decoder(Account)


class AccountList:
    """Implements projections.read_model.ReadModel on the table account_list."""

    name = "accounts"
    log: Literal["decisions"] = "decisions"
    nouns = ("account",)
    tables = ("account_list",)
    gather_seconds = 0.0

    async def apply(
        self, connection: "psycopg.AsyncConnection", events: Sequence[Recorded]
    ) -> None:
        """Fold with the domain's own evolve, from the states that the table holds."""
        folded = await fold(connection, events, _SELECT, _DECODER, evolve)
        await write(connection, _UPSERT, [_row(*each) for each in folded.values()])


def _row(account: Account, last: Recorded) -> dict[str, object]:
    return {
        "account_id": account.id,
        "username": account.username,
        "kind": account.kind,
        "actor_type": account.actor_type,
        "status": account.status,
        "plan": account.plan,
        "roles": account.roles,
        "email_verified": account.email_verified,
        "registered_at": account.registered_at,
        "changed_at": last.metadata.at,
        "external_id": account.external_id,
        "version": last.version,
        "position": last.position,
        "state": account,
    }
