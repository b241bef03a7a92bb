"""What credits can be refused with; `codes` is where all codes are."""

from api.http.code import Code

CREDITS = (
    Code(
        "CREDITS_EXHAUSTED",
        402,
        "Not enough credits",
        "The account has fewer credits available than this takes. What is held, and what begins "
        "later, is not available. Nothing was done.",
        "Ask for less, release a hold, or grant or buy more. `GET /v1/credits` says what there is.",
        "This takes 12.50 credits, and 3.00 are available.",
    ),
    Code(
        "INVALID_AMOUNT",
        400,
        "Not an amount of credits",
        "An amount is a decimal string of more than 0.00 with at most two places; a capture is no "
        "more than what is held. Nothing was done.",
        'Send a string such as `"12.50"`, not a number.',
        "amount: more than 0.00.",
        "amount",
    ),
    Code(
        "HOLD_CAPTURED",
        409,
        "The hold was captured already",
        "Some or all of what was held was spent, and the rest was let go. A hold ends once.",
        "Nothing, if this was a repetition: an `Idempotency-Key` would have answered as the first "
        "time. To spend more, spend or hold anew.",
        "This hold was captured.",
    ),
    Code(
        "HOLD_RELEASED",
        409,
        "The hold was released already",
        "What was held was let go. A hold ends once.",
        "To spend after all, spend or hold anew.",
        "This hold was released.",
    ),
    Code(
        "HOLD_EXPIRED",
        409,
        "The hold has expired",
        "The hold's time was over, and what was held was let go by itself.",
        "Hold anew, with a longer `expires_in` if need be.",
        "This hold has expired.",
    ),
)
