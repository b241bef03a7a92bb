"""Passwords' hashes of other systems are checked as those made them, within bounds of work."""

from base64 import b64encode
from hashlib import pbkdf2_hmac, scrypt, sha256

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.foreign_hashes import parse
from infra.foreign_hashes import verify

_SCRYPT = scrypt(b"password", salt=b"NaCl", n=1024, r=8, p=16, dklen=64, maxmem=2**26)
assert _SCRYPT.hex().startswith("fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162")

# Where a form is not said to be ours, hash and password are as published there.
KNOWN = {
    "bcrypt, crypt_blowfish": (
        "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "U*U",
    ),
    "bcrypt, $2y$": (
        "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "U*U",
    ),
    "bcrypt, Django": (
        "bcrypt$$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "U*U",
    ),
    "argon2i, its README": (
        "$argon2i$v=19$m=65536,t=2,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub+b+dWRWJTmaaJObG",
        "password",
    ),
    "argon2i, Django": (
        "argon2$argon2i$v=19$m=65536,t=2,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub+b+dWRWJTmaaJObG",
        "password",
    ),
    "pbkdf2, RFC 6070 in PHC format": (
        "$pbkdf2-sha1$i=4096,l=20$c2FsdA$SwB5AbdlSJq+rUnZJvch0GWkKcE",
        "password",
    ),
    "pbkdf2, RFC 6070 as Django writes it": (
        "pbkdf2_sha1$4096$salt$SwB5AbdlSJq+rUnZJvch0GWkKcE=",
        "password",
    ),
    "pbkdf2, RFC 6070 as Werkzeug writes it": (
        "pbkdf2:sha1:4096$salt$4b007901b765489abead49d926f721d065a429c1",
        "password",
    ),
    "scrypt, RFC 7914 as Werkzeug writes it": (
        f"scrypt:1024:8:16$NaCl${_SCRYPT.hex()}",
        "password",
    ),
    "scrypt, RFC 7914 in PHC format": (
        f"$scrypt$ln=10,r=8,p=16$TmFDbA${b64encode(_SCRYPT).decode().rstrip('=')}",
        "password",
    ),
    "scrypt, RFC 7914 as Django writes it": (
        f"scrypt$1024$NaCl$8$16${b64encode(_SCRYPT).decode()}",
        "password",
    ),
}


def bcrypt_sha256(password: str) -> str:
    hashed = bcrypt.hashpw(sha256(password.encode()).hexdigest().encode(), bcrypt.gensalt(4))
    return f"bcrypt_sha256${hashed.decode()}"


def passlib(password: str) -> str:
    """Its own base64: no padding, a dot for the plus."""
    given = b"\xfb\xff\xbe" * 5
    digest = pbkdf2_hmac("sha256", password.encode(), given, 1000)
    salt, hashed = (
        b64encode(each).decode().rstrip("=").replace("+", ".") for each in (given, digest)
    )
    return f"$pbkdf2-sha256$1000${salt}${hashed}"


@pytest.mark.parametrize(("hash", "password"), KNOWN.values(), ids=KNOWN)
def test_hashes_of_other_systems_know_their_password_and_no_other(hash: str, password: str) -> None:
    assert verify(hash, password)
    for other in (password + "x", password.upper() + "1", ""):
        assert not verify(hash, other)


@pytest.mark.parametrize("made", [bcrypt_sha256, passlib])
def test_forms_without_published_vectors_are_read_as_their_authors_describe(made: object) -> None:
    assert callable(made)
    hash = made("pässword 密码")
    assert verify(hash, "pässword 密码")
    assert not verify(hash, "password 密码")


def test_bcrypt_takes_what_it_took_where_it_was_made() -> None:
    hash = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()
    assert verify(hash, "x" * 100)
    assert not verify(hash, "x" * 71)


@pytest.mark.parametrize(
    "hash",
    [
        "$2b$15$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "$argon2id$v=19$m=262145,t=1,p=1$c29tZXNhbHQ$RdescudvJCsgt3ub+b+dWRWJTmaaJObG",
        "$argon2id$v=19$m=262144,t=5,p=1$c29tZXNhbHQ$RdescudvJCsgt3ub+b+dWRWJTmaaJObG",
        "$argon2id$v=19$m=8,t=1,p=64$c29tZXNhbHQ$RdescudvJCsgt3ub+b+dWRWJTmaaJObG",
        "$scrypt$ln=63,r=8,p=1$TmFDbA$" + "A" * 43,
        "scrypt:1000:8:1$NaCl$" + "00" * 32,
        "scrypt:131072:8:5$NaCl$" + "00" * 32,
        "pbkdf2_sha256$2000001$salt$" + "A" * 43 + "=",
        "pbkdf2:sha256:0$salt$" + "00" * 32,
        "pbkdf2:md5:1000$salt$" + "00" * 16,
        "md5$salt$d41d8cd98f00b204e9800998ecf8427e",
        "plain text",
        "",
        "$2b$" + "1" * 600,
    ],
)
def test_what_asks_for_too_much_work_or_is_no_hash_is_refused(hash: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as refusal:
        parse(hash)
    assert not hash or hash not in str(refusal.value)
    assert not verify(hash, "password")


@given(st.text(max_size=200))
def test_garbage_is_refused_and_nothing_else_happens(text: str) -> None:
    try:
        parse(text)
    except ValueError:
        assert not verify(text, "password")
