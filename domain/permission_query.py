"""The query language of permissions: `documents.read AND (role:editor OR NOT billing.*)`.

NOT binds tighter than AND, AND tighter than OR; the words may be in any case. An atom is a
permission, `role:NAME`, or a wildcard. What is held may be a wildcard as well: `documents.*`
covers everything below `documents.`, `*` covers all. Asked for, `documents.*` means any
permission below `documents.`, and `*` any at all.

Queries come from callers: length and nesting are bounded, and a refusal names the column.
"""

import re
from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, assert_never

import msgspec

from domain.errors import InvalidQuery

PARAM = "permissions"
MAX_CHARACTERS = 1_000
MAX_NESTING = 32
ROLE = "role:"
RESERVED = frozenset({"and", "or", "not"})
"""Words of the language: no permission may be called so, or it could not be asked for."""

NAME = re.compile(r"[a-z0-9_-]+(?:[.:][a-z0-9_-]+)*")
WILDCARD = re.compile(r"(?:[a-z0-9_-]+[.:])*\*")

_TOKEN = re.compile(r"\s*(?:([()])|([^\s()]+))")
_CACHED = 1024


class Has(msgspec.Struct, frozen=True):
    """Holds this permission; of a wildcard, any that it stands for."""

    permission: str


class InRole(msgspec.Struct, frozen=True):
    """Has this role."""

    role: str


class Not(msgspec.Struct, frozen=True):
    """The part does not hold."""

    part: "Node"


class And(msgspec.Struct, frozen=True):
    """Every part holds; two parts or more."""

    parts: tuple["Node", ...]


class Or(msgspec.Struct, frozen=True):
    """Some part holds; two parts or more."""

    parts: tuple["Node", ...]


Node = Has | InRole | Not | And | Or


class Query(msgspec.Struct, frozen=True):
    """A query that was understood. `str` writes it so that it parses to the same again."""

    root: Node

    def holds(self, permissions: Sequence[str], roles: Sequence[str] = ()) -> bool:
        """Whether who holds these permissions and roles is let through."""
        return _holds(self.root, permissions, roles)

    def __str__(self) -> str:
        return _written(self.root)


@lru_cache(_CACHED)
def parse(text: str) -> Query:
    """The query of this text. Raises InvalidQuery naming the first column that is wrong."""
    if len(text) > MAX_CHARACTERS:
        column = MAX_CHARACTERS + 1
        raise InvalidQuery(PARAM, column, f"a query has at most {MAX_CHARACTERS} characters")
    return Query(_Parser(text).whole())


class _Held(NamedTuple):
    """Permissions, prepared for queries: one may name two hundred, and a key hold a hundred.
    `below` are the beginnings that the wildcards among them stand for."""

    ordered: list[str]
    below: tuple[str, ...]

    def covers(self, asked: str) -> bool:
        """Whether any of them answers what is asked for; both may be wildcards."""
        if asked.startswith(self.below):
            return True
        if not asked.endswith("*"):
            return False
        wanted = asked[:-1]
        first = bisect_left(self.ordered, wanted)
        return first < len(self.ordered) and self.ordered[first].startswith(wanted)


@lru_cache(_CACHED)
def _held(permissions: tuple[str, ...]) -> _Held:
    below = tuple(each[:-1] for each in permissions if each.endswith("*"))
    return _Held(sorted(permissions), below)


class _Token(NamedTuple):
    """`text` is empty at the end of the query; `column` counts from 1."""

    text: str
    column: int

    @property
    def word(self) -> str:
        """The text as the language's own words are compared."""
        return self.text.lower()


class _Parser:
    """Recursive descent; parentheses alone recurse, and they are bounded."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._next = 0
        self._depth = 0

    def whole(self) -> Node:
        """The query up to its end."""
        node = self._either()
        left = self._peek()
        if left.text == ")":
            raise _fault(left, "this `)` closes nothing")
        if left.text:
            raise _fault(left, f"expected AND, OR or the end, found {_shown(left)}")
        return node

    def _either(self) -> Node:
        parts = [self._all()]
        while self._peek().word == "or":
            self._take()
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _all(self) -> Node:
        parts = [self._one()]
        while self._peek().word == "and":
            self._take()
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _one(self) -> Node:
        negated = False
        while self._peek().word == "not":
            self._take()
            negated = not negated
        node = self._grouped() if self._peek().text == "(" else _atom(self._take())
        if not negated:
            return node
        return node.part if isinstance(node, Not) else Not(node)

    def _grouped(self) -> Node:
        opening = self._take()
        if self._depth == MAX_NESTING:
            raise _fault(opening, f"parentheses are nested more than {MAX_NESTING} deep")
        self._depth += 1
        node = self._either()
        closing = self._take()
        if closing.text != ")":
            reason = f"expected `)` for the `(` at column {opening.column}, found {_shown(closing)}"
            raise _fault(closing, reason)
        self._depth -= 1
        return node

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._tokens[self._next]
        if token.text:
            self._next += 1
        return token


def _tokens(text: str) -> list[_Token]:
    tokens = []
    at = 0
    while match := _TOKEN.match(text, at):
        number = match.lastindex
        assert number is not None
        tokens.append(_Token(match[number], match.start(number) + 1))
        at = match.end()
    tokens.append(_Token("", len(text) + 1))
    return tokens


def _atom(token: _Token) -> Has | InRole:
    text = token.text
    if not text or text == ")" or token.word in RESERVED:
        raise _fault(token, f"expected a permission, NOT or `(`, found {_shown(token)}")
    if text.startswith(ROLE):
        _require(NAME, text[len(ROLE) :], token, len(ROLE), "a role is `role:` and its whole name")
        return InRole(text[len(ROLE) :])
    if "*" in text:
        _require(WILDCARD, text, token, 0, "`*` stands alone or at the end, after . or :")
    else:
        _require(NAME, text, token, 0, "a permission is words of a-z 0-9 _ - joined by . or :")
    return Has(text)


def _require(pattern: re.Pattern[str], text: str, token: _Token, offset: int, reason: str) -> None:
    if pattern.fullmatch(text) is None:
        match = pattern.match(text)
        column = token.column + offset + (match.end() if match else 0)
        raise InvalidQuery(PARAM, column, f"{reason}, found {_shown(token)}")


def _fault(token: _Token, reason: str) -> InvalidQuery:
    return InvalidQuery(PARAM, token.column, reason)


def _shown(token: _Token) -> str:
    if not token.text:
        return "the end"
    text = token.text if len(token.text) <= 40 else f"{token.text[:39]}…"
    return "`" + "".join(each if each.isprintable() else "?" for each in text) + "`"


def _holds(node: Node, permissions: Sequence[str], roles: Sequence[str]) -> bool:
    match node:
        case Has(permission):
            return permission in permissions or _held(tuple(permissions)).covers(permission)
        case InRole(role):
            return role in roles
        case Not(part):
            return not _holds(part, permissions, roles)
        case And(parts):
            return all(_holds(part, permissions, roles) for part in parts)
        case Or(parts):
            return any(_holds(part, permissions, roles) for part in parts)
        case _:
            assert_never(node)


def _written(node: Node) -> str:
    match node:
        case Has(permission):
            return permission
        case InRole(role):
            return ROLE + role
        case Not(part):
            return f"NOT {_inside(part)}"
        case And(parts):
            return " AND ".join(_inside(part) for part in parts)
        case Or(parts):
            return " OR ".join(_inside(part) for part in parts)
        case _:
            assert_never(node)


def _inside(node: Node) -> str:
    return f"({_written(node)})" if isinstance(node, And | Or) else _written(node)
