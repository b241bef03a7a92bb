"""Accounts, keys and rules in as few bytes as will do: what a million of them are held in.

A packed state is its id in 16 bytes, a key's digest in 32, and a body: msgpack, defaults left
out, field names one character long where they are known here. A field that is added to the
domain is packed under its whole name, so nothing is lost when somebody forgets this file. A
state whose id is not one of ours is not packed at all.
"""

from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import msgspec

from domain.accounts import Account
from domain.allowances import Allowance
from domain.api_keys import ApiKey
from domain.counters import quota_counter

S = TypeVar("S", bound=msgspec.Struct)
Part = Literal["account", "key"]

ID_BYTES = 16
DIGEST_BYTES = 32
MAX_BODY_BYTES = 65_535

_CROCKFORD = b"0123456789abcdefghjkmnpqrstvwxyz"
_PYTHON = b"0123456789abcdefghijklmnopqrstuv"
_DIGITS = bytes(
    _PYTHON[_CROCKFORD.index(each)] if each in _CROCKFORD else ord("!") for each in range(256)
)
_PAIRS = [chr(high) + chr(low) for high in _CROCKFORD for low in _CROCKFORD]
_SHIFTS = tuple(range(120, -1, -10))


class Packed(NamedTuple):
    """A packed state. `digest` and `previous` are what a key is looked up by; `algorithms` are
    those of its digests that were not made here."""

    part: Part
    noun: str
    id: bytes
    body: bytes
    digest: bytes | None = None
    previous: bytes | None = None
    algorithms: tuple[str, ...] = ()


def packed_id(text: str) -> bytes | None:
    """The 16 bytes of an id's 26 characters; None for what is not one of our ids."""
    try:
        _, _, characters = text.encode("ascii").partition(b"_")
        if len(characters) != 26:
            return None
        return int(characters.translate(_DIGITS), 32).to_bytes(ID_BYTES, "big")
    except (ValueError, OverflowError):
        return None


def unpacked_id(prefix: str, packed: bytes) -> str:
    """The id again."""
    return f"{prefix}_{_characters(packed)}"


@lru_cache(maxsize=4096)  # a key, its rule and its account are unpacked one after the other
def _characters(packed: bytes) -> str:
    number = int.from_bytes(packed, "big")
    return "".join([_PAIRS[(number >> shift) & 1023] for shift in _SHIFTS])


def lookup_digest(digest: bytes) -> bytes:
    """What a digest is looked up by: itself where it has our length, else a digest of it."""
    if len(digest) == DIGEST_BYTES:
        return digest
    return blake2b(digest, digest_size=DIGEST_BYTES).digest()


class _Body(Generic[S]):
    """Encodes all fields of a struct but `apart`, and makes the struct again with those given.

    `short` are one-character names; `ids` are fields with an id, by its prefix; `defaults`
    are values that are common enough to be left out, beside the struct's own defaults.
    """

    def __init__(
        self,
        struct: type[S],
        apart: frozenset[str],
        short: Mapping[str, str],
        ids: Mapping[str, str],
        defaults: Mapping[str, Any],
    ) -> None:
        fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
        for field in msgspec.structs.fields(struct):
            if field.name in apart:
                continue
            kind = bytes if field.name in ids else field.type
            default = defaults.get(field.name, field.default)
            if default is msgspec.NODEFAULT:
                fields.append((field.name, kind))
            else:
                fields.append((field.name, kind, default))
        if len(set(short.values())) != len(short):
            raise ValueError(f"two fields of {struct.__name__} have one short name")
        packed = msgspec.defstruct(
            f"Packed{struct.__name__}",
            fields,
            rename=dict(short),
            omit_defaults=True,
            kw_only=True,
            gc=False,
        )
        self._packed = packed
        self._defaults = tuple(
            (field.name, field.default)
            for field in msgspec.structs.fields(packed)
            if field.default is not msgspec.NODEFAULT
        )
        self._names = tuple(packed.__struct_fields__)
        self._ids = tuple(ids.items())
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(packed).decode

    def pack(self, state: S, **instead: Any) -> bytes | None:
        """The body; `instead` replaces values. None if it is too large or has an odd id."""
        values = {name: getattr(state, name) for name in self._names}
        values.update(instead)
        for name, prefix in self._ids:
            id = packed_id(values[name]) if values[name].startswith(f"{prefix}_") else None
            if id is None:
                return None
            values[name] = id
        for name, default in self._defaults:
            if values[name] == default:  # what is left out is known by identity
                values[name] = default
        body = self._encode(self._packed(**values))
        return body if len(body) <= MAX_BODY_BYTES else None

    def values(self, body: bytes | memoryview) -> dict[str, Any]:
        """The fields that the body has."""
        values = dict(zip(self._names, msgspec.structs.astuple(self._decode(body)), strict=True))
        for name, prefix in self._ids:
            values[name] = unpacked_id(prefix, values[name])
        return values


