"""Permission queries: what is written is what is meant, and an error says where it is."""

import time
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from domain.errors import InvalidQuery
from domain.permission_query import (
    MAX_CHARACTERS,
    MAX_NESTING,
    And,
    Has,
    InRole,
    Node,
    Not,
    Or,
    Query,
    parse,
)
from tests.exploring import examples

WORDS = ("a", "b", "docs", "docs.read", "docs.drafts.read", "docs:write", "x-1_y", "docsx")
WILDCARDS = ("*", "docs.*", "docs:*", "docs.drafts.*", "a.*")
ROLES = ("editor", "admin", "billing.admin")

ATOMS = st.sampled_from(WORDS + WILDCARDS).map(Has) | st.sampled_from(ROLES).map(InRole)


def _joined(nodes: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    several = st.lists(nodes, min_size=2, max_size=3).map(tuple)
    return several.map(And) | several.map(Or) | nodes.map(_negated)


def _negated(node: Node) -> Node:
    return node.part if isinstance(node, Not) else Not(node)


QUERIES = st.recursive(ATOMS, _joined, max_leaves=12).map(Query)
HELD = st.lists(st.sampled_from(WORDS + WILDCARDS), max_size=4, unique=True)
IN_ROLES = st.lists(st.sampled_from(ROLES), max_size=2, unique=True)

# Every permission that could matter here, for an oracle that knows no wildcards.
UNIVERSE = (*WORDS, "docs.other", "docs.drafts.other", "docs:other", "a.other", "other")


def granted(held: Sequence[str]) -> set[str]:
    """All permissions of the universe that these stand for."""
    return {
        each
        for each in UNIVERSE
        for one in held
        if each == one or (one.endswith("*") and each.startswith(one[:-1]))
    }


def oracle(node: Node, permissions: set[str], roles: Sequence[str]) -> bool:
    """By truth tables over the universe, not by the rules of `covers`."""
    if isinstance(node, Has):
        return bool(granted([node.permission]) & permissions)
    if isinstance(node, InRole):
        return node.role in roles
    if isinstance(node, Not):
        return not oracle(node.part, permissions, roles)
    results = [oracle(part, permissions, roles) for part in node.parts]
    return all(results) if isinstance(node, And) else any(results)


@settings(max_examples=examples(200))
@given(QUERIES, HELD, IN_ROLES)
def test_query_means_the_same_after_it_is_written_and_read(
    query: Query, held: list[str], roles: list[str]
) -> None:
    text = str(query)
    if len(text) > MAX_CHARACTERS:
        return
    assert parse(text) == query
    assert str(parse(text)) == text
    assert query.holds(tuple(held), tuple(roles)) == oracle(query.root, granted(held), roles)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("a AND (b OR NOT docs)", "a and(b oR not docs)"),
        ("a AND b OR docs", "(a AND b) OR docs"),
        ("a OR b AND docs", "a OR (b AND docs)"),
        ("NOT a AND b", "(NOT a) AND b"),
        ("NOT NOT a", "a"),
        ("NOT (NOT (NOT a))", "NOT a"),
        ("((a))", "  a\n"),
        ("role:editor", "( role:editor )"),
    ],
)
def test_not_binds_tighter_than_and_and_and_tighter_than_or(text: str, same: str) -> None:
    assert parse(text) == parse(same)


@pytest.mark.parametrize(
    ("held", "asked", "covered"),
    [
        ("docs.*", "docs.read", True),
        ("docs.*", "docs.drafts.read", True),
        ("docs.*", "docs", False),
        ("docs.*", "docsx", False),
        ("docs.*", "docs:read", False),
        ("*", "anything.at:all", True),
        ("docs.read", "docs.*", True),
        ("docs", "docs.*", False),
        ("docs.drafts.*", "docs.*", True),
        ("docs.*", "docs.drafts.*", True),
        ("docs.read", "*", True),
        ("docs.read", "docs.drafts.*", False),
    ],
)
def test_wildcard_covers_what_is_below_it(held: str, asked: str, covered: bool) -> None:
    assert parse(asked).holds((held,)) is covered


@pytest.mark.parametrize("held", ["w{}.*", "w{}.read"])
def test_the_largest_query_of_the_largest_key_holds_nobody_up(held: str) -> None:
    """It is judged on the event loop, where every other verification waits for it."""
    permissions = tuple(held.format(number) for number in range(100))
    for atoms in (" OR ".join("abcde" * 40), " OR ".join(["a.*"] * 125)):
        query = parse(atoms[:MAX_CHARACTERS].rpartition(" OR ")[0])
        took = []
        for _ in range(5):
            began = time.perf_counter()
            assert not query.holds(permissions)
            took.append(time.perf_counter() - began)
        assert min(took) < 0.005


def test_who_holds_nothing_passes_only_what_asks_for_nothing() -> None:
    assert not parse("*").holds(())
    assert parse("NOT *").holds(())
    assert not parse("role:editor").holds(("editor", "*"))


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("", 1),
        ("   ", 4),
        ("a b", 3),
        ("a AND", 6),
        ("a AND OR b", 7),
        ("a AND )", 7),
        ("AND a", 1),
        ("not", 4),
        ("(a", 3),
        ("(a OR (b)", 10),
        ("a)", 2),
        ("()", 2),
        ("a AND Docs", 7),
        ("a OR docs..read", 10),
        ("docs.", 5),
        ("doc*", 1),
        ("docs.*.read", 7),
        ("role:", 6),
        ("role:*", 6),
        ("a AND role:Editor", 12),
        ("ä", 1),
        ("a\0b", 2),
        ("a, b", 2),
        ("a && b", 3),
        ("x" * 10_000, MAX_CHARACTERS + 1),
        ("(" * 1_000 + "a" + ")" * 1_000, MAX_CHARACTERS + 1),
        ("(" * 400 + "a" + ")" * 400, MAX_NESTING + 1),
        ("(" * MAX_CHARACTERS, MAX_NESTING + 1),
    ],
)
def test_error_names_the_column_that_is_wrong(text: str, column: int) -> None:
    with pytest.raises(InvalidQuery) as refused:
        parse(text)
    assert (refused.value.param, refused.value.column) == ("permissions", column)
    assert refused.value.reason
    assert len(refused.value.reason) < 150
    assert refused.value.reason.isprintable()


def test_longest_and_deepest_query_is_understood() -> None:
    nested = "(" * MAX_NESTING + "a" + ")" * MAX_NESTING
    assert parse(nested) == parse("a")
    nots = "not " * ((MAX_CHARACTERS - 1) // 4)
    assert parse(nots + "a") is not None
    many = " or ".join(["a"] * (MAX_CHARACTERS // 5))
    assert len(many) <= MAX_CHARACTERS
    assert parse(many).holds(("a",))


@given(st.text(alphabet="ab.*:() \tANDORnot\0é", max_size=60))
@example("role:a.b")
def test_any_text_is_a_query_or_an_error_within_it(text: str) -> None:
    try:
        query = parse(text)
    except InvalidQuery as error:
        at = error.column
    else:
        at = 1
        assert parse(str(query)) == query
    assert 1 <= at <= len(text) + 1


def test_query_is_read_once() -> None:
    assert parse("docs.read AND NOT a") is parse("docs.read AND NOT a")
