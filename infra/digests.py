"""Keyed digests under the pepper: BLAKE2b (RFC 7693), 32 bytes, one purpose each.

An API key has 256 random bits, so there is nothing to guess and nothing to slow down; the
pepper, which is kept outside the database, makes a stolen table useless all the same.
"""

import hmac
from collections.abc import Callable, Collection
from hashlib import blake2b, sha256, sha512

from domain.api_keys import Algorithm
from infra.vault import key_id

_KEY = b"tollhouse-key"
_CLAIM = b"tollhouse-claim"
_IMPORT = b"tollhouse-import"


class PepperedDigests:
    """Implements application.ports.Digests. `previous` is a pepper that is on its way out.

    `import_key` is what keys that are imported as hmac-sha256 were hashed with elsewhere.
    """

    def __init__(
        self, pepper: bytes, previous: bytes | None = None, import_key: bytes | None = None
    ) -> None:
        self._pepper = pepper
        self._peppers = [each for each in (pepper, previous) if each]
        # Hashers that have taken in the pepper; a copy of one costs half of a new one.
        self._keyed = tuple(
            blake2b(digest_size=32, key=each, person=_KEY) for each in self._peppers
        )
        self._pepper_id = key_id(pepper)
        self._foreign: dict[str, Callable[[bytes], bytes]] = {
            "sha256": lambda data: sha256(data).digest(),
            "sha512": lambda data: sha512(data).digest(),
            "blake2b-256": lambda data: blake2b(data, digest_size=32).digest(),
        }
        if import_key:
            self._foreign["hmac-sha256"] = lambda data: hmac.digest(import_key, data, "sha256")

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

    def importable(self) -> frozenset[str]:
        """The algorithms of keys that can be imported here."""
        return frozenset(self._foreign)

    def imported(self, algorithm: Algorithm, hash: bytes) -> bytes:
        """The digest that stands for a hash that was made elsewhere, under the current pepper.

        It is keyed like our own, so that a stolen table gives neither keys nor those hashes;
        and it names the algorithm, so that no two of them ever meet.
        """
        return _of_foreign(self._pepper, algorithm, hash)

    def foreign(self, secret: str, algorithms: Collection[str]) -> list[bytes]:
        """What stands for this secret, had it been imported: under each of the algorithms and
        every pepper in use."""
        data = secret.encode("utf-8", "surrogatepass")
        digests = []
        for algorithm in algorithms:
            hasher = self._foreign.get(algorithm)
            if hasher is not None:
                hash = hasher(data)
                digests += [_of_foreign(pepper, algorithm, hash) for pepper in self._peppers]
        return digests

    def claims(self, kind: str, text: str) -> list[bytes]:
        """The digests of what is claimed, under every pepper in use; the kinds never collide."""
        data = f"{kind}:{text}".encode()
        return [
            blake2b(data, digest_size=32, key=pepper, person=_CLAIM).digest()
            for pepper in self._peppers
        ]


def _of_foreign(pepper: bytes, algorithm: str, hash: bytes) -> bytes:
    named = algorithm.encode() + b":" + hash
    return blake2b(named, digest_size=32, key=pepper, person=_IMPORT).digest()
