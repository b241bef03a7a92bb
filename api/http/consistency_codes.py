"""Refusals of what happens twice, at once or too early; `codes` is where all codes are."""

from api.http.code import Code

CONSISTENCY = (
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
)
