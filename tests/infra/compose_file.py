"""compose.yaml and the Dockerfile as data, read the way Docker reads them."""

import re
import shlex
from collections.abc import Mapping
from typing import Any, NamedTuple

import yaml  # type: ignore[import-untyped]

from tests.infra.compose_nats import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if "build" in service]

_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


class Variable(NamedTuple):
    """`${NAME:?message}` or `${NAME:-default}` somewhere in the file."""

    name: str
    required: bool
    default: str


def variables() -> list[Variable]:
    """Every variable that the file takes from outside, as often as it is named."""
    text = (ROOT / "compose.yaml").read_text("utf-8")
    return [
        Variable(name, sign == "?", words if sign == "-" else "")
        for name, sign, words in _VARIABLE.findall(text)
    ]


def interpolated(text: str, environ: Mapping[str, str]) -> str:
    """What Docker makes of it. Raises KeyError for a required one that isn't set."""

    def value(found: re.Match[str]) -> str:
        name, sign, words = found.groups()
        given = environ.get(name, "")
        if not given and sign == "?":
            raise KeyError(f"{name}: {words}")
        return given or (words if sign == "-" else "")

    return _VARIABLE.sub(value, text)


def environment(service: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment that this service is started with, that of the image included."""
    given: dict[str, str] = SERVICES[service].get("environment", {})
    ours = image_environment() if service in OURS else {}
    return {**ours, **{name: interpolated(str(raw), environ) for name, raw in given.items()}}


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, line continuations and comments resolved."""
    text = (ROOT / "Dockerfile").read_text("utf-8")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    parts = (line.strip().partition(" ") for line in joined.splitlines() if line.strip())
    return [(name, words.strip()) for name, _, words in parts]


def arguments(name: str) -> list[str]:
    """What follows each instruction of this name."""
    return [words for instruction, words in instructions() if instruction == name]


def copied() -> list[str]:
    """The paths of the checkout that go into the image or its build."""
    return [
        source
        for words in arguments("COPY")
        if "--from" not in words
        for source in shlex.split(words)[:-1]
    ]


def image_environment() -> dict[str, str]:
    """The image's own TOLLHOUSE variables."""
    pairs = (word.partition("=") for line in arguments("ENV") for word in shlex.split(line))
    return {name: value for name, _, value in pairs if name.startswith("TOLLHOUSE_")}
