"""What signing in takes; what it answers is in `auth_shapes`."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from api.http.problems import HttpProblem
from application.factor_ports import Json
from application.second_factors import SecondFactor

Base64Url = Annotated[str, Meta(max_length=3000, description="Bytes in base64url.")]
_CredentialId = Annotated[str, Meta(max_length=1400, description="Bytes in base64url.")]
_BROWSERS_NAMES = {
    "raw_id": "rawId",
    "authenticator_attachment": "authenticatorAttachment",
    "client_extension_results": "clientExtensionResults",
}


class AssertionResponse(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    rename={
        "client_data_json": "clientDataJSON",
        "authenticator_data": "authenticatorData",
        "user_handle": "userHandle",
        "attestation_object": "attestationObject",
    },
):
    """The authenticator's part of `Assertion`."""

    client_data_json: Base64Url
    authenticator_data: Base64Url
    signature: Base64Url
    user_handle: Base64Url | None = None
    attestation_object: Base64Url | None = None


class Assertion(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    rename=_BROWSERS_NAMES,
):
    """What `navigator.credentials.get()` gave, by its `toJSON()` (WebAuthn Level 3)."""

    id: _CredentialId
    raw_id: _CredentialId
    type: Literal["public-key"]
    response: AssertionResponse
    authenticator_attachment: Annotated[str, Meta(max_length=40)] | None = None
    client_extension_results: dict[str, Any] = {}

    def json(self) -> Json:
        """As the browser said it."""
        built: Json = msgspec.to_builtins(self)
        return built


class LoginRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who signs in: by `email` or `username` with the password, or by a mailed code's token; and
    with a second factor where the account has one."""

    email: str | None = None
    username: str | None = None
    password: str | None = None
    verification_token: Annotated[
        str | None,
        Meta(
            description="From `POST /v1/auth/otp/verify` with the purpose `sign_in`, in the place "
            "of the password. Never a second factor."
        ),
    ] = None
    totp: (
        Annotated[str, Meta(max_length=20, description="What the authenticator app shows.")] | None
    ) = None
    recovery_code: (
        Annotated[str, Meta(max_length=60, description="A recovery code; used up by this.")] | None
    ) = None
    passkey: Annotated[
        Assertion | None,
        Meta(
            description="An answer to `POST /v1/auth/passkey/options`, as the second factor. "
            "`POST /v1/auth/passkey` needs no password at all."
        ),
    ] = None
    session: Annotated[
        Literal["token", "cookie"],
        Meta(description="`cookie`: the tokens come as `__Host-` cookies, not in the body."),
    ] = "token"

    def name(self) -> str | None:
        """The address or the username; HttpProblem unless it is one, or none beside a token."""
        name = self.email if self.email is not None else self.username
        both = self.email is not None and self.username is not None
        if both or (name is None and self.verification_token is None):
            detail = "Give either `email` or `username`."
            raise HttpProblem("INVALID_REQUEST", detail, param="email")
        return name

    def first_factor(self) -> tuple[str | None, str | None]:
        """The password or the token; HttpProblem unless it is exactly one."""
        if (self.password is None) == (self.verification_token is None):
            detail = "Give either `password` or `verification_token`."
            raise HttpProblem("INVALID_REQUEST", detail, param="password")
        return self.password, self.verification_token

    def second_factor(self) -> SecondFactor:
        """What came beside it; HttpProblem for more than one."""
        given = [each for each in (self.totp, self.recovery_code, self.passkey) if each is not None]
        if len(given) > 1:
            detail = "Give one of `totp`, `recovery_code` and `passkey`."
            raise HttpProblem("INVALID_REQUEST", detail, param="totp")
        return SecondFactor(
            totp=self.totp,
            recovery_code=self.recovery_code,
            passkey=None if self.passkey is None else self.passkey.json(),
        )


class PasskeyLoginRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An answer to `POST /v1/auth/passkey/options`."""

    credential: Assertion
    session: Literal["token", "cookie"] = "token"


class PasskeyOptionsAnswer(msgspec.Struct, frozen=True):
    """`public_key` is for the browser: `PublicKeyCredential.parseRequestOptionsFromJSON` or
    `parseCreationOptionsFromJSON` make of it what `navigator.credentials` takes as `publicKey`.
    Good for `expires_in` seconds, and once."""

    public_key: dict[str, Any]
    expires_in: int
