"""Claims: what only one account may hold at a time. Kept as keyed digests, gone on erasure.

This module fixes what counts as the same address or name; the digest is made outside.
"""

import re
import unicodedata

from domain.errors import InvalidCommand

EMAIL = "email"
USERNAME = "username"

_EMAIL = re.compile(
    r"[^\s@\x00-\x1f\x7f\ud800-\udfff\"(),:;<>\[\\\]]{1,64}@(?:[a-z0-9-]{1,63}\.)+[a-z0-9-]{2,63}"
)
_USERNAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{1,30}[a-z0-9])")


def email(text: str) -> str:
    """The address as it is compared: NFKC, trimmed, lower case (no provider of note tells
    case apart in the local part, and a person never does).

    Raises InvalidCommand for what can't be an address.
    """
    address = unicodedata.normalize("NFKC", text).strip().lower()
    local, _, host = address.rpartition("@")
    if host and not host.isascii():
        try:
            address = f"{local}@{host.encode('idna').decode()}"
        except UnicodeError:
            address = ""
    if len(address) > 254 or not address.isprintable() or _EMAIL.fullmatch(address) is None:
        raise InvalidCommand("email", "not an email address")
    return address


def username(text: str) -> str:
    """The username as it is compared: lower case. Usernames are public."""
    name = text.strip().lower()
    if _USERNAME.fullmatch(name) is None:
        raise InvalidCommand(
            "username",
            "3 to 32 characters a-z 0-9 . _ -, beginning and ending with a letter or digit",
        )
    return name


def of_name(text: str) -> tuple[str, str]:
    """Kind and text of the claim that a name at a sign-in stands for: an address, or a username
    with or without `@` before it. However it is spelled, it is one. InvalidCommand."""
    name = text.strip()
    if "@" in name[1:]:
        return EMAIL, email(name)
    return USERNAME, username(name.removeprefix("@"))
