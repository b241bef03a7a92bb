"""Events to stored bytes and back: readable JSON, personal fields sealed in one blob.

Stored: `{"event": {"type": name, ...}, "metadata": {...}, "account": id, "sealed": base64}`.
The blob holds `{"event": {...}, "metadata": {...}}` of the personal fields alone, bound to
account, stream and version. Without the data key these fields read as None.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any

import msgspec

from application.errors import StreamUnreadable
from domain.event import (
    Event,
    Metadata,
    NewEvent,
    Recorded,
    name_fields,
    personal_fields,
    stored_name,
)
from domain.events import CATALOGUE, Catalogue
from infra.vault import MasterKeyVault, seal, unseal

_ENCODER = msgspec.json.Encoder()


class CannotDecode(StreamUnreadable):
    """Bytes of the log that this process can't read."""


class _Stored(msgspec.Struct):
    event: msgspec.Raw
    metadata: msgspec.Raw
    account: str | None = None
    sealed: str | None = None


class _Sealed(msgspec.Struct):
    event: dict[str, Any] = {}
    metadata: dict[str, Any] = {}


_STORED = msgspec.json.Decoder(_Stored)
_SEALED = msgspec.json.Decoder(_Sealed)


class MissingDataKey(ValueError):
    """What is personal has to be sealed, and the account has no key (any more)."""


class EventMapper:
    """Knows every event class there is, and which of their fields are sealed.

    `naming` are the stored names of events that say what somebody is publicly called. Whoever
    follows a log and folds states reads those names, with the `vault`; without one, they don't.
    """

    def __init__(
        self, catalogue: Catalogue = CATALOGUE, vault: MasterKeyVault | None = None
    ) -> None:
        self._catalogue = catalogue
        self.vault = vault
        self.naming = frozenset(
            name
            for name in catalogue.names()
            if (each := catalogue.type_of(name)) is not None and name_fields(each)
        )
        self._metadata = msgspec.json.Decoder(Metadata)
        self._personal_metadata = personal_fields(Metadata)
        self._decoders: dict[str, msgspec.json.Decoder[Event]] = {}

    def with_vault(self, vault: MasterKeyVault) -> "EventMapper":
        """The same mapper, for who follows a log and folds states."""
        return EventMapper(self._catalogue, vault)

    def encode(
        self,
        new: NewEvent,
        metadata: Metadata,
        data_key: bytes | None,
        nonce: bytes | None = None,
    ) -> tuple[str, bytes]:
        """The stored name and bytes. MissingDataKey for personal fields without one."""
        personal = personal_fields(type(new.event))
        hidden = _Sealed(
            event=_present(new.event, personal),
            metadata=_present(metadata, self._personal_metadata),
        )
        document: dict[str, Any] = {"event": new.event, "metadata": metadata}
        if new.account_id is not None:
            document["account"] = new.account_id
        if hidden.event or hidden.metadata:
            if data_key is None:
                kind = type(new.event).__name__
                raise MissingDataKey(f"{kind} has personal fields and no data key")
            document["event"] = _without(new.event, personal)
            document["metadata"] = _without(metadata, self._personal_metadata)
            blob = seal(data_key, _ENCODER.encode(hidden), _place(new), nonce)
            document["sealed"] = b64encode(blob).decode()
        return stored_name(type(new.event)), _ENCODER.encode(document)

    def decode(
        self,
        position: int,
        stream: str,
        version: int,
        name: str,
        state: bytes,
        data_key_of: Callable[[str], bytes | None] | None = None,
        *,
        names_only: bool = False,
    ) -> Recorded:
        """The event in today's version. Personal fields only with `data_key_of`, and only
        while that account's key exists; `names_only`: of those, what somebody is publicly
        called. Raises CannotDecode, never anything else."""
        decoder = self._decoder(name)
        if names_only and name not in self.naming:
            data_key_of = None
        try:
            stored = _STORED.decode(state)
            event = decoder.decode(stored.event)
            metadata = self._metadata.decode(stored.metadata)
            forgotten = False
            if stored.sealed is not None and stored.account is not None and data_key_of:
                data_key = data_key_of(stored.account)
                forgotten = data_key is None
                if data_key is not None:
                    place = f"{stored.account}|{stream}|{version}"
                    hidden = _SEALED.decode(unseal(data_key, b64decode(stored.sealed), place))
                    if names_only:
                        hidden = _Sealed(event=_named(type(event), hidden.event))
                    event = msgspec.structs.replace(event, **hidden.event)
                    metadata = msgspec.structs.replace(metadata, **hidden.metadata)
            event = self._catalogue.lift(event)
            if forgotten:  # what an old version has in clear is told of nobody who was erased
                event = msgspec.structs.replace(event, **dict.fromkeys(name_fields(type(event))))
        except Exception as error:
            raise CannotDecode(f"{name} at {position}: {error}") from error
        return Recorded(position, stream, version, event, metadata, stored.account)

    def _decoder(self, name: str) -> msgspec.json.Decoder[Event]:
        decoder = self._decoders.get(name)
        if decoder is None:
            event_type = self._catalogue.type_of(name)
            if event_type is None:
                raise CannotDecode(f"unknown event type {name}")
            decoder = self._decoders[name] = msgspec.json.Decoder(event_type)
        return decoder


def account_of(state: bytes) -> str | None:
    """Whose event these stored bytes are, as far as they can be read."""
    try:
        return _STORED.decode(state).account
    except (msgspec.MsgspecError, ValueError):
        return None


def _present(struct: msgspec.Struct, fields: tuple[str, ...]) -> dict[str, Any]:
    return {field: value for field in fields if (value := getattr(struct, field)) is not None}


def _without(struct: msgspec.Struct, fields: tuple[str, ...]) -> msgspec.Struct:
    return msgspec.structs.replace(struct, **dict.fromkeys(fields)) if fields else struct


def _named(event_type: type[Event], hidden: dict[str, Any]) -> dict[str, Any]:
    return {field: hidden[field] for field in name_fields(event_type) if field in hidden}


def _place(new: NewEvent) -> str:
    return f"{new.account_id}|{new.stream}|{new.version}"
