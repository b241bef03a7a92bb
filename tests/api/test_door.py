"""What the outer door holds for every request, over real sockets."""

import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from litestar.enums import ScopeType
from litestar.types import HTTPScope, Receive, Scope, Send
from structlog.testing import capture_logs

from api.http.door import Door
from api.http.request_body import body_limit
from application.errors import DirectoryStale
from tests.api.serving import Reply, request, send, serving

KEY = "th_live_" + "a1B" * 16 + "Z"
JSON = "Content-Type: application/json"
FORM = "Content-Type: application/x-www-form-urlencoded"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers what it got; /boom and /half fail before and after the answer's start."""
    assert scope["type"] == ScopeType.HTTP
    if scope["path"] == "/boom":
        raise RuntimeError("a secret detail")
    body = b""
    if scope["method"] != "GET":
        message: Any = await receive()
        assert not message["more_body"]
        body = message["body"]
    seen = {"id": scope["state"]["request_id"], "body": body.decode()}
    out = json.dumps(seen).encode()
    headers = [(b"content-length", str(len(out)).encode()), (b"cache-control", b"public")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if scope["path"] == "/half":
        raise RuntimeError("in the middle")
    await send({"type": "http.response.body", "body": out, "more_body": False})


async def silent_lane(scope: HTTPScope, receive: Receive) -> bytes:
    return b"{}"


async def stale_lane(scope: HTTPScope, receive: Receive) -> bytes:
    raise DirectoryStale


def door(**options: Any) -> Door:
    return Door(echo, lane=options.pop("lane", silent_lane), **{"production": False, **options})


Ask = Callable[..., Any]


@pytest.fixture
async def ask() -> AsyncIterator[Ask]:
    async with serving(door()) as port:

        async def ask(*pieces: bytes, **options: Any) -> Reply:
            return await send(port, *pieces, **options)

        yield ask


pytestmark = pytest.mark.anyio


def refused(reply: Reply, status: int, code: str, param: str | None = None) -> None:
    problem = reply.json()
    assert (reply.status, problem["code"], problem.get("param")) == (status, code, param)
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.headers["request-id"] == problem["request_id"]
    assert reply.headers["content-security-policy"]


async def test_request_id_is_echoed_if_sane_else_made(ask: Ask) -> None:
    kept = await ask(request("GET", "/", ["Request-Id: my.id_1-2"]))
    assert kept.headers["request-id"] == kept.json()["id"] == "my.id_1-2"
    for bad in ("a b", "x" * 129, "é", ""):
        made = await ask(request("GET", "/", [f"Request-Id: {bad}"]))
        assert made.headers["request-id"] == made.json()["id"]
        assert made.json()["id"].startswith("req_")


async def test_made_request_ids_never_repeat(ask: Ask) -> None:
    ids = {(await ask(request("GET", "/"))).json()["id"] for _ in range(50)}
    assert len(ids) == 50


async def test_every_answer_has_the_security_headers(ask: Ask) -> None:
    plain = (await ask(request("GET", "/"))).headers
    assert plain["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert plain["x-content-type-options"] == "nosniff"
    assert plain["referrer-policy"] == "no-referrer"
    assert "permissions-policy" in plain
    assert "cross-origin-opener-policy" in plain
    assert "strict-transport-security" not in plain
    assert plain["cache-control"] == "public"
    assert (await ask(request("GET", "/v1/x"))).headers["cache-control"] == "no-store"
    lane = await ask(request("POST", "/v1/keys/verify", [JSON], b"{}"))
    assert lane.headers["cache-control"] == "no-store"
    assert "unsafe" not in lane.headers["content-security-policy"]
    docs = (await ask(request("GET", "/docs"))).headers["content-security-policy"]
    assert "script-src 'self'" in docs
    assert "unsafe-eval" not in docs


async def test_production_promises_https_only() -> None:
    async with serving(door(production=True)) as port:
        reply = await send(port, request("GET", "/"))
    assert "max-age=" in reply.headers["strict-transport-security"]


async def test_header_floods_are_refused(ask: Ask) -> None:
    many = await ask(request("GET", "/", [f"X-{n}: 1" for n in range(64)]))
    refused(many, 431, "HEADERS_TOO_LARGE")
    large = await ask(request("GET", "/", [f"X-Big: {'a' * 17_000}"]))
    refused(large, 431, "HEADERS_TOO_LARGE")
    lane = await ask(request("POST", "/v1/keys/verify", [f"X-Big: {'a' * 17_000}"], b""))
    refused(lane, 431, "HEADERS_TOO_LARGE")
    assert (await ask(request("GET", "/", [f"X-{n}: 1" for n in range(62)]))).status == 200


async def test_long_urls_are_refused(ask: Ask) -> None:
    refused(await ask(request("GET", "/" + "a" * 8192)), 414, "URL_TOO_LONG")
    refused(await ask(request("GET", "/?q=" + "a" * 8192)), 414, "URL_TOO_LONG")


def test_body_limits_are_those_of_the_contract() -> None:
    assert body_limit("/v1/auth/login") == 4096
    assert body_limit("/v1/keys") == 65536
    assert body_limit("/v1/keys/import") == 1024 * 1024


async def test_announced_bodies_over_the_limit_are_refused(ask: Ask) -> None:
    for path, size in (("/v1/auth/login", 4097), ("/v1/keys", 65537), ("/v1/keys", 900_000)):
        refused(await ask(request("POST", path, [JSON], b"1" * size)), 413, "BODY_TOO_LARGE")
    huge = request("POST", "/v1/keys", [JSON, "Content-Length: 99999999999999999999"])
    assert (await ask(huge)).status in (400, 413)
    fitting = b'"' + b"a" * 65534 + b'"'
    assert (await ask(request("POST", "/v1/keys", [JSON], fitting))).status == 200


async def test_chunked_bodies_over_the_limit_are_refused(ask: Ask) -> None:
    head = request("POST", "/v1/auth/login", [JSON, "Transfer-Encoding: chunked"])
    chunk = b"400\r\n" + b" " * 1024 + b"\r\n"
    reply = await ask(head, *[chunk] * 8, b"0\r\n\r\n")
    refused(reply, 413, "BODY_TOO_LARGE")


async def test_chunked_bodies_within_the_limit_arrive_whole(ask: Ask) -> None:
    head = request("POST", "/v1/x", [JSON, "Transfer-Encoding: chunked"])
    reply = await ask(head, b'4\r\n{"a"\r\n', b"3\r\n:1}\r\n", b"0\r\n\r\n", pause_seconds=0.01)
    assert reply.json()["body"] == '{"a":1}'


async def test_dripping_bodies_are_cut_off() -> None:
    async with serving(door(body_deadline_seconds=0.2)) as port:
        head = request("POST", "/v1/x", [JSON, "Content-Length: 100"])
        reply = await send(port, head, *[b" "] * 100, pause_seconds=0.05)
    refused(reply, 408, "REQUEST_TIMEOUT")
    assert reply.headers["connection"] == "close"


async def test_json_is_checked_before_any_route_sees_it(ask: Ask) -> None:
    twice = await ask(request("POST", "/v1/x", [JSON], b'{"a":1,"a":2}'))
    refused(twice, 400, "DUPLICATE_FIELD", "a")
    deep = await ask(request("POST", "/v1/x", [JSON], b"[" * 60_000))
    refused(deep, 400, "JSON_TOO_DEEP")
    refused(await ask(request("POST", "/v1/x", [JSON], b"{")), 400, "MALFORMED_JSON")


async def test_only_json_is_taken_except_for_the_listed_forms(ask: Ask) -> None:
    for headers in (
        [],
        ["Content-Type: text/plain"],
        [FORM],
        ["Content-Type: multipart/form-data"],
    ):
        reply = await ask(request("POST", "/v1/x", headers, b"a=1"))
        refused(reply, 415, "UNSUPPORTED_MEDIA_TYPE", "Content-Type")
    types = ["application/json; charset=utf-8", "application/merge-patch+json", "APPLICATION/JSON"]
    for media_type in types:
        taken = await ask(request("PATCH", "/v1/x", [f"Content-Type: {media_type}"], b"{}"))
        assert taken.status == 200
    assert (await ask(request("POST", "/v1/auth/login", [FORM], b"a=1"))).status == 200
    twice = await ask(request("POST", "/v1/auth/register", [FORM], b"a=1&a=2"))
    refused(twice, 400, "DUPLICATE_FIELD", "a")
    not_utf8 = await ask(request("POST", "/v1/auth/register", [FORM], b"a=%ff"))
    refused(not_utf8, 400, "INVALID_REQUEST")


async def test_empty_bodies_need_no_content_type(ask: Ask) -> None:
    assert (await ask(request("DELETE", "/v1/x"))).status == 200
    assert (await ask(request("POST", "/v1/x", [], b""))).status == 200


async def test_duplicate_query_parameters_are_refused(ask: Ask) -> None:
    refused(await ask(request("GET", "/?a=1&b=2&a=")), 400, "DUPLICATE_PARAMETER", "a")
    assert (await ask(request("GET", "/?a=1&b=1"))).status == 200


@pytest.mark.parametrize(
    ("target", "param"),
    [
        (f"/v1/x?q={KEY}", "q"),
        (f"/v1/x?q=acme{KEY[2:]}", "q"),
        (f"/v1/x?q=%74{KEY[1:]}", "q"),
        (f"/v1/x?{KEY}", None),
        (f"/v1/keys/{KEY}", None),
        ("/v1/x?api_key=anything", "api_key"),
        ("/v1/x?API_KEY=anything", "API_KEY"),
        ("/v1/x?key=1", "key"),
        ("/v1/x?apikey=1", "apikey"),
        ("/v1/x?access_token=1", "access_token"),
    ],
)
async def test_keys_in_urls_are_refused_and_never_logged(target: str, param: str | None) -> None:
    with capture_logs() as lines:
        async with serving(door()) as port:
            refused(await send(port, request("GET", target)), 400, "KEY_IN_URL", param)
            lane = await send(port, request("POST", f"/v1/keys/verify?q={KEY}", [], b""))
            refused(lane, 400, "KEY_IN_URL", "q")
    assert lines
    assert KEY[8:] not in repr(lines)
    assert "anything" not in repr(lines)


async def test_a_url_that_looks_like_a_key_for_long_holds_nobody_up(ask: Ask) -> None:
    took = []
    for target in (f"/{'a' * 8000}_live_x", f"/?q={'a' * 8000}_test_x") * 3:
        began = time.perf_counter()
        assert (await ask(request("GET", target))).status == 200
        took.append(time.perf_counter() - began)
    assert min(took[::2]) < 0.1
    assert min(took[1::2]) < 0.1


async def test_one_log_line_a_request_without_query_or_address() -> None:
    with capture_logs() as lines:
        async with serving(door()) as port:
            await send(port, request("GET", "/v1/x?q=canary", ["Authorization: Bearer canary"]))
            await send(port, request("GET", "/health/live"))
            await send(port, request("POST", "/v1/keys/verify", [], b""))
    [line] = lines
    assert line["event"] == "request"
    assert (line["method"], line["path"], line["status"]) == ("GET", "/v1/x", 200)
    assert line["duration_ms"] >= 0
    assert line["request_id"]
    assert "canary" not in repr(line)
    assert "127.0.0.1" not in repr(line)


async def test_the_lane_is_logged_at_debug_level_when_asked() -> None:
    with capture_logs() as lines:
        async with serving(door(log_lane=True)) as port:
            await send(port, request("POST", "/v1/keys/verify", [], b""))
    [line] = lines
    assert (line["log_level"], line["path"]) == ("debug", "/v1/keys/verify")


async def test_what_the_lane_raises_is_answered_by_the_same_table() -> None:
    async with serving(door(lane=stale_lane)) as port:
        reply = await send(port, request("POST", "/v1/keys/verify", [JSON], b"{}"))
        other = await send(port, request("GET", "/v1/keys/verify"))
    refused(reply, 503, "DIRECTORY_STALE")
    assert reply.headers["retry-after"] == "1"
    assert other.status == 200  # not the lane's


async def test_escaped_exceptions_say_nothing_and_are_logged() -> None:
    with capture_logs() as lines:
        async with serving(door()) as port:
            reply = await send(port, request("GET", "/boom"))
    refused(reply, 500, "INTERNAL_ERROR")
    assert b"secret" not in reply.body
    [failure] = [line for line in lines if line["event"] == "request_failed"]
    assert isinstance(failure["exc_info"], RuntimeError)


async def test_an_answer_that_breaks_off_closes_the_connection() -> None:
    with capture_logs() as lines:
        async with serving(door()) as port:
            with pytest.raises(EOFError):
                await send(port, request("GET", "/half"))
    assert any(line["event"] == "answer_broken_off" for line in lines)
