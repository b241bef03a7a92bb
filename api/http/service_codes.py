"""What the service answers when it is the service that can't; `codes` is where all codes are."""

from api.http.code import Code

SERVICE = (
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
