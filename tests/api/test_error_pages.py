"""A problem's `type` always leads to a page, and docs/errors says the same."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from api.http.codes import CODES
from api.http.error_pages import ERROR_ROUTES, markdown_index, markdown_page, write_pages
from api.http.problems import EXCEPTION_HANDLERS, HttpProblem, problem_for

DOCS = Path("docs/errors")


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient[Any]]:
    app = Litestar(ERROR_ROUTES, exception_handlers=EXCEPTION_HANDLERS, openapi_config=None)
    with TestClient(app) as client:
        yield client


@pytest.mark.parametrize("code", CODES)
def test_every_problems_type_leads_to_its_page(client: TestClient[Any], code: str) -> None:
    problem, _ = problem_for(HttpProblem(code, ""), "")
    page = client.get(problem.type)
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert code in page.text
    assert CODES[code].title.split("'")[0] in page.text


def test_the_list_links_every_page(client: TestClient[Any]) -> None:
    listing = client.get("/errors").text
    for code in CODES.values():
        assert f'href="/errors/{code.slug}"' in listing


def test_an_unknown_page_is_a_problem_that_echoes_nothing(client: TestClient[Any]) -> None:
    reply = client.get("/errors/%3Cscript%3E")
    assert (reply.status_code, reply.json()["code"]) == (404, "NOT_FOUND")
    assert "script" not in reply.text


def test_pages_are_escaped_and_carry_neither_script_nor_style(client: TestClient[Any]) -> None:
    for code in CODES.values():
        page = client.get(f"/errors/{code.slug}").text
        assert "<script" not in page
        assert "style" not in page
        assert "&lt;log id&gt;" in page or "<log id>" not in page


def test_docs_errors_agrees_with_the_catalogue(tmp_path: Path) -> None:
    """After a change of the catalogue: python -m api.http.error_pages."""
    write_pages(tmp_path)
    kept = {file.name: file.read_text() for file in DOCS.glob("*.md")}
    assert kept == {file.name: file.read_text() for file in tmp_path.glob("*.md")}
    assert kept["README.md"] == markdown_index()
    assert all(kept[f"{code.slug}.md"] == markdown_page(code) for code in CODES.values())


def test_pages_of_codes_that_are_gone_go_too(tmp_path: Path) -> None:
    (tmp_path / "gone.md").write_text("x")
    write_pages(tmp_path)
    assert not (tmp_path / "gone.md").exists()
