"""The house keeps its floor plan: who may know whom, how large, and what it is called."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from domain.events import CATALOGUE
from tests.infra.golden_events import golden_file

ROOT = Path(__file__).parents[2]
ROOMS = ("domain", "application", "projections", "api", "infra")
PRODUCT = sorted(
    [*ROOT.glob("*.py"), *(file for room in ROOMS for file in (ROOT / room).rglob("*.py"))]
)
MOST_LINES = 400
LARGER: dict[str, int] = {}
VAGUE = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "misc"}


def name_of(file: Path) -> str:
    return str(file.relative_to(ROOT))


def test_import_contracts_hold() -> None:
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", program, "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize("file", sorted((ROOT / "domain").glob("*.py")), ids=name_of)
def test_domain_knows_the_standard_library_and_msgspec_only(file: Path) -> None:
    allowed = sys.stdlib_module_names | {"domain", "msgspec"}
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        for name in names:
            assert name.partition(".")[0] in allowed, f"{name_of(file)} imports {name}"


@pytest.mark.parametrize("file", sorted((ROOT / "domain").glob("*.py")), ids=name_of)
def test_domain_reads_no_clock_and_draws_no_number(file: Path) -> None:
    forbidden = {"os", "random", "secrets", "time", "uuid", "socket", "asyncio", "threading"}
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert not {each.name for each in node.names} & forbidden
        if isinstance(node, ast.ImportFrom):
            assert node.module not in forbidden
        if isinstance(node, ast.Attribute):
            assert node.attr not in {"now", "utcnow", "today"}, f"line {node.lineno}"


def test_every_noun_has_its_golden_bytes() -> None:
    nouns = {name.partition(".")[0] for name in CATALOGUE.names()}
    assert {"account", "session", "api_key", "plan", "allowance", "usage"} <= nouns
    assert all(golden_file(name).exists() for name in CATALOGUE.names())


@pytest.mark.parametrize("file", PRODUCT, ids=name_of)
def test_no_file_is_too_large_to_read(file: Path) -> None:
    lines = len(file.read_text().splitlines())
    assert lines <= LARGER.get(name_of(file), MOST_LINES)


def test_nothing_is_called_by_a_name_that_says_nothing() -> None:
    for file in PRODUCT:
        assert not set(name_of(file).removesuffix(".py").split("/")) & VAGUE
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef):
                assert not node.name.lower().endswith(("manager", "helper", "utils")), node.name
