"""What a secret, a network or an origin in the settings must look like to be accepted."""

import base64
import binascii
import ipaddress
import itertools
import re

from domain import addresses

MAKE_ONE = (
    'python3 -c "import base64,secrets;print(base64.b64encode(secrets.token_bytes(32)).decode())"'
)
# 32 random bytes hold about 30 different values; 16 or fewer never happen by chance.
LEAST_DIFFERENT_BYTES = 17

_ORIGIN = re.compile(r"https?://(?:[a-z0-9-]+(?:\.[a-z0-9-]+)*|\[[0-9a-f:]+\])(?::[0-9]{1,5})?")
_DEFAULT_PORTS = {"https": ":443", "http:": ":80"}


class SettingsError(Exception):
    """One sentence for the operator: which variable, what is wrong, what to do."""


def decode(name: str, raw: str) -> bytes:
    """The 32 bytes of a key or pepper. Raises `SettingsError` if they are malformed or weak."""
    try:
        secret = base64.b64decode(raw, validate=True)
    except (binascii.Error, ValueError):
        raise _refusal(name, "is not base64") from None
    if len(secret) != 32:
        raise _refusal(name, f"holds {len(secret)} bytes, and 32 are needed")
    if _is_weak(secret):
        raise _refusal(name, "is too regular to be random")
    return secret


def networks(variable: str, raw: str) -> tuple[str, ...]:
    """The networks of a comma-separated list, each in its usual form. Raises `SettingsError`."""
    items = [item.strip() for item in raw.split(",") if item.strip()]
    try:
        return tuple(str(ipaddress.ip_network(item, strict=False)) for item in items)
    except ValueError:
        raise SettingsError(
            f"{variable} must be networks such as 10.0.0.0/8, separated by commas,"
            f" and {raw!r} is not."
        ) from None


def exact_networks(variable: str, raw: str) -> tuple[str, ...]:
    """The same, as `domain.addresses` writes them; a network with bits behind its mask is refused,
    because it would let in more than whoever wrote it meant."""
    items = [item.strip() for item in raw.split(",") if item.strip()]
    try:
        return tuple(addresses.canonical(item) for item in items)
    except ValueError as error:
        raise SettingsError(f"{variable}: {raw!r} {error}.") from None


def origins(variable: str, raw: str) -> tuple[str, ...]:
    """The origins (RFC 6454) of a comma-separated list, as browsers write them: scheme and host
    in lower case, no default port, nothing behind. Raises `SettingsError`; for `*`, too: whoever
    lets every page call has to name it."""
    items = tuple(item.strip() for item in raw.split(",") if item.strip())
    for item in items:
        if _ORIGIN.fullmatch(item) is None or item.endswith(_DEFAULT_PORTS[item[:5]]):
            raise SettingsError(
                f"{variable} must be origins as browsers send them, such as"
                f" https://app.example.com, separated by commas, and {item!r} is not."
            )
    return items


def _is_weak(secret: bytes) -> bool:
    steps = {(after - before) % 256 for before, after in itertools.pairwise(secret)}
    typed = all(32 <= byte < 127 for byte in secret)
    return len(set(secret)) < LEAST_DIFFERENT_BYTES or len(steps) < 8 or typed


def _refusal(name: str, problem: str) -> SettingsError:
    return SettingsError(f"TOLLHOUSE_{name} {problem}. Make one with: {MAKE_ONE}")
