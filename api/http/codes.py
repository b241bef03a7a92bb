"""Every error code that the HTTP side can answer: the single source of status and title.

One table, so that the answers, the pages under `/errors` and `docs/errors` can't disagree. It is
longer than other files here because it is text; it has no behaviour. A code is a promise: it may
be added, never renamed, and its status never changes.
"""

from api.http.analytics_codes import ANALYTICS
from api.http.closing_codes import CLOSING
from api.http.code import Code
from api.http.credit_codes import CREDITS
from api.http.factor_codes import FACTORS
from api.http.plan_codes import PLANS
from api.http.purchase_codes import PURCHASES
from api.http.session_codes import SESSIONS
from api.http.staff_codes import STAFF

_ALL = (
    # The request itself
    Code(
        "INVALID_REQUEST",
        400,
        "The request is not valid",
        "A field, parameter or header is missing, has the wrong type, or breaks a rule. `param` "
        "names it, nested fields with dots (`quota.limit`). Nothing was done.",
        "Correct what `param` names and send the request again. The API reference lists the type "
        "and the bounds of every field.",
        "Expected `int`, got `str`.",
        "quota.limit",
    ),
    Code(
        "UNKNOWN_FIELD",
        400,
        "The body has a field that is not known",
        "A field in the body does not exist for this operation. It is refused, not ignored, so "
        "that a misspelt limit can never look like a limit that was set.",
        "Remove the field that `param` names, or correct its spelling.",
        "Object contains unknown field `qouta`.",
        "qouta",
    ),
    Code(
        "DUPLICATE_FIELD",
        400,
        "The body has the same field twice",
        "A JSON object (or a form) contains one name more than once. Two readers could take two "
        "different values from it, so it is refused.",
        "Send every field once. JSON libraries do this by themselves; look for JSON that is put "
        "together from strings.",
        "The field `name` occurs more than once.",
        "name",
    ),
    Code(
        "DUPLICATE_PARAMETER",
        400,
        "A query parameter is given twice",
        "The query string contains one name more than once, and which value counts would be a "
        "guess.",
        "Send every query parameter once.",
        "The query parameter `limit` is given more than once.",
        "limit",
    ),
    Code(
        "MALFORMED_JSON",
        400,
        "The body is not valid JSON",
        "The body can't be read as JSON (RFC 8259) in UTF-8. `NaN`, `Infinity`, numbers that no "
        "double can hold and unpaired surrogates are not JSON either.",
        "Send what a JSON library writes, encoded as UTF-8 without a byte order mark.",
        "The body is not valid JSON: Expecting ',' delimiter at character 17.",
    ),
    Code(
        "JSON_TOO_DEEP",
        400,
        "The JSON is nested too deeply",
        "Objects and arrays are nested more than 32 levels deep.",
        "Send a flatter document. Nothing in this API needs more than a few levels.",
        "JSON may be nested 32 levels deep at most.",
    ),
    Code(
        "BODY_TOO_LARGE",
        413,
        "The body is too large",
        "The body is larger than this route takes: 4 KiB on sign-in and registration routes, "
        "1 MiB for imports and messages, 64 KiB elsewhere. The connection may be closed.",
        "Send less at a time.",
        "The body may have 65536 bytes at most here.",
    ),
    Code(
        "HEADERS_TOO_LARGE",
        431,
        "The request has too many or too large headers",
        "More than 64 headers, or more than 16 KiB of them. The connection is closed.",
        "Send fewer headers. Large cookies of other applications on the same domain are the usual "
        "cause.",
        "At most 64 headers with 16384 bytes in total are accepted.",
    ),
    Code(
        "URL_TOO_LONG",
        414,
        "The URL is too long",
        "Path and query together are longer than 8 KiB.",
        "Shorten the query, or page through the list with `cursor`.",
        "A URL may have 8192 bytes at most.",
    ),
    Code(
        "REQUEST_TIMEOUT",
        408,
        "The body did not arrive in time",
        "The whole body has to arrive within 10 seconds. Nothing was done, and the connection is "
        "closed.",
        "Send the request again on a new connection.",
        "The body did not arrive within 10 seconds.",
    ),
    Code(
        "UNSUPPORTED_MEDIA_TYPE",
        415,
        "The body's content type is not accepted here",
        "Bodies are `application/json` (or another `+json` type). Only the routes that say so in "
        "the API reference take `application/x-www-form-urlencoded` as well.",
        "Set `Content-Type: application/json` and send JSON.",
        "Content-Type has to be application/json.",
        "Content-Type",
    ),
    Code(
        "METHOD_NOT_ALLOWED",
        405,
        "The method is not allowed here",
        "The path exists, but not with this method. The `Allow` header lists those that do.",
        "Use one of the methods in `Allow`.",
        "This method is not allowed here.",
    ),
    Code(
        "NOT_FOUND",
        404,
        "Not found",
        "There is nothing at this path, or no such thing, or it belongs to somebody else. The "
        "last two are never told apart, so that ids can't be probed.",
        "Check the id, and which account or key you call as.",
        "No such api_key.",
    ),
    Code(
        "KEY_IN_URL",
        400,
        "A key was sent in the URL",
        "The URL contains an API key, or a query parameter that is made for one (`key`, "
        "`api_key`, `apikey`, `access_token`). URLs end up in logs, histories and referrers, so "
        "it is refused before anybody looks at it.",
        "Send the key as `Authorization: Bearer` or `X-Api-Key`, and access tokens as "
        "`Authorization: Bearer`. Treat a key that was in a URL as leaked: rotate it.",
        "A key must not be sent in the URL.",
        "api_key",
    ),
    # Who calls, and what they may
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
    # Rules of the domain
    Code(
        "EMAIL_TAKEN",
        409,
        "The email address is taken",
        "An account with this email address exists already.",
        "Sign in, or reset the password, or register with another address.",
        "This email address is taken.",
        "email",
    ),
    Code(
        "USERNAME_TAKEN",
        409,
        "The username is taken",
        "An account with this username exists already. Usernames are compared without regard to "
        "case.",
        "Choose another username.",
        "This username is taken.",
        "username",
    ),
    Code(
        "ALREADY_TAKEN",
        409,
        "Somebody else holds this already",
        "A value that has to be unique, such as the digest of an imported key, is held already.",
        "Use another value. A key that was imported once needs no second import.",
        "This key digest is taken.",
    ),
    Code(
        "KEY_REVOKED",
        409,
        "The key is revoked",
        "A revoked key stays revoked: nothing about it can be changed any more.",
        "Issue a new key.",
        "This key is revoked.",
    ),
    Code(
        "INVALID_PERMISSION_QUERY",
        400,
        "The permission query can't be read",
        "`permissions` of a verification is a query such as `a AND (b OR NOT c.*)`, of at most "
        "1,000 characters and 32 levels of parentheses. `detail` says at which column, counted "
        "from 1, it can't be read any further, and why. Nothing was taken.",
        "Correct the query at that column. Permissions are words of a-z 0-9 _ - joined by . or :, "
        "a wildcard `*` stands at the end, and `role:NAME` asks for a role.",
        "Column 7: expected a permission, NOT or `(`, found `OR`.",
        "permissions",
    ),
    Code(
        "IMPORT_REFUSED",
        422,
        "Nothing was imported",
        "Keys are imported all or none, and some of the items can't be: a hash of the wrong "
        "length, one that is here already, an account that isn't there or has as many keys as "
        "its plan permits. Of accounts, none of the items can be. `detail` says what is wrong "
        "with which (the first 50 faults), and `param` names the first.",
        "Correct or leave out the items that `detail` names, and send the rest again.",
        "2 of 3 items can't be imported, and none was. items[0].hash: 32 bytes in hex or base64 "
        "for sha256; items[2].account_id: no such account.",
        "items[0].hash",
    ),
    *FACTORS,
    *PLANS,
    *CLOSING,
    *STAFF,
    *SESSIONS,
    *CREDITS,
    *PURCHASES,
    # Consistency and repetition
    Code(
        "VERSION_CONFLICT",
        409,
        "Somebody else changed this at the same time",
        "Others changed the same thing several times in a row while this request was decided. "
        "Nothing was done.",
        "Read it again, and send the request again if it still makes sense.",
        "This was changed at the same time by somebody else.",
    ),
    Code(
        "IDEMPOTENCY_KEY_REUSED",
        422,
        "The Idempotency-Key belongs to another request",
        "An earlier request had the same `Idempotency-Key`, but not the same body. Nothing was "
        "done.",
        "Make a new `Idempotency-Key` for every new request; repeat one only with its own body.",
        "This Idempotency-Key was used with another body.",
        "Idempotency-Key",
    ),
    Code(
        "IDEMPOTENCY_IN_FLIGHT",
        409,
        "The first request is still under way",
        "A request with the same `Idempotency-Key` has not ended yet.",
        "Wait as `Retry-After` says and repeat the request: it gets the first one's answer.",
        "The first request with this Idempotency-Key has not ended yet.",
        "Idempotency-Key",
    ),
    Code(
        "INVALID_POSITION",
        400,
        "The position can't be read",
        "`Tollhouse-Min-Position` is not of the form `<log id>:<number>`.",
        "Send back what an earlier answer gave as `Tollhouse-Position`, unchanged.",
        "A position has the form <log id>:<number>.",
        "Tollhouse-Min-Position",
    ),
    Code(
        "FOREIGN_LOG",
        400,
        "The position is from another log",
        "The position was given by another installation, or before this one was restored from a "
        "backup. It can never be reached here.",
        "Drop the position and read again without one.",
        "This position belongs to another log.",
        "Tollhouse-Min-Position",
    ),
    Code(
        "POSITION_NOT_REACHED",
        503,
        "The position is not reached yet",
        "This process waited for the position in `Tollhouse-Min-Position` and has not seen it "
        "yet. Nothing is lost; it is behind.",
        "Repeat the request as `Retry-After` says.",
        "Position 1042 is not reached yet.",
        "Tollhouse-Min-Position",
    ),
    *ANALYTICS,
    # The service itself
    Code(
        "DIRECTORY_STALE",
        503,
        "This process can't be sure that its keys are current",
        "The process can't confirm that it knows every change to keys, so it does not judge any: "
        "a revoked key must not pass. It recovers by itself when the database is back.",
        "Repeat the request as `Retry-After` says.",
        "Keys can't be judged at present.",
    ),
    Code(
        "STORE_UNAVAILABLE",
        503,
        "The store can't be reached",
        "The database can't be reached, or did not answer in time. A command may or may not have "
        "been carried out.",
        "Repeat the request as `Retry-After` says. With the same `Idempotency-Key` it is never "
        "carried out twice.",
        "The store can't be reached at present.",
    ),
    Code(
        "OVERLOADED",
        503,
        "Too busy",
        "A bounded queue is full, such as the one for password checks. Nothing was done.",
        "Repeat the request as `Retry-After` says.",
        "Too busy at present: passwords.",
    ),
    Code(
        "INTERNAL_ERROR",
        500,
        "Something went wrong here",
        "A fault in this service, not in the request. It is logged under `request_id`.",
        "Repeat the request later. If it stays, report it with its `request_id`.",
        "An unexpected error occurred.",
    ),
)

CODES: dict[str, Code] = {code.code: code for code in _ALL}
"""The catalogue, by code."""
