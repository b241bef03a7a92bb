"""The reference page comes whole from here, and calls nowhere else."""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from api.http.reference import SCALAR_VERSION, reference_routes
from api.http.security_headers import SecurityHeaders

DOCUMENT = b'{"openapi": "3.1.0"}'
EVENTS = b'{"asyncapi": "3.0.0"}'
ASSETS = Path("api/http/assets")


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient[Any]]:
    app = Litestar(reference_routes(DOCUMENT, EVENTS), openapi_config=None)
    with TestClient(app) as client:
        client.follow_redirects = False
        yield client


def test_the_page_loads_nothing_from_elsewhere(client: TestClient[Any]) -> None:
    page = client.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert loaded
    assert all(url.startswith(("/", "data:")) and not url.startswith("//") for url in loaded)
    for url in loaded:
        if url.startswith("/"):
            assert client.get(url).status_code == 200
    # Inline scripts would need an exception in the content policy.
    assert re.search(r"<script(?![^>]*src=)", page.text) is None


def test_whatever_would_call_out_is_switched_off(client: TestClient[Any]) -> None:
    start = client.get("/docs/start.js").text
    for option in (
        "withDefaultFonts: false",
        "telemetry: false",
        "agent: { disabled: true }",
        "mcp: { disabled: true }",
        "hideClientButton: true",
        'showDeveloperTools: "never"',
        'url: "/openapi.json"',
    ):
        assert option in start
    assert "proxyUrl" not in start
    assert "http" not in start


def test_the_pages_policy_lets_it_speak_to_its_own_server_only() -> None:
    headers = SecurityHeaders(production=True).for_path("/docs")
    policy = dict(headers.pairs)[b"content-security-policy"].decode()
    directives = dict(part.split(" ", 1) for part in policy.split("; "))
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == directives["connect-src"] == "'self'"
    assert "http" not in policy
    assert "*" not in policy


def test_the_script_is_compressed_where_that_is_understood(client: TestClient[Any]) -> None:
    packed = client.get("/docs/scalar.js", headers={"accept-encoding": "br, gzip;q=0.5"})
    assert packed.headers["content-encoding"] == "gzip"
    for offer in ("identity", "gzip;q=0", "br"):
        plain = client.get("/docs/scalar.js", headers={"accept-encoding": offer})
        assert "content-encoding" not in plain.headers
        assert plain.content == packed.content
    assert "immutable" in packed.headers["cache-control"]
    assert packed.headers["vary"] == "accept-encoding"


def test_the_page_asks_for_the_version_that_is_kept(client: TestClient[Any]) -> None:
    assert f"/docs/scalar.js?v={SCALAR_VERSION}" in client.get("/docs").text
    kept = ASSETS / f"scalar-api-reference-{SCALAR_VERSION}.js.gz"
    assert SCALAR_VERSION.encode() in gzip.decompress(kept.read_bytes())
    licence = (ASSETS / "scalar-api-reference-LICENSE.txt").read_text()
    assert SCALAR_VERSION in licence
    assert "Permission is hereby granted" in licence


@pytest.mark.parametrize("path", ["/swagger", "/redoc"])
def test_the_names_that_people_try_lead_to_the_page(client: TestClient[Any], path: str) -> None:
    reply = client.get(path)
    assert (reply.status_code, reply.headers["location"]) == (302, "/docs")


def test_the_documents_are_answered_as_they_are(client: TestClient[Any]) -> None:
    for path, document in (("/openapi.json", DOCUMENT), ("/asyncapi.json", EVENTS)):
        reply = client.get(path)
        assert reply.content == document
        assert reply.headers["content-type"] == "application/json"


def test_none_of_it_is_in_the_document() -> None:
    app = Litestar(reference_routes(DOCUMENT, EVENTS))
    assert not app.openapi_schema.paths
