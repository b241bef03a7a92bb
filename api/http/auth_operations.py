"""What the reference says of registration, sign-in and the own account."""

from api.http.auth_shapes import (
    AccountAnswer,
    LoginRequest,
    RegisteredAnswer,
    RegisterRequest,
    SignedInAnswer,
)
from api.http.operation import Operation

ACCOUNT_EXAMPLE: dict[str, object] = {
    "id": "acct_01kamzq3v0b6f7n8w9x2y4z5ac",
    "email": "ada@example.com",
    "username": "ada",
    "name": "Ada Lovelace",
    "phone": None,
    "about": None,
    "hobbies": None,
    "avatar_url": None,
    "wallet_address": None,
    "kind": "personal",
    "actor_type": "user",
    "plan": "free",
    "roles": [],
    "status": "active",
    "email_verified": False,
    "registered_at": "2026-01-31T12:00:00Z",
}

REGISTER = Operation(
    id="register",
    tag="Accounts",
    summary="Register an account",
    description="Makes an account on the free plan. It gets no key: `POST /v1/keys` makes those.",
    who="public",
    status=201,
    answer=RegisteredAnswer,
    example={"account": ACCOUNT_EXAMPLE},
    body=RegisterRequest,
    body_example={
        "email": "ada@example.com",
        "password": "correct horse battery staple",
        "username": "ada",
        "name": "Ada Lovelace",
    },
    form=True,
    commands=True,
    once=True,
    errors=("EMAIL_TAKEN", "USERNAME_TAKEN", "REGISTRATION_UNAVAILABLE", "OVERLOADED"),
)

LOGIN = Operation(
    id="login",
    tag="Accounts",
    summary="Sign in",
    description=(
        "Signs in by `email` or `username`, and answers an access token (a JWT for "
        "`Authorization: Bearer`) and a refresh token, which is shown this once."
    ),
    who="public",
    answer=SignedInAnswer,
    example={
        "access_token": "eyJhbGciOiJFZERTQSIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiJhY2N0XzAxIn0.c2ln",
        "token_type": "Bearer",
        "expires_in": 900,
        "refresh_token": "thr_Zm9yIGV4YW1wbGUgb25seSwgbm90IGEgdG9rZW4",
        "refresh_expires_in": 604800,
        "account": ACCOUNT_EXAMPLE,
    },
    body=LoginRequest,
    body_example={"email": "ada@example.com", "password": "correct horse battery staple"},
    form=True,
    commands=True,
    errors=("WRONG_CREDENTIALS", "ACCOUNT_NOT_ACTIVE", "OVERLOADED"),
)

ME = Operation(
    id="me",
    tag="Accounts",
    summary="Read the own account",
    description="The account of who calls, with what only its owner may see.",
    who="user",
    answer=AccountAnswer,
    example=ACCOUNT_EXAMPLE,
    reads=True,
    errors=("STORE_UNAVAILABLE",),
)
