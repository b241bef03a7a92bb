"""What was mailed, read from the outbox before anybody sends it: for tests without `work`."""

from typing import NamedTuple

import msgspec

from application.mail import Letter, bound_to
from application.ports import Ports
from domain import claims


class Mailed(NamedTuple):
    """One mail that waits: its template, the address, the values."""

    mail_id: str
    template: str
    to: str
    values: dict[str, str]


async def mail_to(ports: Ports, address: str) -> list[Mailed]:
    """The mail that waits for this address, the oldest first."""
    rows = await ports.lookups.rows(  # type: ignore[attr-defined]
        "SELECT mail_id, template, sealed, master_key_id FROM mail WHERE outcome IS NULL "
        "AND address_digest = ANY (%s) ORDER BY created_at, mail_id",
        (ports.digests.claims(claims.EMAIL, claims.email(address)),),
    )
    found = []
    for mail_id, template, sealed, master_key_id in rows:
        plain = ports.vault.open_secret(sealed, master_key_id, bound_to(mail_id))
        letter = msgspec.json.decode(plain, type=Letter)
        found.append(Mailed(mail_id, template, letter.to, letter.values))
    return found


async def last_code(ports: Ports, address: str, template: str | None = None) -> str:
    """The code in the last mail to this address (with this template)."""
    mails = await mail_to(ports, address)
    return next(
        mail.values["code"] for mail in reversed(mails) if template in (None, mail.template)
    )
