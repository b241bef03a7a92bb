"""Checks a password against the hash of another system. Runs in the password workers: it is
meant to be slow, by as much as domain.foreign_hashes lets in."""

import hmac
from hashlib import pbkdf2_hmac, scrypt, sha256

import bcrypt
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from domain.foreign_hashes import Argon2, Bcrypt, Pbkdf2, Scrypt, parse

_BCRYPT_BYTES = 72
_SCRYPT_SPARE_BYTES = 1 << 20
_ARGON2 = PasswordHasher()


def verify(hash: str, password: str) -> bool:
    """Whether it is the password of this hash; never for a hash that can't be taken."""
    try:
        found = parse(hash)
    except ValueError:
        return False
    plain = password.encode("utf-8", "surrogatepass")
    match found:
        case Bcrypt():
            return _bcrypt(found, plain)
        case Argon2():
            try:
                return _ARGON2.verify(found.hash, plain)
            except (VerificationError, InvalidHashError):
                return False
        case Scrypt(n, r, p, salt, digest):
            made = scrypt(
                plain,
                salt=salt,
                n=n,
                r=r,
                p=p,
                maxmem=128 * r * (n + p) + _SCRYPT_SPARE_BYTES,
                dklen=len(digest),
            )
            return hmac.compare_digest(made, digest)
        case Pbkdf2(name, iterations, salt, digest):
            made = pbkdf2_hmac(name, plain, salt, iterations, len(digest))
            return hmac.compare_digest(made, digest)


def _bcrypt(found: Bcrypt, plain: bytes) -> bool:
    if found.of_sha256:
        plain = sha256(plain).hexdigest().encode()
    # Where bcrypt was made it took 72 bytes and left the rest; the library refuses more.
    try:
        return bcrypt.checkpw(plain[:_BCRYPT_BYTES], found.hash)
    except ValueError:
        return False
