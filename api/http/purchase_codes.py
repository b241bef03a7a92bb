"""What purchases and payment webhooks can be refused with; `codes` is where all codes are."""

from api.http.code import Code

PURCHASES = (
    Code(
        "UNKNOWN_PACKAGE",
        400,
        "No such package",
        "No package of this name is on offer.",
        "Take a name from `GET /v1/credits/packages`.",
        "There is no package `huge`.",
        "package",
    ),
    Code(
        "UNKNOWN_PROVIDER",
        400,
        "No such payment provider here",
        "The payment provider is not set up on this server, or none is named and there is not "
        "exactly one.",
        "Take one of those that `hint` names. To set up Stripe, set "
        "`TOLLHOUSE_STRIPE_WEBHOOK_SECRET`.",
        "The payment provider `paypal` is not set up here.",
        "provider",
    ),
    Code(
        "WEBHOOK_SIGNATURE_INVALID",
        400,
        "The webhook's signature is missing or wrong",
        "Nobody that this server knows signed these bytes: the header is missing, malformed or "
        "there twice, the secret is another one, or the body was changed on its way. Which of "
        "these is not said. Nothing was done.",
        "Compare the endpoint's signing secret with the server's setting, and let nothing in "
        "between rewrite the body: the signature is of its exact bytes.",
        "The signature is missing or wrong.",
    ),
    Code(
        "WEBHOOK_TOO_OLD",
        400,
        "The webhook was signed too long ago",
        "The signature is right, but its time is more than five minutes from now. So nobody can "
        "send a notice again that they overheard. Nothing was done.",
        "Send it again with a new signature; providers do by themselves. If new ones are refused, "
        "too, a clock is wrong.",
        "The notice was signed more than 300 seconds from now.",
    ),
    Code(
        "WEBHOOK_INVALID",
        400,
        "The webhook can't be understood",
        "The signature is right, but the body is not an event as this server knows it. Nothing "
        "was done.",
        "Use a version of the provider's API that has the fields which `detail` names, or a "
        "newer version of this server; then have the provider send it again.",
        "This is not an event as we know it: Object missing required field `id`.",
    ),
)
