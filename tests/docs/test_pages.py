"""The pages say what is there: links, settings and events are checked against the code."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from domain.event import Metadata, personal_fields
from domain.events import CATALOGUE
from infra.settings import LATER, Settings
from tests.docs.transcript import table_rows

ROOT = Path(__file__).parents[2]
EVENTS = (ROOT / "docs/events.md").read_text("utf-8")
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
_CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_ADR = re.compile(r"(\d{4})-[a-z0-9-]+\.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    """To a file, and to a heading of it where one is named."""
    dead = []
    for link in _LINK.findall(_CODE.sub("", page.read_text("utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            dead.append(link)
    assert not dead, f"{page.relative_to(ROOT)} links to what isn't there: {', '.join(dead)}"


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


def test_every_setting_of_the_example_exists() -> None:
    """And every setting that exists is in the example."""
    example = (ROOT / ".env.example").read_text("utf-8")
    written = set(re.findall(r"^#?TOLLHOUSE_([A-Z0-9_]+)=", example, re.MULTILINE))
    known = {name.upper() for name in Settings.__struct_fields__}
    assert written <= known | set(LATER)
    assert known <= written


@pytest.mark.parametrize("name", CATALOGUE.names())
def test_the_events_page_has_every_field_and_says_which_are_personal(name: str) -> None:
    """What the log keeps, and what of it is sealed, can be read without reading code."""
    event_type = CATALOGUE.type_of(name)
    assert event_type is not None
    assert _written(f"### `{name}`") == _declared(event_type)


def test_the_events_page_has_no_event_that_does_not_exist() -> None:
    """A page of wishes would be believed."""
    headings = re.findall(r"^### `([a-z_.0-9]+)`$", EVENTS, re.MULTILINE)
    assert sorted(headings) == CATALOGUE.names()


def test_the_events_page_has_the_metadata() -> None:
    """Who, when and why travels with each event."""
    assert _written("## Metadata") == _declared(Metadata)


def _written(heading: str) -> dict[str, bool]:
    return {row[0].strip("`"): "**personal**" in row[1] for row in table_rows(EVENTS, heading)}


def _declared(struct_type: type[msgspec.Struct]) -> dict[str, bool]:
    personal = personal_fields(struct_type)
    fields: tuple[Any, ...] = msgspec.structs.fields(struct_type)
    return {field.encode_name: field.encode_name in personal for field in fields}


def test_the_glossary_leads_to_modules_that_exist() -> None:
    """A word is where the page says it is."""
    page = (ROOT / "docs/glossary.md").read_text("utf-8")
    places = re.findall(r"`([a-z_]+/[a-z_/]*(?:\.py)?)`", page)
    assert places
    assert not [place for place in places if not (ROOT / place).exists()]


def test_every_decision_record_is_in_the_index_and_has_its_four_parts() -> None:
    """Context, decision, consequences, when to revisit; numbered without a gap."""
    folder = ROOT / "docs/adr"
    index = (folder / "README.md").read_text("utf-8")
    records = sorted(path for path in folder.iterdir() if _ADR.fullmatch(path.name))
    assert [int(path.name[:4]) for path in records] == list(range(1, len(records) + 1))
    for path in records:
        assert f"({path.name})" in index, f"{path.name} is not in the index"
        headings = re.findall(r"^## (.+)$", path.read_text("utf-8"), re.MULTILINE)
        assert headings == ["Context", "Decision", "Consequences", "When to revisit"], path.name
