"""Which passwords are taken (NIST SP 800-63B-4, 3.1.1.2; OWASP ASVS 5.0, V6.2).

Length, in characters of any script; hard to guess; not from a breach; not made of words that
everybody knows who knows whose password it is. No rules of composition, nothing cut off, nothing
folded: what was typed is what is hashed.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from application.ports import Ports
from domain.errors import InvalidCommand

MOST_CHARACTERS = 128
LEAST_WORD = 3
MOST_WORDS = 40

StrengthName = Literal["very weak", "weak", "fair", "strong", "very strong"]
_NAMES: tuple[StrengthName, ...] = ("very weak", "weak", "fair", "strong", "very strong")
_BREAKS = re.compile(r"[\W_]+")


class Judgement(msgspec.Struct, frozen=True):
    """What is said of a password. `warnings` say what to change, most important first."""

    score: int
    strength: StrengthName
    warnings: tuple[str, ...]
    acceptable: bool


def words_of(*texts: str | None) -> tuple[str, ...]:
    """The words in what is known of a person: their address, username, name. The last label of
    an address (`com`) is none."""
    found: list[str] = []
    for text in texts:
        if text is None:
            continue
        plain = text.casefold()[:400]
        if "@" in plain:
            plain = plain.rpartition(".")[0]
        parts = [part for part in _BREAKS.split(plain) if len(part) >= LEAST_WORD]
        found += parts
        whole = _BREAKS.sub("", plain.partition("@")[0])
        if len(whole) >= LEAST_WORD:
            found.append(whole)
    return tuple(dict.fromkeys(found))[:MOST_WORDS]


async def judge(ports: Ports, password: str, words: Sequence[str] = ()) -> Judgement:
    """Whether this password would be taken of somebody about whom these words are known.

    Raises Overloaded, StoreUnavailable.
    """
    policy = ports.policy
    known = (*policy.product_words, *words)
    found = await ports.passwords.strength(password, known)
    score, warnings = found.score, list(found.warnings)
    if len(_without(password, known)) < policy.password_min_length and _holds(password, known):
        warnings.insert(0, "It is made of words that are known of you or of this service.")
        score = min(score, 1)
    if await ports.breached.holds(_sha1(password)):
        warnings.insert(0, "It is on a list of passwords from breaches.")
        score = 0
    length = _length_fault(ports, password)
    if length is not None:
        warnings.insert(0, length)
    acceptable = length is None and score >= policy.password_min_score
    if not acceptable and not warnings:
        warnings.append("It is too easy to guess: add another word or two.")
    return Judgement(score, _NAMES[score], tuple(warnings), acceptable)


async def require_acceptable(
    ports: Ports, password: str, words: Sequence[str] = (), param: str = "password"
) -> None:
    """InvalidCommand for a password that isn't taken, with what to change. Overloaded."""
    # Before it is judged: length costs nothing, and bounds what judging can cost.
    length = _length_fault(ports, password)
    if length is not None:
        raise InvalidCommand(param, length)
    judged = await judge(ports, password, words)
    if not judged.acceptable:
        raise InvalidCommand(param, "too easy to guess. " + " ".join(judged.warnings))


def require_length(ports: Ports, password: str, param: str = "password") -> None:
    """The least that every password must be, also one that the operator sets."""
    length = _length_fault(ports, password)
    if length is not None:
        raise InvalidCommand(param, length)


def _length_fault(ports: Ports, password: str) -> str | None:
    least = ports.policy.password_min_length
    if least <= len(password) <= MOST_CHARACTERS:
        return None
    return f"{least} to {MOST_CHARACTERS} characters"


def _holds(password: str, words: Iterable[str]) -> bool:
    plain = password.casefold()
    return any(word in plain for word in words)


def _without(password: str, words: Iterable[str]) -> str:
    """What is left of the password without these words, and without what only joins them."""
    left = password.casefold()
    for word in sorted(words, key=len, reverse=True):
        left = left.replace(word, "")
    return _BREAKS.sub("", left)


def _sha1(password: str) -> bytes:
    # What lists of breached passwords are published as; it protects nothing here.
    data = password.encode("utf-8", "surrogatepass")
    return hashlib.sha1(data, usedforsecurity=False).digest()
