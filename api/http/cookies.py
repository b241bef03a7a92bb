"""Sessions in cookies, for pages: where tokens lie, and how a page proves that it is one of ours.

Three cookies, all `__Host-`, Secure and SameSite=Strict: access and refresh token, which no
script can read, and the CSRF token, which the page reads and sends back in `X-CSRF-Token`. That
token is a MAC of the session (OWASP's signed double submit): a cookie that somebody planted is of
no use. Browsers also say where a request comes from (Sec-Fetch-Site, Origin): from another site
nothing counts, whatever it brings (ASVS 5.0 V3.5).
"""

from collections.abc import Iterable
from typing import Any

from litestar import Response
from litestar.datastructures import Cookie

from api.http.problems import HttpProblem
from application.ports import Ports
from application.sessions import SignedIn

ACCESS = "__Host-tollhouse_access"
REFRESH = "__Host-tollhouse_refresh"
CSRF = "__Host-tollhouse_csrf"
CSRF_HEADER = b"x-csrf-token"
MOST_CSRF_CHARACTERS = 200

Headers = Iterable[tuple[bytes, bytes]]


def cookie(headers: Headers, name: str) -> str | None:
    """The cookie of this name; None if there is none, or more than one."""
    wanted = name.encode()
    found = [
        value.strip()
        for header, line in headers
        if header == b"cookie"
        for named, _, value in (pair.partition(b"=") for pair in line.split(b";"))
        if named.strip() == wanted
    ]
    return found[0].decode("latin-1") if len(found) == 1 and found[0] else None


def require_own_page(ports: Ports, headers: Headers) -> None:
    """HttpProblem if a browser says that another site's page has sent this. A page of the same
    site counts if its origin is one of those that may call (`CORS_ORIGINS`)."""
    said = dict(headers)
    site = said.get(b"sec-fetch-site")
    origin = said.get(b"origin", b"").decode("latin-1")
    listed = origin in ports.policy.page_origins
    if site is None:
        # A browser from before Sec-Fetch-Site sends Origin with whatever changes something.
        ours = not origin or listed or origin == _own_origin(said)
    else:
        ours = site in (b"same-origin", b"none") or (site == b"same-site" and listed)
    if not ours:
        raise _refused("The request comes from a page of another site.")


def require_csrf(ports: Ports, headers: Headers, session_id: str) -> None:
    """HttpProblem unless the page of this session sent this."""
    headers = list(headers)
    require_own_page(ports, headers)
    shown = [value for name, value in headers if name == CSRF_HEADER]
    if len(shown) != 1 or len(shown[0]) > MOST_CSRF_CHARACTERS:
        raise _refused("X-CSRF-Token is missing.")
    if not ports.refresh_tokens.is_csrf(shown[0].decode("latin-1"), session_id):
        raise _refused("X-CSRF-Token is not this session's.")


def give(response: Response[Any], ports: Ports, signed_in: SignedIn) -> None:
    """Put the tokens of a session into cookies that end when they do."""
    csrf = ports.refresh_tokens.csrf(signed_in.session_id)
    lasting = signed_in.refresh_expires_in
    response.set_cookie(_cookie(ACCESS, signed_in.access_token, signed_in.expires_in))
    response.set_cookie(_cookie(REFRESH, signed_in.refresh_token, lasting))
    response.set_cookie(_cookie(CSRF, csrf, lasting, readable=True))


def take_back(response: Response[Any]) -> None:
    """Tell the browser to forget them."""
    for name in (ACCESS, REFRESH, CSRF):
        response.set_cookie(_cookie(name, "", 0, readable=name == CSRF))


def _cookie(name: str, value: str, max_age: int, *, readable: bool = False) -> Cookie:
    return Cookie(
        key=name,
        value=value,
        max_age=max_age,
        path="/",
        secure=True,
        httponly=not readable,
        samesite="strict",
    )


def _own_origin(said: dict[bytes, bytes]) -> str:
    """What the browser calls this server. Scripts can't set Host."""
    host = said.get(b"host", b"").decode("latin-1")
    local = host.partition(":")[0] in ("localhost", "127.0.0.1") or host.startswith("[::1]")
    return f"http://{host}" if local else f"https://{host}"


def _refused(detail: str) -> HttpProblem:
    hint = f"Send the value of the cookie {CSRF} as X-CSRF-Token, from a page of this origin."
    return HttpProblem("CSRF_REFUSED", detail, hint)
