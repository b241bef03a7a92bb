"""What routes about second factors take and answer."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from api.http.answers import NO_NUL
from application.factor_ports import Json
from application.passkeys import AddedPasskey, NamedPasskey

_Bytes = Annotated[str, Meta(max_length=40_000, description="Bytes in base64url.")]
_CredentialId = Annotated[str, Meta(max_length=1400, description="Bytes in base64url.")]
PasskeyName = Annotated[
    str, Meta(min_length=1, max_length=100, pattern=NO_NUL, description="What to call it.")
]


class TotpAnswer(msgspec.Struct, frozen=True):
    """The secret of an authenticator app, shown this once: as a link, as a QR code of it (an
    SVG document), and to type in. It counts once a code of it is confirmed."""

    otpauth_uri: str
    qr_svg: str
    secret: str
    expires_in: int


class TotpConfirmRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The code that the app shows now."""

    code: Annotated[str, Meta(max_length=20)]


class RecoveryCodesAnswer(msgspec.Struct, frozen=True):
    """Recovery codes, shown this once, each good for one sign-in. None where those from before
    still count."""

    recovery_codes: tuple[str, ...]


class AttestationResponse(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    rename={
        "client_data_json": "clientDataJSON",
        "attestation_object": "attestationObject",
        "authenticator_data": "authenticatorData",
        "public_key": "publicKey",
        "public_key_algorithm": "publicKeyAlgorithm",
    },
):
    """The authenticator's part of `Attestation`."""

    client_data_json: _Bytes
    attestation_object: _Bytes
    transports: Annotated[list[Annotated[str, Meta(max_length=40)]], Meta(max_length=20)] = []
    authenticator_data: _Bytes | None = None
    public_key: _Bytes | None = None
    public_key_algorithm: int | None = None


class Attestation(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    rename={
        "raw_id": "rawId",
        "authenticator_attachment": "authenticatorAttachment",
        "client_extension_results": "clientExtensionResults",
    },
):
    """What `navigator.credentials.create()` gave, by its `toJSON()` (WebAuthn Level 3)."""

    id: _CredentialId
    raw_id: _CredentialId
    type: Literal["public-key"]
    response: AttestationResponse
    authenticator_attachment: Annotated[str, Meta(max_length=40)] | None = None
    client_extension_results: dict[str, Any] = {}

    def json(self) -> Json:
        """As the browser said it."""
        built: Json = msgspec.to_builtins(self)
        return built


class PasskeyRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An answer to `POST /v1/me/passkeys/options`, and a name for the list."""

    credential: Attestation
    name: PasskeyName | None = None


class PasskeyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A passkey. `backed_up`: its authenticator keeps a copy elsewhere, as synced ones do."""

    id: str
    name: str | None
    added_at: datetime
    last_used_at: datetime | None
    transports: list[str]
    backed_up: bool


class AddedPasskeyAnswer(PasskeyAnswer, frozen=True, kw_only=True):
    """The new passkey; with it recovery codes, shown this once, if there were none."""

    recovery_codes: tuple[str, ...]


class PasskeyPage(msgspec.Struct, frozen=True):
    """All passkeys of the account, oldest first."""

    items: list[PasskeyAnswer]
    next_cursor: str | None


def passkey_page(found: Sequence[NamedPasskey]) -> PasskeyPage:
    """The passkeys as they are shown."""
    return PasskeyPage([PasskeyAnswer(**_fields(each)) for each in found], None)


def added_answer(added: AddedPasskey) -> AddedPasskeyAnswer:
    """The new passkey as it is shown."""
    return AddedPasskeyAnswer(**_fields(added.named), recovery_codes=added.codes.codes)


def _fields(named: NamedPasskey) -> dict[str, Any]:
    held = named.passkey
    return {
        "id": held.passkey_id,
        "name": named.name,
        "added_at": held.made_at,
        "last_used_at": held.last_used_at,
        "transports": held.transports,
        "backed_up": held.backed_up,
    }
