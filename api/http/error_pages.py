"""A page for every error code, at the address that a problem's `type` names.

The pages are made from `CODES` at run time, so they are there wherever the server runs.
`docs/errors/` holds the same pages as Markdown; `python -m api.http.error_pages` writes them, and
a test checks that they agree.
"""

import json
import re
import sys
from html import escape
from pathlib import Path

import msgspec
from litestar import MediaType, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from api.http.code import Code
from api.http.codes import CODES
from api.http.problems import HttpProblem, Problem

_BY_SLUG = {code.slug: code for code in CODES.values()}


def markdown_page(code: Code) -> str:
    """The page of one code, as it is kept in `docs/errors/<slug>.md`."""
    return (
        f"# {code.code}\n\n{_status(code)}: {code.title}.\n\n"
        f"## What it means\n\n{code.meaning}\n\n"
        f"## What to do\n\n{code.remedy}\n\n"
        f"## Example\n\n```json\n{_example(code)}\n```\n"
    )


def markdown_index() -> str:
    """The list of all codes, as it is kept in `docs/errors/README.md`."""
    rows = "".join(
        f"| [{code.code}]({code.slug}.md) | {code.status} | {code.title} |\n"
        for code in CODES.values()
    )
    return f"# Error codes\n\n{_INTRODUCTION}\n\n| code | status | meaning |\n|---|---|---|\n{rows}"


def write_pages(folder: Path) -> None:
    """Make `folder` hold one page a code, the list, and no page of a code that is gone."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = {f"{code.slug}.md": markdown_page(code) for code in CODES.values()}
    pages["README.md"] = markdown_index()
    for stale in folder.glob("*.md"):
        if stale.name not in pages:
            stale.unlink()
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")


@get("/errors", include_in_schema=False, media_type=MediaType.HTML, sync_to_thread=False)
def error_list() -> Response[str]:
    """All codes, with links."""
    rows = "".join(
        f'<tr><td><a href="/errors/{code.slug}">{code.code}</a></td>'
        f"<td>{code.status}</td><td>{escape(code.title)}</td></tr>\n"
        for code in CODES.values()
    )
    table = f"<table>\n<tr><th>Code</th><th>Status</th><th>Meaning</th></tr>\n{rows}</table>"
    return _page("Error codes", f"<p>{_prose(_INTRODUCTION)}</p>\n{table}")


@get("/errors/{slug:str}", include_in_schema=False, media_type=MediaType.HTML, sync_to_thread=False)
def error_page(slug: FromPath[str]) -> Response[str]:
    """One code."""
    code = _BY_SLUG.get(slug)
    if code is None:
        raise HttpProblem("NOT_FOUND", "No such error code.", hint="GET /errors lists them all.")
    return _page(
        code.code,
        f"<p>{escape(_status(code))}: {escape(code.title)}.</p>\n"
        f"<h2>What it means</h2>\n<p>{_prose(code.meaning)}</p>\n"
        f"<h2>What to do</h2>\n<p>{_prose(code.remedy)}</p>\n"
        f"<h2>Example</h2>\n<pre>{escape(_example(code))}</pre>\n"
        '<p><a href="/errors">All error codes</a></p>',
    )


ERROR_ROUTES: list[HTTPRouteHandler] = [error_list, error_page]

_INTRODUCTION = (
    "Every refusal is a problem document (RFC 9457, `application/problem+json`). Its `code` never "
    "changes its meaning and its `type` leads to the page of the code; texts may change, so "
    "programs should branch on `code`. Quote the `request_id` when you ask for help."
)


def _status(code: Code) -> str:
    return f"Status {code.status}"


def _example(code: Code) -> str:
    problem = Problem(
        type=f"/errors/{code.slug}",
        title=code.title,
        status=code.status,
        code=code.code,
        detail=code.example,
        param=code.param,
        request_id="req_5f0c7d2a91b84e6633aa18f2",
    )
    return json.dumps(msgspec.to_builtins(problem), indent=2)


def _prose(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _page(title: str, content: str) -> Response[str]:
    # No styles: the content policy of these pages allows none, and they read well without.
    html = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)} - Tollhouse</title>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n{content}\n</body>\n</html>\n"
    )
    headers = {"cache-control": "public, max-age=3600"}
    return Response(html, media_type="text/html", headers=headers)


if __name__ == "__main__":
    write_pages(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/errors"))