_ACCOUNT = _Body(
    Account,
    apart=frozenset({"id"}),
    short={
        "username": "u",
        "kind": "k",
        "actor_type": "a",
        "registered_at": "r",
        "status": "s",
        "email_verified": "e",
        "plan": "p",
        "roles": "o",
        "epoch": "n",
        "plan_no": "l",
    },
    ids={},
    defaults={
        "username": None,
        "kind": "personal",
        "actor_type": "user",
        "plan": "free",
        "plan_no": 1,
    },
)
_API_KEY = _Body(
    ApiKey,
    apart=frozenset({"id"}),
    short={
        "account_id": "a",
        "name": "n",
        "digest": "d",
        "pepper_id": "q",
        "hint": "h",
        "kind": "k",
        "environment": "v",
        "issued_at": "i",
        "audience": "u",
        "permissions": "p",
        "expires_at": "x",
        "metadata": "m",
        "tags": "t",
        "external_id": "e",
        "enabled": "o",
        "generation": "g",
        "revoked_at": "r",
        "roles": "l",
        "ip_allow": "w",
        "rate_limits": "s",
        "limits_no": "j",
        "previous_digest": "f",
        "previous_until": "z",
        "algorithm": "y",
        "previous_algorithm": "c",
    },
    ids={"account_id": "acct"},
    defaults={"kind": "standard", "environment": "live", "digest": b""},
)
_ALLOWANCE = _Body(
    Allowance,
    apart=frozenset({"id"}),
    short={
        "owner_id": "o",
        "account_id": "a",
        "scope": "s",
        "limit": "l",
        "period": "p",
        "counter_id": "c",
        "rule_no": "n",
        "lifted": "f",
        "carry_over_max": "m",
        "anchor_us": "h",
        "time_zone": "z",
        "reset_at_us": "r",
    },
    ids={"account_id": "acct"},
    defaults={"scope": "own", "period": "day", "rule_no": 1, "owner_id": "key", "counter_id": -1},
)


def pack(state: msgspec.Struct) -> Packed | None:
    """The state, packed; None if it is of another noun, or can't be."""
    match state:
        case ApiKey():
            return _pack_key(state)
        case Account():
            packed = packed_id(state.id) if state.id.startswith("acct_") else None
            body = None if packed is None else _ACCOUNT.pack(state)
            if packed is None or body is None:
                return None
            return Packed("account", "account", packed, body)
        case Allowance():
            return _pack_rule(state)
        case _:
            return None


def _pack_key(key: ApiKey) -> Packed | None:
    packed = packed_id(key.id) if key.id.startswith("key_") else None
    if packed is None:
        return None
    digest = lookup_digest(key.digest)
    body = _API_KEY.pack(key, digest=b"" if digest == key.digest else key.digest)
    if body is None:
        return None
    previous = key.previous_digest
    return Packed(
        "key",
        "api_key",
        packed,
        body,
        digest,
        None if previous is None else lookup_digest(previous),
        algorithms_of(key),
    )


def algorithms_of(key: ApiKey) -> tuple[str, ...]:
    """How those of its secrets are digested that were not digested here."""
    return tuple(each for each in (key.algorithm, key.previous_algorithm) if each is not None)


def _pack_rule(rule: Allowance) -> Packed | None:
    """An owner's rule has the owner's id but for the prefix; another one is not packed."""
    packed = packed_id(rule.id)
    kind, _, rest = rule.owner_id.partition("_")
    if packed is None or rule.id != f"alw_{rest}" or kind not in ("key", "acct"):
        return None
    counter = rule.counter_id
    body = _ALLOWANCE.pack(
        rule,
        owner_id=kind,
        counter_id=-1 if counter == quota_counter(rule.owner_id, rule.period) else counter,
    )
    if body is None:
        return None
    return Packed("account" if kind == "acct" else "key", "allowance", packed, body)


def unpack_account(packed: bytes, body: bytes | memoryview) -> Account:
    """The account again."""
    return Account(id=unpacked_id("acct", packed), **_ACCOUNT.values(body))


def unpack_key(packed: bytes, digest: bytes, body: bytes | memoryview) -> ApiKey:
    """The key again."""
    values = _API_KEY.values(body)
    values["digest"] = values["digest"] or digest
    return ApiKey(id=unpacked_id("key", packed), **values)


def unpack_rule(packed: bytes, body: bytes | memoryview) -> Allowance:
    """The rule again."""
    values = _ALLOWANCE.values(body)
    values["owner_id"] = owner = unpacked_id(values["owner_id"], packed)
    if values["counter_id"] == -1:
        values["counter_id"] = quota_counter(owner, values["period"])
    return Allowance(id=unpacked_id("alw", packed), **values)
