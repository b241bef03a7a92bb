"""Passkeys by the `webauthn` library: WebAuthn Level 3, sections 7.1 and 7.2.

User verification is required in both ceremonies, so a passkey is something one has and
something one knows or is: it signs in alone, and it is a second factor. Credentials are
discoverable ones: who signs in names no account, so nothing can be learned from the options.

The library takes longer to import than all the rest that a command needs, so it is imported where
it is used; `ready` does it ahead.
"""

import re
from base64 import urlsafe_b64decode
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from application.factor_ports import HeldPasskey, Json, NewPasskey, PasskeyRefused, UsedPasskey

MAX_CREDENTIAL_ID_BYTES = 1023
"""What an authenticator may call a credential (WebAuthn, 4)."""

_LOCAL_ORIGIN = re.compile(r"http://localhost(:[0-9]{1,5})?")
_TRANSPORTS = {"usb", "nfc", "ble", "smart-card", "hybrid", "internal", "cable"}


def ready() -> None:
    """Import the library now, rather than in somebody's first request."""
    import webauthn  # noqa: F401


class _ClientData(msgspec.Struct):
    challenge: str
    origin: str


class WebAuthnPasskeys:
    """Implements application.factor_ports.PasskeyCeremonies for one site.

    Without a public address this is a development server: then it is `localhost`, at any port,
    since a page of one's own is served at another port than this.
    """

    def __init__(self, public_url: str | None, name: str, origins: Sequence[str] = ()) -> None:
        parts = urlsplit(public_url or "http://localhost")
        self._rp_id = parts.hostname or "localhost"
        self._name = name
        self._local = public_url is None
        own = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        # A page may be elsewhere on the same site: browsers let it use a passkey of this host
        # only if it is of a subdomain (WebAuthn, 13.4.9), and so do we.
        self._origins = [own, *(each for each in origins if self._of_this_site(each))]

    def creation_options(
        self,
        challenge: bytes,
        user_id: bytes,
        user_name: str,
        display_name: str,
        exclude: Sequence[HeldPasskey],
        timeout_seconds: int,
    ) -> Json:
        """What `navigator.credentials.create` takes as `publicKey`, in JSON."""
        import webauthn
        from webauthn.helpers import options_to_json_dict
        from webauthn.helpers.structs import (
            AuthenticatorSelectionCriteria,
            AuthenticatorTransport,
            PublicKeyCredentialDescriptor,
            ResidentKeyRequirement,
            UserVerificationRequirement,
        )

        options = webauthn.generate_registration_options(
            rp_id=self._rp_id,
            rp_name=self._name,
            user_id=user_id,
            user_name=user_name,
            user_display_name=display_name,
            challenge=challenge,
            timeout=timeout_seconds * 1000,
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.REQUIRED,
                user_verification=UserVerificationRequirement.REQUIRED,
            ),
            exclude_credentials=[
                PublicKeyCredentialDescriptor(
                    id=each.credential_id,
                    transports=[AuthenticatorTransport(name) for name in each.transports],
                )
                for each in exclude
            ],
        )
        return options_to_json_dict(options)

    def request_options(self, challenge: bytes, timeout_seconds: int) -> Json:
        """What `navigator.credentials.get` takes as `publicKey`, in JSON."""
        import webauthn
        from webauthn.helpers import options_to_json_dict
        from webauthn.helpers.structs import UserVerificationRequirement

        options = webauthn.generate_authentication_options(
            rp_id=self._rp_id,
            challenge=challenge,
            timeout=timeout_seconds * 1000,
            user_verification=UserVerificationRequirement.REQUIRED,
        )
        return options_to_json_dict(options)

    def challenge_of(self, credential: Json) -> bytes:
        """The challenge that the browser says it answers."""
        return _bytes(_client_data(credential).challenge)

    def credential_id_of(self, credential: Json) -> bytes:
        """The credential that the browser says it used."""
        found = _bytes(credential.get("rawId"))
        if not 1 <= len(found) <= MAX_CREDENTIAL_ID_BYTES:
            raise PasskeyRefused("no credential id")
        return found

    def registered(self, credential: Json, challenge: bytes) -> NewPasskey:
        """What an answer to `creation_options` proves."""
        import webauthn

        try:
            proven = webauthn.verify_registration_response(
                credential=dict(credential),
                expected_challenge=challenge,
                expected_rp_id=self._rp_id,
                expected_origin=self._expected(credential),
                require_user_verification=True,
            )
        except Exception as error:  # a stranger's CBOR, DER and COSE: it raises whatever it likes
            raise PasskeyRefused(f"{type(error).__name__}: {error}") from error
        if len(proven.credential_id) > MAX_CREDENTIAL_ID_BYTES:
            raise PasskeyRefused("credential id too long")
        return NewPasskey(
            proven.credential_id,
            proven.credential_public_key,
            proven.sign_count,
            _transports(credential),
            proven.credential_backed_up,
        )

    def asserted(self, credential: Json, challenge: bytes, passkey: HeldPasskey) -> UsedPasskey:
        """What an answer to `request_options` proves."""
        import webauthn

        try:
            proven = webauthn.verify_authentication_response(
                credential=dict(credential),
                expected_challenge=challenge,
                expected_rp_id=self._rp_id,
                expected_origin=self._expected(credential),
                credential_public_key=passkey.public_key,
                credential_current_sign_count=passkey.sign_count,
                require_user_verification=True,
            )
        except Exception as error:  # as above
            raise PasskeyRefused(f"{type(error).__name__}: {error}") from error
        handle = _response(credential).get("userHandle")
        if handle is not None and _bytes(handle) != passkey.account_id.encode():
            raise PasskeyRefused("the passkey is another account's")
        return UsedPasskey(proven.new_sign_count, proven.credential_backed_up)

    def _expected(self, credential: Json) -> list[str]:
        origin = _client_data(credential).origin
        if self._local and _LOCAL_ORIGIN.fullmatch(origin):
            return [origin]
        return self._origins

    def _of_this_site(self, origin: str) -> bool:
        host = urlsplit(origin).hostname or ""
        return host == self._rp_id or host.endswith(f".{self._rp_id}")


def _response(credential: Json) -> dict[str, Any]:
    response = credential.get("response")
    if not isinstance(response, dict):
        raise PasskeyRefused("no response")
    return response


def _client_data(credential: Json) -> _ClientData:
    raw = _bytes(_response(credential).get("clientDataJSON"))
    try:
        return msgspec.json.decode(raw, type=_ClientData)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise PasskeyRefused("clientDataJSON can't be read") from error


def _bytes(text: object) -> bytes:
    if not isinstance(text, str):
        raise PasskeyRefused("not text")
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError as error:
        raise PasskeyRefused("not base64url") from error


def _transports(credential: Json) -> list[str]:
    given = _response(credential).get("transports")
    return sorted(_TRANSPORTS.intersection(given)) if isinstance(given, list) else []
