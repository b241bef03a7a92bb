"""The list of accounts as CSV (RFC 4180), in which nothing is a formula.

A spreadsheet computes what begins like a formula, whoever wrote it there: such a cell gets an
apostrophe in front, and all cells are quoted (OWASP, CSV injection; ASVS 5.0 V1.2.10).
"""

from collections.abc import AsyncIterator, Iterable, Sequence

from api.http.account_shapes import AccountListed, listed
from domain.accounts import Account

MEDIA_TYPE = "text/csv"
HEADER_TYPE = "text/csv; header=present"
"""RFC 4180; the framework adds the charset."""
COLUMNS = AccountListed.__struct_fields__
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def asked_for(accept: str) -> bool:
    """Whether this Accept header wants CSV rather than JSON: the first of the two that it names."""
    for each in accept.split(","):
        media_type = each.partition(";")[0].strip().lower()
        if media_type in (MEDIA_TYPE, "application/json"):
            return media_type == MEDIA_TYPE
    return False


async def sheet(pages: AsyncIterator[Sequence[Account]]) -> AsyncIterator[bytes]:
    """The header, and a line for each account, a page at a time."""
    yield _line(COLUMNS).encode()
    async for page in pages:
        yield "".join(_line(_cells(account)) for account in page).encode()


def _cells(account: Account) -> list[str]:
    row = listed(account)
    return [_text(getattr(row, column)) for column in COLUMNS]


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case tuple():
            return " ".join(value)
        case str():
            return value
        case _:
            return f"{value:%Y-%m-%dT%H:%M:%SZ}"


def _line(cells: Iterable[str]) -> str:
    return ",".join(map(cell, cells)) + "\r\n"


def cell(text: str) -> str:
    """The text, quoted, and no formula."""
    if text.startswith(_FORMULA):
        text = "'" + text
    return '"' + text.replace('"', '""') + '"'
