"""The headers that tell a client where it stands with a limit on requests."""


def limit_fields(
    name: str, limit: int, window_seconds: int, remaining: int, more_in_seconds: int, resets_at: int
) -> dict[str, str]:
    """The headers of draft-ietf-httpapi-ratelimit-headers-11, and the ones from before it, whose
    reset is an instant in Unix seconds."""
    return {
        "ratelimit-policy": f'"{name}";q={limit};w={window_seconds}',
        "ratelimit": f'"{name}";r={remaining};t={more_in_seconds}',
        "x-ratelimit-limit": str(limit),
        "x-ratelimit-remaining": str(remaining),
        "x-ratelimit-reset": str(resets_at),
    }
