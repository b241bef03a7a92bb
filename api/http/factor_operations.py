"""What the reference says of second factors."""

from api.http.factor_shapes import (
    AddedPasskeyAnswer,
    PasskeyPage,
    PasskeyRequest,
    RecoveryCodesAnswer,
    TotpAnswer,
    TotpConfirmRequest,
)
from api.http.login_shapes import PasskeyOptionsAnswer
from api.http.operation import Operation, Parameter

_TAG = "Second factors"
_FRESH = (
    " Needs a fresh sign-in: within the last ten minutes, with the second factor where there is "
    "one. The owner is told by mail."
)
_CODES = [
    f"{text}-8n3w-5q2t-0c7z"
    for text in (
        *("k4d9", "m7f2", "p1h5", "r3j8", "t6v0"),
        *("w9x4", "y2z7", "a5b1", "c8e3", "g0n6"),
    )
]
_ID = "pk_01kb2m9k2q4s6v8x0z2b4d6f8h"
_PASSKEY: dict[str, object] = {
    "id": _ID,
    "name": "Laptop",
    "added_at": "2026-01-31T12:00:00Z",
    "last_used_at": None,
    "transports": ["internal"],
    "backed_up": False,
}
_PASSKEY_ID = Parameter("passkey_id", "The passkey.", {"type": "string"}, _ID, "path")

OFFER_TOTP = Operation(
    id="offer_totp",
    tag=_TAG,
    summary="Begin to set up an authenticator app",
    description=(
        "A secret for an authenticator app (RFC 6238: SHA-1, 6 digits, 30 seconds), as a link, a "
        "QR code and text. Nothing changes before `POST /v1/me/totp/confirm`; an app that is set "
        "up already counts until then." + _FRESH
    ),
    who="user",
    own_hand=True,
    answer=TotpAnswer,
    example={
        "otpauth_uri": "otpauth://totp/Tollhouse%3Aada@example.com?secret=JBSWY3DPEHPK3PXP"
        "JBSWY3DPEHPK3PXP&issuer=Tollhouse&algorithm=SHA1&digits=6&period=30",
        "qr_svg": '<svg xmlns="http://www.w3.org/2000/svg" width="188" height="188">...</svg>',
        "secret": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",
        "expires_in": 600,
    },
    errors=("FRESH_SIGN_IN_REQUIRED", "ACCOUNT_NOT_ACTIVE", "STORE_UNAVAILABLE"),
)

CONFIRM_TOTP = Operation(
    id="confirm_totp",
    tag=_TAG,
    summary="Finish to set up an authenticator app",
    description=(
        "With the code that the app shows, it is a second factor from now on. Answers ten "
        "recovery codes where there were none left." + _FRESH
    ),
    who="user",
    own_hand=True,
    answer=RecoveryCodesAnswer,
    example={"recovery_codes": _CODES},
    body=TotpConfirmRequest,
    body_example={"code": "492039"},
    commands=True,
    once=True,
    errors=("FRESH_SIGN_IN_REQUIRED", "ACCOUNT_NOT_ACTIVE"),
)

REMOVE_TOTP = Operation(
    id="remove_totp",
    tag=_TAG,
    summary="Remove the authenticator app",
    description=(
        "Its codes count no more. With the last factor, the recovery codes end, too." + _FRESH
    ),
    who="user",
    own_hand=True,
    status=204,
    commands=True,
    errors=("NOT_FOUND", "FRESH_SIGN_IN_REQUIRED", "ACCOUNT_NOT_ACTIVE"),
)

RECOVERY_CODES = Operation(
    id="issue_recovery_codes",
    tag=_TAG,
    summary="Make new recovery codes",
    description=(
        "Ten codes, shown this once, each good for one sign-in in the place of the second "
        "factor. Those from before count no more." + _FRESH
    ),
    who="user",
    own_hand=True,
    status=201,
    answer=RecoveryCodesAnswer,
    example={"recovery_codes": _CODES},
    commands=True,
    once=True,
    errors=("NO_SECOND_FACTOR", "FRESH_SIGN_IN_REQUIRED", "ACCOUNT_NOT_ACTIVE"),
)

