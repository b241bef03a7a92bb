"""Who calls: the credential that a request presents, and the principal that it proves.

One header, one credential: `Authorization: Bearer` with an access token or an API key, or
`X-Api-Key` with an API key; where OAuth clients call, HTTP Basic as well. Several at once are
refused: nobody may wonder which one counted. Without any the session cookie counts, and what
changes something then has to prove which page sent it (api/http/cookies.py).
"""

from base64 import b64decode
from collections.abc import Iterable
from datetime import datetime
from urllib.parse import unquote_plus

from api.http import cookies
from api.http.problems import HttpProblem
from application.asks import Resolved
from application.deciding import Principal
from application.errors import Unauthenticated
from application.ports import Ports
from application.sessions import principal_of_token
from application.verification import Verifier

_ASK = {"www-authenticate": 'Basic realm="tollhouse", charset="UTF-8"'}


def credential(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The one credential of these headers; None if there is none, HttpProblem if several."""
    found: str | None = None
    for name, value in headers:
        if name == b"authorization":
            scheme, _, secret = value.decode("latin-1").partition(" ")
            if scheme.lower() != "bearer" or not secret.strip():
                raise HttpProblem(
                    "UNAUTHENTICATED", "Authorization takes `Bearer <access token or key>`."
                )
        elif name == b"x-api-key":
            secret = value.decode("latin-1")
        else:
            continue
        if found is not None:
            raise HttpProblem("INVALID_REQUEST", "Present one credential, not several.")
        found = secret.strip()
    return found


def client_credential(headers: Iterable[tuple[bytes, bytes]]) -> tuple[str, str] | None:
    """Client id and secret of HTTP Basic, each percent-encoded as RFC 6749, 2.3.1 has it; None
    where the credential is of another kind, HttpProblem for what can't be read."""
    headers = list(headers)
    for name, value in headers:
        scheme, _, encoded = value.partition(b" ")
        if name != b"authorization" or scheme.lower() != b"basic":
            continue
        if sum(each in (b"authorization", b"x-api-key") for each, _ in headers) > 1:
            raise HttpProblem("INVALID_REQUEST", "Present one credential, not several.")
        try:
            said = b64decode(encoded.strip(), validate=True).decode()
            client_id, colon, secret = said.partition(":")
            if colon:
                return unquote_plus(client_id), unquote_plus(secret)
        except ValueError:
            pass
        raise HttpProblem("UNAUTHENTICATED", "Basic takes a client id and a secret.", headers=_ASK)
    return None


def presented_token(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The access token or key of these headers, or else of the session cookie."""
    headers = list(headers)
    return credential(headers) or cookies.cookie(headers, cookies.ACCESS)


def is_access_token(secret: str) -> bool:
    """Whether it has the shape of a JWT; an API key never has dots."""
    return secret.count(".") == 2


def principal_of_key(
    verifier: Verifier, presented: Resolved, client_ip: str | None = None
) -> Principal:
    """Who presents this key from this address, if it works now. Raises Unauthenticated."""
    verifier.require_fresh()
    key = presented.key
    code = verifier.judge(presented, client_ip)
    if key is None or code != "VALID":
        raise Unauthenticated(f"key {code}")
    service = key.kind == "service"
    return Principal(
        kind="service" if service else "key",
        id=key.id,
        account_id=key.account_id,
        permissions=frozenset(key.permissions) if service else frozenset(),
    )


async def principal(
    ports: Ports,
    verifier: Verifier,
    headers: Iterable[tuple[bytes, bytes]],
    client_ip: str | None,
    now: datetime,
    *,
    unsafe: bool = True,
    oauth: bool = False,
) -> Principal:
    """Whoever these headers prove, calling from this address. Raises Unauthenticated,
    HttpProblem.

    `unsafe`: the request may change something. `oauth`: clients may name themselves by HTTP
    Basic here.
    """
    headers = list(headers)
    client = client_credential(headers) if oauth else None
    if client is not None:
        return await _principal_of_client(verifier, *client, client_ip)
    secret = credential(headers)
    if secret is None:
        return _principal_of_cookie(ports, verifier, headers, now, unsafe)
    verifier.require_fresh()  # else a token or key that has ended might still look alive
    if is_access_token(secret):
        return principal_of_token(ports, secret, now)
    return principal_of_key(verifier, await verifier.resolve(secret), client_ip)


async def _principal_of_client(
    verifier: Verifier, client_id: str, secret: str, client_ip: str | None
) -> Principal:
    """The service whose key this is; its id has to be the client's."""
    verifier.require_fresh()
    try:
        found = principal_of_key(verifier, await verifier.resolve(secret), client_ip)
    except Unauthenticated:
        found = None
    if found is None or found.id != client_id:
        detail = "No such client, or another secret."
        raise HttpProblem("UNAUTHENTICATED", detail, headers=_ASK)
    return found


def _principal_of_cookie(
    ports: Ports,
    verifier: Verifier,
    headers: list[tuple[bytes, bytes]],
    now: datetime,
    unsafe: bool,
) -> Principal:
    token = cookies.cookie(headers, cookies.ACCESS)
    if token is None:
        raise Unauthenticated("no credential")
    verifier.require_fresh()
    found = principal_of_token(ports, token, now)
    if unsafe:
        cookies.require_csrf(ports, headers, found.session_id or "")
    return found
