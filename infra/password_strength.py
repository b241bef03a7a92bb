"""How hard a password is to guess: zxcvbn (Wheeler, USENIX Security 2016), in bounded time.

It knows the 30,000 most common passwords, names and words in four languages, keyboard walks,
dates, repeats, and all of these with letters replaced by digits and signs.
"""

from collections.abc import Sequence
from urllib.parse import urlsplit

from application.challenge_ports import Strength

MOST_JUDGED = 64
"""Characters; what comes behind can't make a password easier to guess, only slower to judge."""

PRODUCT = "tollhouse"


def strength(password: str, words: Sequence[str]) -> Strength:
    """The score, 0 to 4, for a guesser who knows these words, and what makes it no higher."""
    # Here, because it reads its dictionaries: only the processes that judge have them in memory.
    from zxcvbn import zxcvbn  # type: ignore[import-untyped]

    if not password:
        return Strength(0)  # of nothing, zxcvbn raises
    found = zxcvbn(password[:MOST_JUDGED], user_inputs=list(words))
    feedback = found["feedback"]
    said = (feedback["warning"], *feedback["suggestions"])
    return Strength(int(found["score"]), tuple(str(each) for each in said if each))


def product_words(public_url: str | None) -> tuple[str, ...]:
    """What the product is called, and where it runs: the names of its host but the last."""
    host = urlsplit(public_url or "").hostname or ""
    return (PRODUCT, *(label for label in host.split(".")[:-1] if len(label) >= 4))
