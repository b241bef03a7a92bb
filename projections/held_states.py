"""All states of a noun in memory: packed, with those in use unpacked beside them.

What can't be packed (an id that is not one of ours, a body of more than 64 KiB) is held as it
is. A state is looked up unpacked first, then among those, then packed.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from domain.accounts import Account
from domain.allowances import Allowance
from domain.api_keys import ApiKey
from projections.packed_states import PackedKeys, PackedStates, Page
from projections.packing import (
    Packed,
    lookup_digest,
    packed_id,
    unpack_account,
    unpack_key,
    unpack_rule,
)
from projections.recent import Recent

S = TypeVar("S", bound=Account | Allowance)
HOT = 32_768
"""So many of a noun are held unpacked for sure, and at most twice as many: a kilobyte each."""


class HeldStates(Generic[S]):
    """States by id. Looking one up that was asked for lately is a look into a dict."""

    def __init__(self, unpack: Callable[[bytes, bytes], S]) -> None:
        self._unpack = unpack
        self._packed = PackedStates()
        self._odd: dict[str, S] = {}
        self._hot: Recent[str, S] = Recent(2 * HOT)

    def __len__(self) -> int:
        return len(self._packed) + len(self._odd)

    def get(self, id: str) -> S | None:
        """The state of this id."""
        state = self._hot.young.get(id) or self._hot.get(id)
        if state is None:
            state = self._odd.get(id)
            if state is None:
                packed = packed_id(id)
                number = None if packed is None else self._packed.number(packed)
                if packed is None or number is None:
                    return None
                state = self._unpack(packed, self._packed.body(number))
                if state.id != id:  # the same characters after another prefix
                    return None
            self._hot.put(id, state)
        return state

    def keep(self, state: S, packed: Packed | None) -> None:
        """Hold this state; `packed` is None where it can't be."""
        self._hot.replace(state.id, state)
        if packed is None:
            self._odd[state.id] = state
        else:
            self._odd.pop(state.id, None)
            self._packed.put(packed.id, packed.body)

    def load(self, page: Page) -> None:
        """Hold a page of states, none of which is held so far."""
        self._packed.load(page)

    def expect(self, total: int) -> None:
        """Make room for about so many."""
        self._packed.expect(total)

    def all(self) -> list[S]:
        """Every state: to compare, not to serve."""
        ids = [self._packed.id(number) for number in range(len(self._packed))]
        packed = [self._unpack(id, self._packed.body(number)) for number, id in enumerate(ids)]
        return [*(each for each in packed if each.id not in self._odd), *self._odd.values()]


def held_accounts() -> HeldStates[Account]:
    """Accounts, none so far."""
    return HeldStates(unpack_account)


class HeldRules(HeldStates[Allowance]):
    """Rules, by their owners as well. An owner's rule has its owner's id but for the prefix;
    only one that was never so is looked for by the owner's name."""

    def __init__(self) -> None:
        super().__init__(unpack_rule)
        self._of: Recent[str, tuple[Allowance, ...]] = Recent(4 * HOT)
        self._odd_of: dict[str, tuple[Allowance, ...]] = {}

    def of(self, owner_id: str) -> tuple[Allowance, ...]:
        """The rules that this owner has to itself; a lifted one where it was reset once."""
        rules = self._of.young.get(owner_id)
        if rules is None:
            rules = self._of.get(owner_id)
        if rules is None:
            rules = tuple(each for each in self._all_of(owner_id) if matters(each))
            self._of.put(owner_id, rules)
        return rules

    def keep(self, state: Allowance, packed: Packed | None) -> None:
        """Hold this rule."""
        others = [each for each in self._all_of(state.owner_id) if each.id != state.id]
        super().keep(state, packed)
        self._of.forget(state.owner_id)
        if packed is None or state.owner_id in self._odd_of:
            self._odd_of[state.owner_id] = (*others, state)

    def _all_of(self, owner_id: str) -> tuple[Allowance, ...]:
        rules = self._odd_of.get(owner_id)
        if rules is not None:
            return rules
        rule = self.get(f"alw_{owner_id.partition('_')[2]}")
        return () if rule is None or rule.owner_id != owner_id else (rule,)


