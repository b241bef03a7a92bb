"""What callers are refused for who they are, and for how often they ask; `codes` is where all
codes are.
"""

from api.http.code import Code

ACCESS = (
    Code(
        "UNAUTHENTICATED",
        401,
        "Not authenticated",
        "No credential was presented, or one that proves nothing here: unknown, malformed, "
        "expired or revoked. Which of these is not said.",
        "Sign in again, or present a valid key as `Authorization: Bearer` or `X-Api-Key`.",
        "A valid credential is needed.",
    ),
    Code(
        "WRONG_CREDENTIALS",
        401,
        "The sign-in failed",
        "The name and the password don't belong together. Which of the two is wrong, and whether "
        "the account exists, is not said.",
        "Check both, or reset the password.",
        "The credentials are wrong.",
    ),
    Code(
        "FORBIDDEN",
        403,
        "A right is missing",
        "The caller is known, but lacks the right that `detail` names.",
        "Call with a key or an account that has the right, or ask for it.",
        "This needs the right `keys.verify`.",
    ),
    Code(
        "ACCOUNT_NOT_ACTIVE",
        403,
        "The account is not active",
        "The account is suspended or closed, or its address is not proven yet: it can't do this.",
        "Prove the address by a code (`POST /v1/auth/otp`). A closed account can be restored in "
        "its grace period (`POST /v1/me/restore`). Otherwise ask the people who run this service.",
        "The account is suspended.",
    ),
    Code(
        "INVALID_CODE",
        400,
        "The code is not valid",
        "The code that was mailed is wrong, older than ten minutes, was used, or was guessed at "
        "five times. Which of these is not said.",
        "Type the code of the newest mail, or ask for another one.",
        "This code is wrong or not valid any more.",
    ),
    Code(
        "IP_NOT_ALLOWED",
        403,
        "Your address may not call",
        "This server takes calls from listed networks only (`TOLLHOUSE_IP_ALLOW`), and the address "
        "that this one came from is not in them. Nothing was looked at.",
        "Call from a network that is listed, or have the operator list yours. Behind a proxy, the "
        "operator has to name it in `TOLLHOUSE_TRUSTED_PROXIES`, or its address is the one that "
        "counts.",
        "Your address may not call this server.",
    ),
    Code(
        "SIGN_IN_LOCKED",
        429,
        "The password alone opens nothing now",
        "Too many sign-ins failed: with this address or username, or everywhere within the hour. "
        "The answer is the same whether or not there is such an account, and whether or not the "
        "password was right.",
        "Wait as many seconds as `Retry-After` says; or sign in with a second factor, with a code "
        "by mail (`POST /v1/auth/otp`, purpose `sign_in`), or reset the password: a "
        "lock stops none of these.",
        "Too many sign-ins have failed. The password alone opens nothing at present.",
    ),
    Code(
        "TOO_MANY_REQUESTS",
        429,
        "Too many requests",
        "The caller, or the address it calls from, has used up what it may ask for in this time: "
        "requests to public routes, credentials that prove nothing, failed sign-ins, codes by "
        "mail, or new keys. `RateLimit` and "
        "`RateLimit-Policy` say which limit it was. Nothing was done.",
        "Wait as many seconds as `Retry-After` says, then go on more slowly.",
        "Too many requests.",
    ),
)
