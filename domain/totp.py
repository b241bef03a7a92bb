"""Time-based one-time passwords (RFC 6238 over RFC 4226): pure, the instant comes in.

SHA-1, 6 digits and 30 seconds are what every authenticator app understands; HMAC asks nothing
of SHA-1 that it has lost. One step before and after now is accepted, for clocks that disagree
(RFC 6238, 5.2), and a step is good for one sign-in only: which was used last is kept elsewhere.
"""

import hmac
from base64 import b32encode
from typing import Literal
from urllib.parse import quote, urlencode

Hash = Literal["sha1", "sha256", "sha512"]

SECRET_BYTES = 20
"""160 bits, as RFC 4226 (4, R6) recommends."""
DIGITS = 6
STEP_SECONDS = 30
DRIFT_STEPS = 1


def step_at(unix_seconds: float) -> int:
    """Which step of 30 seconds this instant is in."""
    return int(unix_seconds // STEP_SECONDS)


def code(secret: bytes, step: int, digits: int = DIGITS, hash: Hash = "sha1") -> str:
    """The code of a step (RFC 4226, 5.3)."""
    mac = hmac.digest(secret, step.to_bytes(8, "big"), hash)
    offset = mac[-1] & 0x0F
    number = int.from_bytes(mac[offset : offset + 4], "big") & 0x7FFF_FFFF
    return str(number % 10**digits).zfill(digits)


def matching_step(secret: bytes, given: str, unix_seconds: float, after: int) -> int | None:
    """The step that `given` is the code of, if that is near now and later than `after`; None
    otherwise. Spaces in it are of no account: apps show two groups.

    All steps are looked at in constant time, so that nothing is told by how long it took.
    """
    tidy = "".join(given.split())
    if len(tidy) != DIGITS or not (tidy.isascii() and tidy.isdigit()):
        return None
    now = step_at(unix_seconds)
    found = None
    for step in range(now - DRIFT_STEPS, now + DRIFT_STEPS + 1):
        if hmac.compare_digest(code(secret, step), tidy) and step > after:
            found = step
    return found


def base32(secret: bytes) -> str:
    """The secret as people type it into an app."""
    return b32encode(secret).decode().rstrip("=")


def uri(secret: bytes, issuer: str, account: str) -> str:
    """What an app reads from the QR code (the Key URI format of Google Authenticator)."""
    label = quote(f"{issuer}:{account}", safe="@")
    parameters = {
        "secret": base32(secret),
        "issuer": issuer,
        "algorithm": "SHA1",
        "digits": DIGITS,
        "period": STEP_SECONDS,
    }
    return f"otpauth://totp/{label}?{urlencode(parameters, quote_via=quote)}"
