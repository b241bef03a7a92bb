"""Keyed digests under the pepper: BLAKE2b (RFC 7693), 32 bytes, one purpose each.

An API key has 256 random bits, so there is nothing to guess and nothing to slow down; the
pepper, which is kept outside the database, makes a stolen table useless all the same.
"""

from hashlib import blake2b

from infra.vault import key_id

_KEY = b"tollhouse-key"
_CLAIM = b"tollhouse-claim"
_REFRESH = b"tollhouse-fresh"


class PepperedDigests:
    """Implements application.ports.Digests. `previous` is a pepper that is on its way out."""

    def __init__(self, pepper: bytes, previous: bytes | None = None) -> None:
        self._pepper = pepper
        self._peppers = [each for each in (pepper, previous) if each]
        # Hashers that have taken in the pepper; a copy of one costs half of a new one.
        self._keyed = tuple(
            blake2b(digest_size=32, key=each, person=_KEY) for each in self._peppers
        )
        self._pepper_id = key_id(pepper)

    @property
    def pepper_id(self) -> str:
        """A public name for the current pepper."""
        return self._pepper_id

    def key(self, secret: str) -> bytes:
        """The digest of an API key's secret."""
        return self.candidates(secret)[0]

    def candidates(self, secret: str) -> list[bytes]:
        """The digests under every pepper in use, the current one first."""
        data = secret.encode("utf-8", "surrogatepass")
        digests = []
        for keyed in self._keyed:
            hasher = keyed.copy()
            hasher.update(data)
            digests.append(hasher.digest())
        return digests

    def refresh_token(self, token: str) -> bytes:
        """The digest of a refresh token."""
        return blake2b(token.encode(), digest_size=32, key=self._pepper, person=_REFRESH).digest()

    def claims(self, kind: str, text: str) -> list[bytes]:
        """The digests of what is claimed, under every pepper in use; the kinds never collide."""
        data = f"{kind}:{text}".encode()
        return [
            blake2b(data, digest_size=32, key=pepper, person=_CLAIM).digest()
            for pepper in self._peppers
        ]
