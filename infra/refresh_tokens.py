"""Refresh tokens: `thr_` and 84 bytes that say whose they are, and prove that we made them.

Session, generation, secret, MAC, in base64. The MAC is under the pepper, so that a token of any
generation is known for what it is without a row for each: who presents one that was spent long
ago had a real one (RFC 9700, 4.14.2). The successor of a token is a MAC of it: never stored,
the same whenever it is asked for, and of use to nobody who hasn't the token itself.
"""

import hmac
import os
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from hashlib import blake2b

from application.session_ports import RefreshClaims
from projections.packing import packed_id, unpacked_id

PREFIX = "thr_"
_MAC_BYTES = 32
_BYTES = 16 + 4 + 32 + _MAC_BYTES
_SHAPE = re.compile(r"thr_[A-Za-z0-9_-]{112}")
_PERSONS = {
    "mac": b"tollhouse-rt-mac",
    "next": b"tollhouse-rt-nxt",
    "row": b"tollhouse-fresh",
    "csrf": b"tollhouse-csrf",
}


class PepperedRefreshTokens:
    """Implements application.session_ports.RefreshTokens. `previous` is a pepper on its way out:
    sessions that were begun under it go on under it, so it stays for as long as they may."""

    def __init__(
        self,
        pepper: bytes,
        previous: bytes | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._peppers = [each for each in (pepper, previous) if each]
        self._entropy = entropy

    def first(self, session_id: str) -> str:
        """A session's first token."""
        return _token(self._peppers[0], _packed(session_id), 1, self._entropy(32))

    def read(self, token: str) -> RefreshClaims | None:
        """What a token says; None for what was never ours."""
        found = self._open(token)
        if found is None:
            return None
        _, session, generation, _ = found
        return RefreshClaims(unpacked_id("sess", session), generation)

    def successor(self, token: str) -> str:
        """What follows this token of ours."""
        pepper, session, generation, _ = self._ours(token)
        secret = _mac("next", pepper, token.encode() + (generation + 1).to_bytes(4, "big"))
        return _token(pepper, session, generation + 1, secret)

    def digest(self, token: str) -> bytes:
        """What the row keeps of a token of ours."""
        pepper, *_ = self._ours(token)
        return _mac("row", pepper, token.encode())

    def csrf(self, session_id: str) -> str:
        """What a page must show to act with this session's cookies."""
        return _text(_mac("csrf", self._peppers[0], session_id.encode()))

    def is_csrf(self, shown: str, session_id: str) -> bool:
        """Whether it is that."""
        wanted = [_text(_mac("csrf", each, session_id.encode())) for each in self._peppers]
        return any(hmac.compare_digest(shown.encode(), each.encode()) for each in wanted)

    def _ours(self, token: str) -> tuple[bytes, bytes, int, bytes]:
        found = self._open(token)
        if found is None:
            raise ValueError("not a refresh token of ours")
        return found

    def _open(self, token: str) -> tuple[bytes, bytes, int, bytes] | None:
        """Pepper, packed session, generation and secret of a token of ours."""
        if _SHAPE.fullmatch(token) is None:
            return None
        raw = urlsafe_b64decode(token.removeprefix(PREFIX))
        said, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        for pepper in self._peppers:
            if hmac.compare_digest(mac, _mac("mac", pepper, said)):
                return pepper, said[:16], int.from_bytes(said[16:20], "big"), said[20:]
        return None


def _token(pepper: bytes, session: bytes, generation: int, secret: bytes) -> str:
    said = session + generation.to_bytes(4, "big") + secret
    return PREFIX + _text(said + _mac("mac", pepper, said))


def _packed(session_id: str) -> bytes:
    packed = packed_id(session_id)
    if packed is None:
        raise ValueError(f"{session_id} is not the id of a session")
    return packed


def _mac(purpose: str, pepper: bytes, data: bytes) -> bytes:
    return blake2b(data, digest_size=32, key=pepper, person=_PERSONS[purpose]).digest()


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
