"""Claims of accounts: what only one may hold, as rows of a commit."""

from application.ports import Ports
from application.rows import ClaimGoneRow, ClaimRow, Row


def claimed(ports: Ports, kind: str, text: str, account_id: str) -> list[Row]:
    """The account holds this from now on: a row for each pepper in force."""
    return [ClaimRow(kind, digest, account_id) for digest in ports.digests.claims(kind, text)]


def moved(
    ports: Ports, kind: str, before: str | None, after: str | None, account_id: str
) -> list[Row]:
    """What the account held it gives up, and holds the other instead; None: nothing."""
    rows: list[Row] = []
    if before is not None:
        gone = ports.digests.claims(kind, before)
        rows += [ClaimGoneRow(kind, digest, account_id) for digest in gone]
    return rows if after is None else [*rows, *claimed(ports, kind, after, account_id)]
