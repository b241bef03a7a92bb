"""What the reference says of signing in."""

from api.http.auth_operations import ACCOUNT_EXAMPLE
from api.http.auth_shapes import SignedInAnswer
from api.http.login_shapes import LoginRequest, PasskeyLoginRequest, PasskeyOptionsAnswer
from api.http.operation import Operation

_TAG = "Accounts"
_SIGNED_IN: dict[str, object] = {
    "access_token": "eyJhbGciOiJFZERTQSIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiJhY2N0XzAxIn0.c2ln",
    "token_type": "Bearer",
    "expires_in": 900,
    "refresh_token": "thr_Zm9yIGV4YW1wbGUgb25seSwgbm90IGEgdG9rZW4",
    "refresh_expires_in": 604800,
    "account": ACCOUNT_EXAMPLE,
}
_CHALLENGE = "o9bT0vYqk3mD2mB5S0tqN3v1c8l1QG5wAAAAAGlwX1Q"
_CREDENTIAL_ID = "AZ9nTq0v8mB1kP3xW5yC7eG9iK1mO3qS"
ASSERTION: dict[str, object] = {
    "id": _CREDENTIAL_ID,
    "rawId": _CREDENTIAL_ID,
    "type": "public-key",
    "authenticatorAttachment": "platform",
    "clientExtensionResults": {},
    "response": {
        "clientDataJSON": "eyJ0eXBlIjoid2ViYXV0aG4uZ2V0IiwiY2hhbGxlbmdlIjoiLi4uIn0",
        "authenticatorData": "SZYN5YgOjGh0NBcPZHZgW4_krrmihjLHmVzzuoMdl2MFAAAAAQ",
        "signature": "MEUCIQDKx7m0p8q1r2s3t4u5v6w7x8y9zA",
        "userHandle": "YWNjdF8wMWthbXpxM3YwYjZmN244dzl4MnkyejVhYw",
    },
}

LOGIN = Operation(
    id="login",
    tag=_TAG,
    summary="Sign in",
    description=(
        "Signs in by `email` or `username`, and answers an access token (a JWT for "
        "`Authorization: Bearer`) and a refresh token, which is shown this once; with "
        "`session: cookie`, `__Host-` cookies in their place. Where the account has a second "
        "factor, `totp`, `recovery_code` or `passkey` has to come along: 401 `MFA_REQUIRED` names "
        "those that there are. After too many failures the password alone opens nothing for a "
        "while; a second factor along with it, a mailed code (`verification_token`), a passkey "
        "and a password reset still do. Refusals are the same whoever exists."
    ),
    who="public",
    answer=SignedInAnswer,
    example=_SIGNED_IN,
    body=LoginRequest,
    body_example={"email": "ada@example.com", "password": "correct horse battery staple"},
    form=True,
    commands=True,
    errors=(
        "WRONG_CREDENTIALS",
        "MFA_REQUIRED",
        "ACCOUNT_NOT_ACTIVE",
        "SIGN_IN_LOCKED",
        "OVERLOADED",
    ),
)

PASSKEY_OPTIONS = Operation(
    id="passkey_options",
    tag=_TAG,
    summary="Begin a passkey sign-in",
    description=(
        "A challenge for `navigator.credentials.get()`, good for five minutes and one sign-in. "
        "It names no account: the authenticator offers the passkeys that it has for this site."
    ),
    who="public",
    answer=PasskeyOptionsAnswer,
    example={
        "public_key": {
            "challenge": _CHALLENGE,
            "timeout": 300000,
            "rpId": "auth.example.com",
            "allowCredentials": [],
            "userVerification": "required",
        },
        "expires_in": 300,
    },
)

PASSKEY_LOGIN = Operation(
    id="passkey_login",
    tag=_TAG,
    summary="Sign in with a passkey",
    description=(
        "Takes what `navigator.credentials.get()` answered to the options, and answers as "
        "`POST /v1/auth/login` does. A passkey is both factors, since its authenticator verified "
        "the user: nothing else is asked for."
    ),
    who="public",
    answer=SignedInAnswer,
    example=_SIGNED_IN,
    body=PasskeyLoginRequest,
    body_example={"credential": ASSERTION},
    commands=True,
    errors=("WRONG_CREDENTIALS", "ACCOUNT_NOT_ACTIVE"),
)
