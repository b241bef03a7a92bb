"""Idempotency-Key: the first answer is kept in the command's own transaction, and replayed.

Only digests of the key are stored. The answer, which may show a new secret, is sealed under a
key derived from the caller and the Idempotency-Key itself: whoever has the database alone can't
open it. The body's digest is keyed as well, since a body may hold a password.
"""

import os
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Any

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from api.http.answers import Answer
from api.http.problems import HttpProblem
from application.errors import IdempotencyKeyReused
from application.ports import Lookups
from application.rows import AnswerRow

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
LONGEST = 255

_NONCE_BYTES = 12


def idempotency_key(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The one Idempotency-Key of these headers; HttpProblem for several, or for what is none."""
    name = HEADER.lower().encode()
    given = [value for header, value in headers if header == name]
    if not given:
        return None
    text = given[0].decode("latin-1")
    if (
        len(given) > 1
        or not 1 <= len(text) <= LONGEST
        or not (text.isascii() and text.isprintable())
    ):
        detail = f"One Idempotency-Key of 1 to {LONGEST} printable ASCII characters."
        raise HttpProblem("INVALID_REQUEST", detail, param=HEADER)
    return text


class Ticket:
    """One Idempotency-Key of one caller on one route, with the body that came with it."""

    def __init__(self, caller_id: str, route: str, key: str, body: bytes) -> None:
        # No part can hold a NUL but the route, which stands between two that can't.
        name = f"{caller_id}\0{route}\0{key}".encode()
        self.digest = blake2b(name, digest_size=32, person=b"tollhouse-once").digest()
        derived = HKDF(SHA256(), length=64, salt=None, info=b"tollhouse answer").derive(name)
        self._sealing_key = derived[:32]
        self._body_digest = blake2b(body, digest_size=32, key=derived[32:]).digest()

    def record(self, answer: Answer, stream: str, version: int) -> AnswerRow:
        """The row that remembers this answer to the event that it came from."""
        nonce = os.urandom(_NONCE_BYTES)
        plain = msgspec.msgpack.encode(answer)
        sealed = nonce + AESGCM(self._sealing_key).encrypt(nonce, plain, self.digest)
        return AnswerRow(self.digest, self._body_digest, sealed, stream, version)

    async def first_answer(self, lookups: Lookups) -> tuple[Answer, int] | None:
        """What the first request was answered, and its position; None if there was none.

        Raises IdempotencyKeyReused where that one had another body.
        """
        found = await lookups.answer(self.digest)
        if found is None:
            return None
        body_digest, sealed, position = found
        if body_digest != self._body_digest:
            raise IdempotencyKeyReused
        nonce, rest = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        plain = AESGCM(self._sealing_key).decrypt(nonce, rest, self.digest)
        return msgspec.msgpack.decode(plain, type=Answer), position


class Remembering:
    """Implements application.deciding.Idempotency: what `show` makes of a result is kept."""

    def __init__(self, ticket: Ticket, show: Callable[[Any], Answer]) -> None:
        self._ticket = ticket
        self._show = show

    def row(self, result: object, stream: str, version: int) -> AnswerRow:
        """The row for the command's own transaction."""
        return self._ticket.record(self._show(result), stream, version)
