"""How many examples hypothesis tries: few and always the same, or many and new (`just explore`)."""

from hypothesis import settings

USUAL = 100  # of hypothesis itself, where a test says nothing


def examples(number: int) -> int:
    """So many in an ordinary run, and as many times more as the profile in force has."""
    return number * settings().max_examples // USUAL
