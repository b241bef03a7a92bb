"""What a profile may be made of: nothing that steers the page or terminal that shows it."""

import pytest

from domain import profiles
from domain.errors import InvalidCommand
from domain.profiles import PERSONAL_FIELDS, Profile

CONTROLS = ["\x00", "\x01", "\x08", "\x1b[2J", "\x7f", "\x85", "\x9b"]
LINES = ["\n", "\r", "\t"]
DIRECTIONS = ["\u202a", "\u202d", "\u202e", "\u2066", "\u2069", "\u2028", "\u2029"]
ONE_LINE = ["name", "phone", "avatar_url", "wallet_address"]


def of(field: str, text: str) -> Profile:
    return Profile(**{field: text})  # type: ignore[arg-type]


@pytest.mark.parametrize("field", PERSONAL_FIELDS)
@pytest.mark.parametrize("odd", CONTROLS)
def test_no_field_has_control_characters(field: str, odd: str) -> None:
    with pytest.raises(InvalidCommand) as refused:
        profiles.checked(of(field, f"https://a.example/{odd}b"))
    assert refused.value.param == field
    with pytest.raises(InvalidCommand):
        profiles.change(Profile(), of(field, f"https://a.example/{odd}b"))


@pytest.mark.parametrize("field", ONE_LINE)
@pytest.mark.parametrize("odd", [*LINES, *DIRECTIONS])
def test_a_field_of_one_line_is_one_line_in_one_direction(field: str, odd: str) -> None:
    with pytest.raises(InvalidCommand) as refused:
        profiles.checked(of(field, f"https://a.example/{odd}b"))
    assert refused.value.param == field


@pytest.mark.parametrize("field", ["about", "hobbies"])
def test_texts_have_lines_and_tabs_and_any_script(field: str) -> None:
    text = "one\ntwo\r\n\tthree \u2067\u05e9\u05dc\u05d5\u05dd\u2069"
    assert getattr(profiles.checked(of(field, text)), field) == text


@pytest.mark.parametrize(
    "name", ["Zo\u00eb", "\u0645\u0631\u06cc\u0645\u200c", "\U0001f469\u200d\U0001f680", ""]
)
def test_names_are_of_any_script(name: str) -> None:
    assert profiles.checked(of("name", name)).name == name


def test_what_was_kept_before_keeps_nobody_from_changing_the_rest() -> None:
    known = Profile(name="old\x00name", about="old\x1btext")
    wanted = Profile(name="old\x00name", about="old\x1btext", phone="+49 30 1")
    (event,) = profiles.change(known, wanted)
    assert getattr(event, "changed") == ("phone",)  # noqa: B009
    assert profiles.checked(wanted, known) == wanted
