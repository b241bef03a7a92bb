"""Who calls: the credential that a request presents, and the principal that it proves.

One header, one credential: `Authorization: Bearer` with an access token or an API key, or
`X-Api-Key` with an API key. Several at once are refused: nobody may wonder which one counted.
"""

from collections.abc import Iterable
from datetime import datetime

from api.http.problems import HttpProblem
from application.asks import Resolved
from application.deciding import Principal
from application.errors import Unauthenticated
from application.ports import Ports
from application.sessions import principal_of_token
from application.verification import Verifier


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
) -> Principal:
    """Whoever these headers prove, calling from this address. Raises Unauthenticated,
    HttpProblem."""
    secret = credential(headers)
    if secret is None:
        raise Unauthenticated("no credential")
    verifier.require_fresh()  # else a token or key that has ended might still look alive
    if is_access_token(secret):
        return principal_of_token(ports, secret, now)
    return principal_of_key(verifier, await verifier.resolve(secret), client_ip)
