"""docs/security.md names a test for everything that must hold, and each of them exists."""

from tests.security import PAGE, Guarantee, guarantees, wrong

ONE = "### 1. Nothing leaks\n\nWhy.\n\n- `tests/docs/test_security_page.py::{name}`: how\n"


def test_every_row_is_shown_by_tests_that_exist() -> None:
    problems = wrong(guarantees(PAGE.read_text("utf-8")))
    assert not problems, "\n".join(problems)


def test_a_row_without_a_test_or_with_one_that_is_gone_is_found() -> None:
    """The check itself can fail."""
    there = guarantees(ONE.format(name="test_every_row_is_shown_by_tests_that_exist"))
    assert there == [
        Guarantee(
            1,
            "Nothing leaks",
            [
                (
                    "tests/docs/test_security_page.py",
                    "test_every_row_is_shown_by_tests_that_exist",
                )
            ],
            [],
        )
    ]
    assert [each for each in wrong(there) if each.startswith("row")] == []
    gone = wrong(guarantees(ONE.format(name="test_that_was_never_written")))
    assert [each for each in gone if "which is not there" in each]
    assert "row 1 has no test" in wrong(guarantees("### 1. Nothing leaks\n"))
    gaps = wrong(guarantees(f"{ONE}- to be filled: races\n"))
    assert "row 1 is to be filled: races" in gaps
    assert [each for each in wrong(there) if each.startswith("the rows are")]
