"""The kinds of values that settings have: what each must be like, in words for the operator."""

from typing import Annotated, Any, get_args

from msgspec import Meta

Flag = Annotated[bool, Meta(description="true or false")]
Throttle = Annotated[
    int, Meta(ge=0, le=1_000_000, description="a number from 0 (no limit) to 1000000")
]
Port = Annotated[int, Meta(ge=0, le=65535, description="a port from 0 to 65535 (0: a free one)")]
Positive = Annotated[int, Meta(ge=1, le=2**31 - 1, description="a whole number above 0")]
Text = Annotated[str, Meta(min_length=1, description="some text")]
PublicUrl = Annotated[
    str, Meta(pattern="^https?://[^/]", description="an address that starts with https://")
]
Email = Annotated[str, Meta(pattern="^[^@\\s]+@[^@\\s]+$", description="an email address")]
Prefix = Annotated[
    str, Meta(pattern="^[a-z][a-z0-9]{0,11}$", description="1 to 12 of a-z and 0-9, a letter first")
]
DatabaseUrl = Annotated[
    str,
    Meta(
        pattern="^postgres(ql)?://",
        description="an address such as postgresql://user:password@host/database",
        extra={"secret": True},
    ),
]
NatsUrl = Annotated[
    str,
    Meta(
        pattern="^(nats|tls|wss?)://",
        description="an address such as nats://host:4222",
        extra={"secret": True},
    ),
]
LakeUrl = Annotated[
    str,
    Meta(
        pattern="^(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?|[^:]+)$",
        description="a folder, or an address such as s3://bucket/prefix, whose bucket has a name "
        "of 3 to 63 characters",
    ),
]
MailUrl = Annotated[
    str,
    Meta(
        pattern="^(file:|smtps?://[^/])",
        description="file:///FOLDER, or an address such as smtp://user:password@host:587",
        extra={"secret": True},
    ),
]
RateLimitStorage = Annotated[
    str,
    Meta(
        pattern="^(memory$|(redis|rediss|valkey|valkeys)://[^/])",
        description="memory, or an address such as redis://:password@host:6379/0",
        extra={"secret": True},
    ),
]
Password = Annotated[str, Meta(description="some text", extra={"secret": True})]
StripeSecret = Annotated[
    str,
    Meta(
        pattern="^whsec_[A-Za-z0-9+/=_-]{16,}$",
        description="the signing secret of a webhook endpoint at Stripe, which starts with whsec_",
        extra={"secret": True},
    ),
]
Key = Annotated[bytes, Meta(extra={"secret": True})]


def is_secret(hint: Any) -> bool:
    """Whether a value of this kind is never shown."""
    if isinstance(hint, Meta):
        return bool(hint.extra and hint.extra.get("secret"))
    return any(is_secret(part) for part in (*get_args(hint), *getattr(hint, "__metadata__", ())))


def description(hint: Any) -> str:
    """What a value of this kind must be."""
    parts = (*getattr(hint, "__metadata__", ()), *get_args(hint))
    found = (p.description if isinstance(p, Meta) else description(p) for p in parts)
    return next((text for text in found if text), "")