NEW_PASSKEY_OPTIONS = Operation(
    id="new_passkey_options",
    tag=_TAG,
    summary="Begin to add a passkey",
    description=(
        "What `navigator.credentials.create()` takes; good for five minutes, once, and for this "
        "account." + _FRESH
    ),
    who="user",
    own_hand=True,
    answer=PasskeyOptionsAnswer,
    example={
        "public_key": {
            "rp": {"id": "auth.example.com", "name": "Tollhouse"},
            "user": {
                "id": "YWNjdF8wMWthbXpxM3YwYjZmN244dzl4MnkyejVhYw",
                "name": "ada@example.com",
                "displayName": "ada",
            },
            "challenge": "o9bT0vYqk3mD2mB5S0tqN3v1c8l1QG5wAAAAAGlwX1Q",
            "pubKeyCredParams": [{"type": "public-key", "alg": -7}],
            "timeout": 300000,
            "excludeCredentials": [],
            "authenticatorSelection": {
                "residentKey": "required",
                "requireResidentKey": True,
                "userVerification": "required",
            },
            "attestation": "none",
        },
        "expires_in": 300,
    },
    errors=("FRESH_SIGN_IN_REQUIRED", "ACCOUNT_NOT_ACTIVE", "STORE_UNAVAILABLE"),
)

ADD_PASSKEY = Operation(
    id="add_passkey",
    tag=_TAG,
    summary="Add a passkey",
    description=(
        "Takes what `navigator.credentials.create()` answered to the options. From now on the "
        "password alone doesn't sign in any more. Answers ten recovery codes where there were "
        "none left." + _FRESH
    ),
    who="user",
    own_hand=True,
    status=201,
    answer=AddedPasskeyAnswer,
    example={**_PASSKEY, "recovery_codes": _CODES},
    body=PasskeyRequest,
    body_example={
        "credential": {
            "id": "AZ9nTq0v8mB1kP3xW5yC7eG9iK1mO3qS",
            "rawId": "AZ9nTq0v8mB1kP3xW5yC7eG9iK1mO3qS",
            "type": "public-key",
            "authenticatorAttachment": "platform",
            "clientExtensionResults": {},
            "response": {
                "clientDataJSON": "eyJ0eXBlIjoid2ViYXV0aG4uY3JlYXRlIiwiY2hhbGxlbmdlIjoiLi4uIn0",
                "attestationObject": "o2NmbXRkbm9uZWdhdHRTdG10oGhhdXRoRGF0YVik",
                "transports": ["internal"],
            },
        },
        "name": "Laptop",
    },
    commands=True,
    once=True,
    errors=(
        "PASSKEY_NOT_ACCEPTED",
        "ALREADY_TAKEN",
        "TOO_MANY_PASSKEYS",
        "FRESH_SIGN_IN_REQUIRED",
        "ACCOUNT_NOT_ACTIVE",
    ),
)

PASSKEYS = Operation(
    id="list_passkeys",
    tag=_TAG,
    summary="List the own passkeys",
    description="All of them, oldest first, and when each was used the last time.",
    who="user",
    answer=PasskeyPage,
    example={"items": [_PASSKEY], "next_cursor": None},
    reads=True,
    errors=("STORE_UNAVAILABLE",),
)

REMOVE_PASSKEY = Operation(
    id="remove_passkey",
    tag=_TAG,
    summary="Remove a passkey",
    description=(
        "It signs nobody in any more. With the last factor, the recovery codes end, too." + _FRESH
    ),
    who="user",
    own_hand=True,
    status=204,
    parameters=(_PASSKEY_ID,),
    commands=True,
    errors=("NOT_FOUND", "FRESH_SIGN_IN_REQUIRED", "ACCOUNT_NOT_ACTIVE"),
)
