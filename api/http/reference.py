"""The API reference at `/docs`: rendered in the browser, served whole from this package.

Scalar's API reference (npm package `@scalar/api-reference`, MIT) comes as one script. It is kept
compressed in `assets/`, so the page works with no way to the outside, and nobody outside learns
who reads it. Its options switch off whatever would call out, and the page's content policy
(`security_headers.py`) would stop what they miss.

To renew it, with VERSION the new one:

    npm pack @scalar/api-reference@VERSION
    tar xzf scalar-api-reference-VERSION.tgz package/dist/browser/standalone.js
    gzip -9 -n < package/dist/browser/standalone.js \
        > api/http/assets/scalar-api-reference-VERSION.js.gz

then remove the old file, change the version here, in `assets/reference.html` and in the licence
beside it, and open `/docs` in a browser whose network panel must show this server only.
"""

import gzip
from pathlib import Path

from litestar import MediaType, Request, Response, get
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler
from litestar.response import Redirect

SCALAR_VERSION = "1.72.1"

_ASSETS = Path(__file__).parent / "assets"
_SCRIPT = "text/javascript"
# The page asks for the script by version, so what is cached is never the wrong one.
_FOR_EVER = {"cache-control": "public, max-age=31536000, immutable", "vary": "accept-encoding"}
_REVALIDATE = {"cache-control": "no-cache"}


def reference_routes(document: bytes, events: bytes) -> list[HTTPRouteHandler]:
    """Routes for `/docs` with its scripts, `/swagger` and `/redoc` (which lead there), and for
    `/openapi.json` and `/asyncapi.json`, which answer `document` and `events` as they are. None
    of them is in the document itself."""
    page = (_ASSETS / "reference.html").read_bytes()
    start = (_ASSETS / "reference.js").read_bytes()
    scalar = (_ASSETS / f"scalar-api-reference-{SCALAR_VERSION}.js.gz").read_bytes()

    @get("/docs", include_in_schema=False, media_type=MediaType.HTML, sync_to_thread=False)
    def docs() -> Response[bytes]:
        return Response(page, media_type="text/html", headers=_REVALIDATE)

    @get("/docs/start.js", include_in_schema=False, sync_to_thread=False)
    def docs_start() -> Response[bytes]:
        return Response(start, media_type=_SCRIPT, headers=_REVALIDATE)

    # In a thread: a client that takes no gzip (there is hardly one) costs some 20 ms.
    @get("/docs/scalar.js", include_in_schema=False, sync_to_thread=True)
    def docs_scalar(request: Request[object, object, State]) -> Response[bytes]:
        if _takes_gzip(request.headers.get("accept-encoding", "")):
            headers = {**_FOR_EVER, "content-encoding": "gzip"}
            return Response(scalar, media_type=_SCRIPT, headers=headers)
        return Response(gzip.decompress(scalar), media_type=_SCRIPT, headers=_FOR_EVER)

    @get(["/swagger", "/redoc"], include_in_schema=False, sync_to_thread=False)
    def elsewhere() -> Redirect:
        return Redirect("/docs")

    @get("/openapi.json", include_in_schema=False, sync_to_thread=False)
    def openapi() -> Response[bytes]:
        return Response(document, media_type="application/json", headers=_REVALIDATE)

    @get("/asyncapi.json", include_in_schema=False, sync_to_thread=False)
    def asyncapi() -> Response[bytes]:
        return Response(events, media_type="application/json", headers=_REVALIDATE)

    return [docs, docs_start, docs_scalar, elsewhere, openapi, asyncapi]


def _takes_gzip(accept_encoding: str) -> bool:
    for offer in accept_encoding.lower().split(","):
        coding, _, weight = offer.partition(";")
        if coding.strip() in ("gzip", "*"):
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
