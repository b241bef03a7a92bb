"""The throttles as the settings want them."""

from application.throttle_ports import ThrottlePolicy
from infra.settings import Settings


def throttle_policy(settings: Settings) -> ThrottlePolicy:
    """What use cases obey: each field is the setting of its name."""
    return ThrottlePolicy(
        **{name: getattr(settings, name) for name in ThrottlePolicy.__struct_fields__}
    )
