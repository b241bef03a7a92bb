"""Password hashes of other systems: which forms are taken, and how much work they may ask for.

A hash that comes in says what checking it costs, and whoever imports may not be who pays. So
what asks for more than MOST is refused on the way in, and again when it is checked.

    bcrypt      $2a$ $2b$ $2x$ $2y$; Django's `bcrypt$` and `bcrypt_sha256$`
    argon2      $argon2id$ $argon2i$ $argon2d$ (PHC, RFC 9106); Django's `argon2$`
    scrypt      $scrypt$ (PHC, passlib), `scrypt:N:r:p$` (Werkzeug), `scrypt$` (Django)
    pbkdf2      $pbkdf2-sha256$ (PHC, passlib), `pbkdf2:sha256:n$` (Werkzeug), `pbkdf2_sha256$`
                (Django); with SHA-1, SHA-256 and SHA-512
"""

import base64
import binascii
import re
from typing import Literal, NamedTuple

MAX_CHARACTERS = 512

BCRYPT_MOST_ROUNDS = 14
ARGON2_MOST_KIB = 262_144
ARGON2_MOST_TIME = 12
ARGON2_MOST_WORK_KIB = 1_048_576
"""Memory times passes."""
SCRYPT_MOST_BYTES = 134_217_728
SCRYPT_MOST_WORK_BYTES = 536_870_912
"""Memory times parallelism."""
PBKDF2_MOST_ITERATIONS = 2_000_000

HashName = Literal["sha1", "sha256", "sha512"]


class Bcrypt(NamedTuple):
    """`hash` in modular crypt format. `of_sha256`: of the password's SHA-256 in hex."""

    hash: bytes
    of_sha256: bool


class Argon2(NamedTuple):
    """`hash` in PHC string format."""

    hash: str


class Scrypt(NamedTuple):
    """RFC 7914."""

    n: int
    r: int
    p: int
    salt: bytes
    digest: bytes


class Pbkdf2(NamedTuple):
    """RFC 8018."""

    name: HashName
    iterations: int
    salt: bytes
    digest: bytes


Foreign = Bcrypt | Argon2 | Scrypt | Pbkdf2

_BCRYPT = re.compile(r"\$2[abxy]?\$(\d\d)\$[./A-Za-z0-9]{53}")
_ARGON2 = re.compile(
    r"\$argon2(?:id|i|d)\$(?:v=(?:16|19)\$)?m=(\d{1,8}),t=(\d{1,4}),p=(\d{1,3})"
    r"\$([A-Za-z0-9+/]{8,128})\$([A-Za-z0-9+/]{16,172})"
)
_PHC_SCRYPT = re.compile(
    r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,3}),p=(\d{1,3})\$([\w+/.-]{2,200})\$([\w+/.-]{22,172})"
)
_WERKZEUG_SCRYPT = re.compile(
    r"scrypt:(\d{1,9}):(\d{1,3}):(\d{1,3})\$([^$]{1,200})\$([0-9a-f]{32,256})"
)
_DJANGO_SCRYPT = re.compile(
    r"scrypt\$(\d{1,9})\$([^$]{1,200})\$(\d{1,3})\$(\d{1,3})\$([A-Za-z0-9+/=]{22,180})"
)
_PHC_PBKDF2 = re.compile(
    r"\$pbkdf2(?:-(sha1|sha256|sha512))?\$(?:i=)?(\d{1,9})(?:,l=\d{1,3})?"
    r"\$([\w+/.-]{0,200})\$([\w+/.-]{22,172})"
)
_WERKZEUG_PBKDF2 = re.compile(
    r"pbkdf2:(sha1|sha256|sha512)(?::(\d{1,9}))?\$([^$]{1,200})\$([0-9a-f]{32,256})"
)
_DJANGO_PBKDF2 = re.compile(
    r"pbkdf2_(sha1|sha256|sha512)\$(\d{1,9})\$([^$]{1,200})\$([A-Za-z0-9+/=]{22,180})"
)
_WERKZEUG_DEFAULT_ITERATIONS = 150_000


def parse(text: str) -> Foreign:
    """The hash, understood. ValueError says in words why it can't be taken; never with the
    hash itself."""
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"at most {MAX_CHARACTERS} characters")
    if text.startswith("bcrypt_sha256$") and not text.startswith("bcrypt_sha256$$v="):
        return _bcrypt(text.removeprefix("bcrypt_sha256$"), of_sha256=True)
    if text.startswith(("$2", "bcrypt$")):
        return _bcrypt(text.removeprefix("bcrypt$"), of_sha256=False)
    if text.startswith(("$argon2", "argon2$")):
        return _argon2("$" + text.removeprefix("argon2$").removeprefix("$"))
    if text.startswith(("$scrypt$", "scrypt:", "scrypt$")):
        return _scrypt(text)
    if text.startswith(("$pbkdf2", "pbkdf2")):
        return _pbkdf2(text)
    raise ValueError("no hash of bcrypt, argon2, scrypt or pbkdf2 in a known form")


