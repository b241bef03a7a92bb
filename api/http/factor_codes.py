"""What second factors can be refused with; `codes` is where all codes are."""

from api.http.code import Code

FACTORS = (
    Code(
        "MFA_REQUIRED",
        401,
        "A second factor is needed",
        "The password (or the mailed code) is right, and the account has a second factor. "
        "`factors` names those that it has, by the fields of the sign-in. With `param`, one was "
        "presented and is not right: wrong, or used already. A code of an app is good for one "
        "sign-in.",
        "Send the same sign-in again with `totp`, `recovery_code` or `passkey`; or sign in by "
        "`POST /v1/auth/passkey` alone.",
        "A second factor is needed.",
    ),
    Code(
        "FRESH_SIGN_IN_REQUIRED",
        401,
        "A fresh sign-in is needed",
        "Factors are changed only by who signed in within the last ten minutes, with the second "
        "factor where the account has one. The access token is good otherwise.",
        "Sign in again, with the second factor, and repeat the request with the new token.",
        "Sign in again, then repeat this within ten minutes.",
    ),
    Code(
        "PASSKEY_NOT_ACCEPTED",
        400,
        "The passkey can't be registered",
        "What the browser answered does not prove a new passkey for this site and account: its "
        "challenge is not ours, is older than five minutes or was used; it was made for another "
        "origin; the authenticator did not verify the user; or its signature is wrong.",
        "Ask for new options and let the browser answer those. Behind a proxy, check that "
        "`TOLLHOUSE_PUBLIC_URL` is the address that the browser shows.",
        "What the browser answered registers no passkey here.",
        "credential",
    ),
    Code(
        "NO_SECOND_FACTOR",
        409,
        "The account has no second factor",
        "Recovery codes stand in for a second factor that was lost. Without one, they would open "
        "nothing.",
        "Set up an authenticator app or a passkey: recovery codes come with it.",
        "The account has no second factor to recover.",
    ),
    Code(
        "TOO_MANY_PASSKEYS",
        409,
        "The account has too many passkeys",
        "An account has at most 20 passkeys.",
        "Remove one that is not used any more (`GET /v1/me/passkeys` says when each was used).",
        "An account has at most 20 passkeys.",
    ),
)
