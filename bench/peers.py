"""What a verification is compared with, on the same server with the same settings.

bare    an ASGI app that reads the body and answers prepared bytes: the server's own ceiling
typed   a Litestar route that takes the same request struct and answers a filled verdict
"""

import asyncio
import gc
import socket
from typing import Annotated

import msgspec
import typer
import uvloop
from litestar import Litestar, get, post
from litestar.types import ASGIApp, Receive, Scope, Send

from api.http.verify_lane import PATH
from api.http.wire import BoundedHttp
from api.verification import VerifyRequest
from application.verdicts import QuotaState, Verdict
from infra.http_server import http_server

READY_PATH = "/ready"

_DAY = "2030-01-01T00:00:00Z"
VERDICT = Verdict(
    valid=True,
    code="VALID",
    verification_id="ver_01JZ0000000000000000000000_1234_12",
    request_id="req_0123456789abcdef01234567",
    key_id="key_01JZ0000000000000000000000",
    name="bench 12",
    account_id="acct_01JZ0000000000000000000000",
    environment="live",
    plan="enterprise",
    permissions=("read",),
    quotas=[
        QuotaState("lifetime", "own", 1_000_000_000, 1234, 999_998_766, "lifetime", None),
        QuotaState("day", "shared", 10_000_000, 12_345, 9_987_655, "day", _DAY),
    ],
    position="log0123456789ab:12345",
)
"""A verdict as the benchmark's keys get it, of the same size."""

BODY = msgspec.json.encode(VERDICT)


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body, answer the bytes."""
    while (await receive()).get("more_body"):
        pass
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(BODY)).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY, "more_body": False})


def typed() -> Litestar:
    """The same, as one writes it with the framework. The verdict itself costs it nothing."""

    @post(PATH, status_code=200)
    async def verify(data: VerifyRequest) -> Verdict:
        return VERDICT

    @get(READY_PATH, sync_to_thread=False)
    def ready() -> str:
        return "ready"

    return Litestar([verify, ready], openapi_config=None, logging_config=None)


def main(kind: str, fd: Annotated[int, typer.Option()]) -> None:
    """Serve one of the two on this descriptor."""
    app: ASGIApp = bare if kind == "bare" else typed()
    gc.collect()
    gc.freeze()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        listener = socket.socket(fileno=fd)
        runner.run(http_server(app, BoundedHttp, ()).serve(sockets=[listener]))


if __name__ == "__main__":
    typer.run(main)