def _bcrypt(text: str, *, of_sha256: bool) -> Bcrypt:
    found = _BCRYPT.fullmatch(text)
    if found is None:
        raise ValueError("not a whole bcrypt hash")
    if not 4 <= int(found[1]) <= BCRYPT_MOST_ROUNDS:
        raise ValueError(f"bcrypt with a cost of 4 to {BCRYPT_MOST_ROUNDS} only")
    # $2x$ and $2$ are of broken implementations: no password would ever be right.
    if text.startswith(("$2x$", "$2$")):
        raise ValueError("bcrypt as $2a$, $2b$ or $2y$ only")
    return Bcrypt(text.encode(), of_sha256)


def _argon2(text: str) -> Argon2:
    found = _ARGON2.fullmatch(text)
    if found is None:
        raise ValueError("not a whole argon2 hash")
    memory, time, parallelism = int(found[1]), int(found[2]), int(found[3])
    if not (1 <= parallelism <= 64 and 8 * parallelism <= memory and time >= 1):
        raise ValueError("argon2 with parameters that RFC 9106 does not allow")
    if memory > ARGON2_MOST_KIB or time > ARGON2_MOST_TIME or memory * time > ARGON2_MOST_WORK_KIB:
        raise ValueError(
            f"argon2 with at most {ARGON2_MOST_KIB} KiB, {ARGON2_MOST_TIME} passes, and "
            f"{ARGON2_MOST_WORK_KIB} KiB in all passes only"
        )
    return Argon2(text)


def _scrypt(text: str) -> Scrypt:
    if found := _PHC_SCRYPT.fullmatch(text):
        n, r, p = 1 << min(int(found[1]), 63), int(found[2]), int(found[3])
        return _bounded(Scrypt(n, r, p, _bytes(found[4]), _bytes(found[5])))
    if found := _WERKZEUG_SCRYPT.fullmatch(text):
        n, r, p = int(found[1]), int(found[2]), int(found[3])
        return _bounded(Scrypt(n, r, p, found[4].encode(), _hex(found[5])))
    if found := _DJANGO_SCRYPT.fullmatch(text):
        n, r, p = int(found[1]), int(found[3]), int(found[4])
        return _bounded(Scrypt(n, r, p, found[2].encode(), _bytes(found[5])))
    raise ValueError("not a whole scrypt hash")


def _bounded(found: Scrypt) -> Scrypt:
    n, r, p = found.n, found.r, found.p
    if n < 2 or n & (n - 1) or r < 1 or p < 1:
        raise ValueError("scrypt with parameters that RFC 7914 does not allow")
    if 128 * n * r > SCRYPT_MOST_BYTES or 128 * n * r * p > SCRYPT_MOST_WORK_BYTES:
        raise ValueError(
            f"scrypt with at most {SCRYPT_MOST_BYTES} bytes, and {SCRYPT_MOST_WORK_BYTES} for "
            "all of its parallelism only"
        )
    return found


def _pbkdf2(text: str) -> Pbkdf2:
    if found := _PHC_PBKDF2.fullmatch(text):
        return _counted(found[1] or "sha1", int(found[2]), _bytes(found[3]), _bytes(found[4]))
    if found := _WERKZEUG_PBKDF2.fullmatch(text):
        iterations = int(found[2] or _WERKZEUG_DEFAULT_ITERATIONS)
        return _counted(found[1], iterations, found[3].encode(), _hex(found[4]))
    if found := _DJANGO_PBKDF2.fullmatch(text):
        return _counted(found[1], int(found[2]), found[3].encode(), _bytes(found[4]))
    raise ValueError("not a whole pbkdf2 hash")


def _counted(name: str, iterations: int, salt: bytes, digest: bytes) -> Pbkdf2:
    if not 1 <= iterations <= PBKDF2_MOST_ITERATIONS:
        raise ValueError(f"pbkdf2 with 1 to {PBKDF2_MOST_ITERATIONS} iterations only")
    known: HashName = "sha1" if name == "sha1" else "sha256" if name == "sha256" else "sha512"
    return Pbkdf2(known, iterations, salt, digest)


def _bytes(text: str) -> bytes:
    """Base64 as any of them writes it: padded or not, with `.` for `+` (passlib), URL-safe."""
    standard = text.rstrip("=").replace(".", "+").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("salt or digest is not base64") from None


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise ValueError("the digest is not hex") from None
