"""What was shipped can be read for ever, and what is personal can't be read without its key."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.account_events import AccountRegistered
from domain.event import (
    Event,
    Metadata,
    NewEvent,
    PersonalText,
    name_fields,
    personal_fields,
    stored_name,
)
from domain.events import CATALOGUE, Catalogue
from infra.event_mapper import CannotDecode, EventMapper, account_of
from infra.vault import Unsealable, seal, unseal
from tests.infra import golden_events
from tests.infra.golden_events import AT, DATA_KEY, EXAMPLES, METADATA, NONCE, golden_file

BY_NAME = {stored_name(type(event)): event for event in EXAMPLES}
PERSONAL = [event for event in EXAMPLES if personal_fields(type(event))]
PLAIN_METADATA = msgspec.structs.replace(METADATA, reason=None)


def name_of(event: Event) -> str:
    return stored_name(type(event))


def open_with(key: bytes | None) -> Any:
    return lambda account_id: key


def test_every_event_of_the_catalogue_has_its_golden_bytes() -> None:
    missing = [name for name in CATALOGUE.names() if not golden_file(name).exists()]
    assert not missing, "run python -m tests.infra.golden_events"


def test_no_golden_file_is_of_an_event_that_can_t_be_read_any_more() -> None:
    assert {file.stem for file in golden_events.FOLDER.iterdir()} == set(CATALOGUE.names())


def test_writing_never_overwrites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(golden_events, "FOLDER", tmp_path)
    kept = tmp_path / "account.suspended.v1.json"
    kept.write_bytes(b"shipped")
    assert len(golden_events.write_missing()) == len(EXAMPLES) - 1
    assert kept.read_bytes() == b"shipped"


@pytest.mark.parametrize("event", EXAMPLES, ids=name_of)
def test_example_sets_every_field(event: Event) -> None:
    defaults = {
        field.name: field.default
        for field in msgspec.structs.fields(type(event))
        if field.default is not msgspec.NODEFAULT
    }
    unset = [name for name, default in defaults.items() if getattr(event, name) == default]
    later = golden_events.ADDED_LATER.get(name_of(event), frozenset())
    assert set(unset) == later


@pytest.mark.parametrize("event", EXAMPLES, ids=name_of)
def test_event_is_stored_as_the_golden_bytes(event: Event) -> None:
    assert golden_events.stored(event) == golden_file(name_of(event)).read_bytes()


@pytest.mark.parametrize("event", EXAMPLES, ids=name_of)
def test_golden_bytes_decode_to_the_example(event: Event) -> None:
    new = golden_events.new_event(event)
    golden = golden_file(name_of(event)).read_bytes()
    found = EventMapper().decode(
        9, new.stream, new.version, name_of(event), golden, open_with(DATA_KEY)
    )
    assert found.event == event
    assert found.metadata == METADATA
    assert (found.position, found.stream, found.version) == (9, new.stream, new.version)
    assert found.account_id == account_of(golden) == new.account_id


@pytest.mark.parametrize("event", EXAMPLES, ids=name_of)
def test_nothing_personal_stands_in_the_stored_bytes(event: Event) -> None:
    golden = golden_file(name_of(event)).read_bytes()
    assert b"GOLDEN-PERSONAL" not in golden
    assert b"GOLDEN-PERSONAL" in msgspec.json.encode(METADATA)


@pytest.mark.parametrize("keys", [None, open_with(None)], ids=["not asked for", "key destroyed"])
@pytest.mark.parametrize("event", PERSONAL, ids=name_of)
def test_personal_fields_read_as_none_without_the_data_key(event: Event, keys: Any) -> None:
    new = golden_events.new_event(event)
    golden = golden_file(name_of(event)).read_bytes()
    found = EventMapper().decode(1, new.stream, new.version, name_of(event), golden, keys)
    personal = personal_fields(type(event))
    assert [getattr(found.event, field) for field in personal] == [None] * len(personal)
    assert found.metadata == PLAIN_METADATA
    assert found.event == msgspec.structs.replace(event, **dict.fromkeys(personal))


@pytest.mark.parametrize(
    ("stream", "version", "account"),
    [
        ("other_stream", 3, "acct_00000000000000000000000001"),
        ("account_stream", 4, "acct_00000000000000000000000001"),
        ("account_stream", 3, "acct_somebody_else"),
    ],
    ids=["another stream", "another version", "another account"],
)
def test_sealed_fields_open_only_in_their_own_row(stream: str, version: int, account: str) -> None:
    document = json.loads(golden_file("account.registered.v2").read_bytes())
    document["account"] = account
    with pytest.raises(CannotDecode):
        EventMapper().decode(
            1,
            stream,
            version,
            "account.registered.v2",
            json.dumps(document).encode(),
            open_with(DATA_KEY),
        )


def test_another_key_opens_nothing_and_a_changed_blob_neither() -> None:
    sealed = seal(DATA_KEY, b"plain", "place", NONCE)
    assert unseal(DATA_KEY, sealed, "place") == b"plain"
    changed = sealed[:-1] + bytes([sealed[-1] ^ 1])
    for key, blob in ((b"k" * 32, sealed), (DATA_KEY, changed), (DATA_KEY, b"")):
        with pytest.raises(Unsealable):
            unseal(key, blob, "place")


def test_personal_fields_are_never_stored_without_a_data_key() -> None:
    new = golden_events.new_event(PERSONAL[0])
    with pytest.raises(ValueError, match="no data key"):
        EventMapper().encode(new, PLAIN_METADATA, None)


def test_two_seals_of_the_same_event_differ() -> None:
    new = golden_events.new_event(PERSONAL[0])
    first, second = (EventMapper().encode(new, METADATA, DATA_KEY)[1] for _ in range(2))
    assert first != second


NAMED = [event for event in EXAMPLES if name_fields(type(event))]


@pytest.mark.parametrize("event", NAMED, ids=name_of)
def test_who_folds_states_reads_names_and_nothing_else_that_is_sealed(event: Event) -> None:
    new = golden_events.new_event(event)
    golden = golden_file(name_of(event)).read_bytes()
    found = EventMapper().decode(
        1, new.stream, new.version, name_of(event), golden, open_with(DATA_KEY), names_only=True
    )
    hidden = set(personal_fields(type(event))) - set(name_fields(type(event)))
    assert found.event == msgspec.structs.replace(event, **dict.fromkeys(hidden))
    assert found.metadata == PLAIN_METADATA


def test_names_that_were_written_in_clear_are_still_read() -> None:
    """account.registered.v1, as it was written before names were sealed."""
    name = "account.registered.v1"
    golden = golden_file(name).read_bytes()
    found = EventMapper().decode(1, "account_stream", 3, name, golden, open_with(DATA_KEY)).event
    assert isinstance(found, AccountRegistered)
    assert (found.username, found.external_id) == ("ada", None)
    assert found.email == "GOLDEN-PERSONAL@example.org"
    plain = EventMapper().decode(1, "account_stream", 3, name, golden).event
    assert isinstance(plain, AccountRegistered)
    assert (plain.username, plain.email) == ("ada", None)


def test_names_that_were_written_in_clear_are_not_told_of_who_was_erased() -> None:
    name = "account.registered.v1"
    golden = golden_file(name).read_bytes()
    found = EventMapper().decode(1, "account_stream", 3, name, golden, lambda account_id: None)
    assert isinstance(found.event, AccountRegistered)
    assert (found.event.username, found.event.email) == (None, None)


class PetNamedV1(Event, frozen=True, tag="pet.named.v1"):
    name: str
    owner: PersonalText = None


class PetNamedV2(Event, frozen=True, tag="pet.named.v2"):
    names: tuple[str, ...]
    owner: PersonalText = None


class PetNamedV3(Event, frozen=True, tag="pet.named.v3"):
    names: tuple[str, ...]
    loud: bool
    owner: PersonalText = None


def v1_to_v2(old: PetNamedV1) -> PetNamedV2:
    return PetNamedV2(names=(old.name,), owner=old.owner)


def v2_to_v3(old: PetNamedV2) -> PetNamedV3:
    if old.names == ("unliftable",):
        raise LookupError("an upcaster with a bug")
    return PetNamedV3(names=old.names, loud=False, owner=old.owner)


PETS = Catalogue((PetNamedV3,), {PetNamedV1: v1_to_v2, PetNamedV2: v2_to_v3})


def pet_bytes(event: Event) -> tuple[str, bytes]:
    new = NewEvent("pet_1", 1, event, "acct_1")
    return EventMapper(PETS).encode(new, Metadata(at=AT, actor="a", command_id="c"), DATA_KEY)


@pytest.mark.parametrize(
    "old",
    [
        PetNamedV1(name="Rex", owner="Ada"),
        PetNamedV2(names=("Rex",), owner="Ada"),
        PetNamedV3(names=("Rex",), loud=False, owner="Ada"),
    ],
    ids=name_of,
)
def test_old_versions_are_lifted_to_today_s_with_what_is_personal(old: Event) -> None:
    name, state = pet_bytes(old)
    assert name == stored_name(type(old))
    found = EventMapper(PETS).decode(1, "pet_1", 1, name, state, open_with(DATA_KEY))
    assert found.event == PetNamedV3(names=("Rex",), loud=False, owner="Ada")
    found = EventMapper(PETS).decode(1, "pet_1", 1, name, state)
    assert found.event == PetNamedV3(names=("Rex",), loud=False)


def test_upcaster_that_fails_makes_the_event_unreadable() -> None:
    name, state = pet_bytes(PetNamedV1(name="unliftable"))
    with pytest.raises(CannotDecode):
        EventMapper(PETS).decode(1, "pet_1", 1, name, state)


def test_two_events_never_share_a_stored_name() -> None:
    with pytest.raises(ValueError, match="share a stored name"):
        Catalogue((PetNamedV3, PetNamedV3), {})


@pytest.mark.parametrize("name", ["account.enchanted.v1", "account.registered.v9", "", "\x00"])
def test_unknown_event_type_can_t_be_decoded(name: str) -> None:
    golden = golden_file("account.registered.v2").read_bytes()
    with pytest.raises(CannotDecode):
        EventMapper().decode(1, "s", 1, name, golden)


@given(st.sampled_from(CATALOGUE.names()), st.binary(max_size=200))
def test_garbage_is_never_another_error(name: str, state: bytes) -> None:
    with pytest.raises(CannotDecode):
        EventMapper().decode(1, "s", 1, name, state, open_with(DATA_KEY))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(st.sampled_from(CATALOGUE.names()), st.data())
def test_damaged_event_decodes_or_is_unreadable(name: str, data: st.DataObject) -> None:
    document = json.loads(golden_file(name).read_bytes())
    part = data.draw(st.sampled_from(["event", "metadata", None]))
    target = document if part is None else document[part]
    target[data.draw(st.sampled_from(sorted(target)))] = data.draw(json_values)
    state = json.dumps(document).encode()
    stream = f"{name.partition('.')[0]}_stream"
    with suppress(CannotDecode):
        EventMapper().decode(1, stream, 3, name, state, open_with(DATA_KEY))


@given(st.sampled_from(CATALOGUE.names()), st.data())
def test_torn_event_is_unreadable(name: str, data: st.DataObject) -> None:
    golden = golden_file(name).read_bytes()
    cut = data.draw(st.integers(0, len(golden) - 1))
    with pytest.raises(CannotDecode):
        EventMapper().decode(1, "s", 1, name, golden[:cut])
