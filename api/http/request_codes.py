"""What is refused about a request itself, before anybody looks at what it asks for; `codes` is
where all codes are.
"""

from api.http.code import Code

REQUEST = (
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
)
