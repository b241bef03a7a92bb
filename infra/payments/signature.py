"""Signed webhooks, by the scheme that Stripe documents ("verify webhook signatures manually").

A header holds `t=<Unix seconds>,v1=<hex>`, where v1 is the HMAC-SHA256 of `<t>.<body>` under a
secret that both sides know. While a secret is replaced there is one v1 for each. Other schemes
in the header (v0) count for nothing: to accept the weakest that is offered would be a downgrade.
"""

import hmac
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from hashlib import sha256

from application.errors import WebhookRefused

TOLERANCE_SECONDS = 300
MOST_SIGNATURES = 10

_TIME = re.compile(r"[0-9]{1,12}")
_UNSIGNED = "The signature is missing or wrong."


def sign(secret: bytes, body: bytes, at: int) -> str:
    """The header's value for this body, signed at this Unix second."""
    return f"t={at},v1={_digest(secret, str(at), body)}"


def require_signed(
    header: str,
    headers: Iterable[tuple[bytes, bytes]],
    body: bytes,
    secrets: Sequence[bytes],
    now: datetime,
) -> None:
    """Return if one of the secrets signed these very bytes within the last five minutes.

    Raises WebhookRefused: `signature` for whoever can't sign (nothing more is said), `age` for
    what was well signed at another time. So a notice that was overheard is of no use later.
    """
    name = header.lower().encode()
    given = [value for each, value in headers if each == name]
    if len(given) != 1:  # of two, nobody could say which one counts
        raise WebhookRefused("signature", _UNSIGNED)
    times, signatures = _parts(given[0].decode("latin-1"))
    if len(times) != 1 or _TIME.fullmatch(times[0]) is None or not signatures:
        raise WebhookRefused("signature", _UNSIGNED)
    right = False
    for secret in secrets:
        expected = _digest(secret, times[0], body).encode()
        for signature in signatures[:MOST_SIGNATURES]:
            # No early end: how long this takes says nothing about what was right.
            right |= hmac.compare_digest(expected, signature.encode("latin-1"))
    if not right:
        raise WebhookRefused("signature", _UNSIGNED)
    # A clock that is wrong shows here, too, and not as credits that never come.
    if abs(now.timestamp() - int(times[0])) > TOLERANCE_SECONDS:
        detail = f"The notice was signed more than {TOLERANCE_SECONDS} seconds from now."
        raise WebhookRefused("age", detail)


def _parts(value: str) -> tuple[list[str], list[str]]:
    times, signatures = [], []
    for part in value.split(","):
        scheme, _, text = part.strip().partition("=")
        if scheme == "t":
            times.append(text)
        elif scheme == "v1":
            signatures.append(text)
    return times, signatures


def _digest(secret: bytes, at: str, body: bytes) -> str:
    return hmac.new(secret, at.encode() + b"." + body, sha256).hexdigest()
