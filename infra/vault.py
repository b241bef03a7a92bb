"""Data keys: one per account, wrapped by the master key; they seal what is personal.

AES-256-GCM throughout. Associated data binds a sealed blob to its account, stream and
version, so swapping rows fails to open (ASVS 5.0 V11.3). Data keys never rotate; the master
key does, and names itself on every wrapping.
"""

import os
from collections.abc import Callable
from hashlib import blake2b

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from application.rows import DataKeyRow

NONCE_BYTES = 12


class Unsealable(Exception):
    """The blob was not sealed with this key for this place, or was changed."""


def seal(key: bytes, plain: bytes, bound_to: str, nonce: bytes | None = None) -> bytes:
    """Nonce and ciphertext. `nonce` is for golden bytes only: never seal twice with one."""
    nonce = nonce or os.urandom(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plain, bound_to.encode())


def unseal(key: bytes, sealed: bytes, bound_to: str) -> bytes:
    """The plain bytes; Unsealable if key, place or bytes are not the ones it was sealed with."""
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound_to.encode())
    except (InvalidTag, ValueError) as error:
        raise Unsealable(bound_to) from error


def key_id(key: bytes) -> str:
    """A short public name for a secret key; says nothing about it."""
    return blake2b(key, digest_size=6, person=b"tollhouse-kid").hexdigest()


class MasterKeyVault:
    """Makes and opens data keys under the master key, and the one before while it rotates."""

    def __init__(
        self,
        master_key: bytes,
        previous: bytes | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._current = key_id(master_key)
        self._masters = {key_id(each): each for each in (previous, master_key) if each}
        self._entropy = entropy
        self._open: dict[str, bytes] = {}
        self._gone: set[str] = set()

    def new_data_key(self, account_id: str) -> DataKeyRow:
        """A data key for this account, to be committed with its first event."""
        data_key = self._entropy(32)
        self._keep(account_id, data_key)
        wrapped = seal(self._masters[self._current], data_key, f"data-key:{account_id}")
        return DataKeyRow(account_id, wrapped, self._current)

    def unwrap(self, row: DataKeyRow) -> bytes:
        """The data key of a stored row, held open from now on; raises as `opened`."""
        data_key = self.opened(row)
        self._keep(row.account_id, data_key)
        return data_key

    def opened(self, row: DataKeyRow) -> bytes:
        """The data key of a stored row, and nobody keeps it; Unsealable under a master key we
        don't have."""
        master = self._masters.get(row.master_key_id)
        if master is None:
            raise Unsealable(f"data key of {row.account_id}: master key {row.master_key_id}")
        return unseal(master, row.wrapped, f"data-key:{row.account_id}")

    def forget(self, account_id: str) -> None:
        """Hold this account's data key no more, and never again: it was destroyed, and whoever
        read its row a moment before must not bring it back."""
        self._gone.add(account_id)
        self._open.pop(account_id, None)

    def _keep(self, account_id: str, data_key: bytes) -> None:
        if account_id in self._gone:
            return
        if len(self._open) >= 10_000:
            self._open.clear()  # a bound, not a policy: the next reads fill it again
        self._open[account_id] = data_key

    def known(self, account_id: str) -> bytes | None:
        """The account's data key if this process has it open."""
        return self._open.get(account_id)

    def seal_secret(self, plain: bytes, bound_to: str) -> tuple[bytes, str]:
        """Seal a secret of the server's own; also says under which master key."""
        return seal(self._masters[self._current], plain, bound_to), self._current

    def open_secret(self, sealed: bytes, master_key_id: str, bound_to: str) -> bytes:
        """Undo `seal_secret`."""
        master = self._masters.get(master_key_id)
        if master is None:
            raise Unsealable(
                f"this data was sealed with another master key ({master_key_id}): set "
                "TOLLHOUSE_MASTER_KEY, or TOLLHOUSE_MASTER_KEY_PREVIOUS while it rotates, to it."
            )
        return unseal(master, sealed, bound_to)
