"""What the reference says of sessions and tokens."""

from api.http.auth_shapes import SignedInAnswer
from api.http.login_operations import LOGIN
from api.http.operation import Operation, Parameter
from api.http.paging import PAGE_PARAMETERS
from api.http.session_shapes import (
    ClaimsAnswer,
    IntrospectionAnswer,
    JwksAnswer,
    MetadataAnswer,
    RefreshRequest,
    SessionPage,
    TokenRequest,
)

SESSION_ID = "sess_01kamzq7c3e5g7j9m2p4r6t8va"
_TOKEN = "eyJhbGciOiJFZERTQSIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiJhY2N0XzAxIn0.c2ln"  # noqa: S105
_CLAIMS: dict[str, object] = {
    "iss": "https://auth.example.com",
    "aud": "https://auth.example.com",
    "sub": "acct_01kamzq3v0b6f7n8w9x2y4z5ac",
    "jti": "tok_01kamzq7c4f6h8k0n2q4s6v8xb",
    "iat": 1769860800,
    "exp": 1769861700,
    "sid": SESSION_ID,
    "roles": [],
    "amr": ["pwd"],
    "epoch": 0,
    "auth_time": 1769860800,
}

REFRESH = Operation(
    id="refresh",
    tag="Sessions",
    summary="Exchange a refresh token",
    description=(
        "Answers the next refresh token and a new access token; the presented one is spent. The "
        "same one again within 10 seconds gets the same successor, so an answer that was lost "
        "costs nothing; a token that was spent before ends the session. With cookies there is no "
        "body, and `X-CSRF-Token` is needed. OAuth clients find this as `token_endpoint`."
    ),
    who="public",
    open_query=True,
    oauth=True,
    answer=SignedInAnswer,
    example=LOGIN.example,
    body=RefreshRequest,
    body_example={"refresh_token": "thr_Zm9yIGV4YW1wbGUgb25seSwgbm90IGEgdG9rZW4"},
    body_optional=True,
    form=True,
    commands=True,
    errors=("REFRESH_TOKEN_INVALID", "ACCOUNT_NOT_ACTIVE", "CSRF_REFUSED"),
)

LOGOUT = Operation(
    id="logout",
    tag="Sessions",
    summary="Sign out",
    description="Ends the session of the presented token: its refresh token and all its tokens.",
    who="user",
    status=204,
    commands=True,
    errors=("CSRF_REFUSED",),
)

LOGOUT_ALL = Operation(
    id="logout_all",
    tag="Sessions",
    summary="Sign out everywhere",
    description="Ends all sessions of the account, this one too, and all tokens from before.",
    who="user",
    status=204,
    commands=True,
    own_hand=True,
    errors=("CSRF_REFUSED", "NOT_WHILE_IMPERSONATING"),
)

CLAIMS = Operation(
    id="token_claims",
    tag="Sessions",
    summary="Read the presented token",
    description=(
        "The claims of the presented access token, checked: signature, time, and whether its "
        "session, its account and its epoch still hold."
    ),
    who="user",
    answer=ClaimsAnswer,
    example=_CLAIMS,
    reads=True,
)

SESSIONS = Operation(
    id="list_sessions",
    tag="Sessions",
    summary="List the own sessions",
    description="Sign-ins that go on, newest first: where, since when, last seen.",
    who="user",
    answer=SessionPage,
    example={
        "items": [
            {
                "id": SESSION_ID,
                "current": True,
                "started_at": "2026-01-31T12:00:00Z",
                "last_seen_at": "2026-01-31T12:30:00Z",
                "expires_at": "2026-02-07T12:00:00Z",
                "amr": ["pwd"],
                "ip": "192.0.2.1",
                "user_agent": "Mozilla/5.0",
                "impersonated": False,
            }
        ],
        "next_cursor": None,
    },
    parameters=PAGE_PARAMETERS,
    reads=True,
    errors=("STORE_UNAVAILABLE",),
)

END_SESSION = Operation(
    id="end_session",
    tag="Sessions",
    summary="End one of the own sessions",
    description="Its refresh token and its access tokens are refused within a second.",
    who="user",
    status=204,
    parameters=(Parameter("session_id", "From the list.", {"type": "string"}, SESSION_ID, "path"),),
    commands=True,
    own_hand=True,
    errors=("NOT_FOUND", "CSRF_REFUSED", "NOT_WHILE_IMPERSONATING"),
)

INTROSPECT = Operation(
    id="introspect",
    tag="Tokens for services",
    summary="Ask about a token",
    description=(
        'RFC 7662. What an access or refresh token says that holds now; exactly `{"active": '
        "false}` for anything else. Needs a service key with `tokens.introspect`: as Bearer, or "
        "by HTTP Basic with the key's id as client id and the key as secret."
    ),
    who="service",
    open_query=True,
    oauth=True,
    permission="tokens.introspect",
    answer=IntrospectionAnswer,
    example={
        "active": True,
        "token_type": "Bearer",
        **{name: value for name, value in _CLAIMS.items() if name != "epoch"},
        "username": "ada",
    },
    body=TokenRequest,
    body_example={"token": _TOKEN, "token_type_hint": "access_token"},
    form=True,
    errors=("STORE_UNAVAILABLE",),
)

REVOKE = Operation(
    id="revoke_token",
    tag="Tokens for services",
    summary="End a token's session",
    description=(
        "RFC 7009. Ends the session that an access or refresh token is of, and so all its tokens. "
        "200 for what is unknown or over as well. Needs a service key with `tokens.revoke`, "
        "presented as for `/oauth/introspect`."
    ),
    who="service",
    open_query=True,
    oauth=True,
    permission="tokens.revoke",
    body=TokenRequest,
    body_example={"token": _TOKEN},
    form=True,
    commands=True,
)

JWKS = Operation(
    id="jwks",
    tag="Tokens for services",
    summary="The public signing keys",
    description=(
        "RFC 7517. Keys are published a day before they sign, and for as long as a token of "
        "theirs may live; keep the set for five minutes."
    ),
    who="public",
    open_query=True,
    unlimited=True,
    answer=JwksAnswer,
    example={
        "keys": [
            {
                "kty": "OKP",
                "crv": "Ed25519",
                "use": "sig",
                "alg": "EdDSA",
                "kid": "5f0c7d2a91b8",
                "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            }
        ]
    },
)

METADATA = Operation(
    id="metadata",
    tag="Tokens for services",
    summary="Where everything is",
    description=(
        "RFC 8414. The issuer is `TOLLHOUSE_PUBLIC_URL`: without that setting clients can't "
        "discover this server."
    ),
    who="public",
    open_query=True,
    unlimited=True,
    answer=MetadataAnswer,
    example={
        "issuer": "https://auth.example.com",
        "jwks_uri": "https://auth.example.com/.well-known/jwks.json",
        "token_endpoint": "https://auth.example.com/v1/auth/refresh",
        "token_endpoint_auth_methods_supported": ["none"],
        "grant_types_supported": ["refresh_token"],
        "response_types_supported": [],
        "introspection_endpoint": "https://auth.example.com/oauth/introspect",
        "introspection_endpoint_auth_methods_supported": ["client_secret_basic"],
        "revocation_endpoint": "https://auth.example.com/oauth/revoke",
        "revocation_endpoint_auth_methods_supported": ["client_secret_basic"],
        "service_documentation": "https://auth.example.com/docs",
    },
)