def matters(rule: Allowance) -> bool:
    """Whether verification has to know of it. After an account's own rule is lifted its plan's
    holds, and the number of the rule tells in which order that came."""
    return not rule.lifted or rule.reset_at_us > 0 or rule.scope == "shared"


class HeldKeys:
    """Keys by id and by digest."""

    def __init__(self) -> None:
        self._packed = PackedKeys()
        self._odd: dict[str, ApiKey] = {}
        self._odd_digests: dict[bytes, str] = {}
        self._hot: Recent[str, ApiKey] = Recent(2 * HOT)
        self._hot_digests: Recent[bytes, str] = Recent(2 * HOT)

    def __len__(self) -> int:
        return len(self._packed) + len(self._odd)

    def by_digest(self, digest: bytes) -> ApiKey | None:
        """The key that this is the digest of, or was the one before its last rotation."""
        key_id = self._hot_digests.young.get(digest) or self._hot_digests.get(digest)
        if key_id is not None:
            key = self.get(key_id)
            return key if key is not None and is_of(key, digest) else None
        key_id = self._odd_digests.get(digest)
        key = None if key_id is None else self.get(key_id)
        if key is None:
            number = self._packed.by_digest(lookup_digest(digest))
            if number is None:
                return None
            key = self._unpack(number)
            key = self._odd.get(key.id, key)
        if not is_of(key, digest):
            return None
        self._hot.put(key.id, key)
        self._hot_digests.put(digest, key.id)
        return key

    def get(self, key_id: str) -> ApiKey | None:
        """The key of this id."""
        key = self._hot.young.get(key_id) or self._hot.get(key_id)
        if key is None:
            key = self._odd.get(key_id)
            if key is None:
                packed = packed_id(key_id) if key_id.startswith("key_") else None
                number = None if packed is None else self._packed.number(packed)
                if number is None:
                    return None
                key = self._unpack(number)
            self._hot.put(key_id, key)
        return key

    def keep(self, key: ApiKey, packed: Packed | None) -> None:
        """Hold this key; `packed` is None where it can't be."""
        self._hot.replace(key.id, key)
        if packed is None or packed.digest is None:
            self._odd[key.id] = key
            for digest in digests_of(key):
                self._odd_digests[digest] = key.id
        else:
            if self._odd.pop(key.id, None) is not None:
                for digest in [each for each, of in self._odd_digests.items() if of == key.id]:
                    del self._odd_digests[digest]
            self._packed.put_key(packed.id, packed.body, packed.digest, packed.previous)

    def load(self, page: Page) -> None:
        """Hold a page of keys, none of which is held so far."""
        self._packed.load(page)

    def also_known_by(self, packed_id: bytes, previous: bytes) -> None:
        """Find the key of this packed id by its previous digest, too."""
        number = self._packed.number(packed_id)
        if number is not None:
            self._packed.also_known_by(number, previous)

    def expect(self, total: int) -> None:
        """Make room for about so many."""
        self._packed.expect(total)

    def all(self) -> list[ApiKey]:
        """Every key: to compare, not to serve."""
        packed = [self._unpack(number) for number in range(len(self._packed))]
        return [*(each for each in packed if each.id not in self._odd), *self._odd.values()]

    def _unpack(self, number: int) -> ApiKey:
        packed = self._packed
        return unpack_key(packed.id(number), packed.digest(number), packed.body(number))


def digests_of(key: ApiKey) -> tuple[bytes, ...]:
    """What the key can be presented by: its digest, and that from before its last rotation."""
    return (key.digest,) if key.previous_digest is None else (key.digest, key.previous_digest)


def is_of(key: ApiKey, digest: bytes) -> bool:
    """Whether this is one of the key's digests: all of their bytes are compared."""
    return digest == key.digest or digest == key.previous_digest
