"""Events that are written no more, as they were: what the log holds of them is read for ever."""

from domain.account_events import AccountRegistered, ActorType, Kind
from domain.event import Event, PersonalText


class AccountRegisteredV1(Event, frozen=True, tag="account.registered.v1"):
    """Had the names in clear, where erasing the person left them."""

    account_id: str
    username: str | None = None
    kind: Kind = "personal"
    actor_type: ActorType = "user"
    external_id: str | None = None
    email: PersonalText = None
    name: PersonalText = None
    phone: PersonalText = None
    about: PersonalText = None
    hobbies: PersonalText = None
    avatar_url: PersonalText = None
    wallet_address: PersonalText = None


def account_registered_v2(old: AccountRegisteredV1) -> AccountRegistered:
    """The same facts: only how they are stored has changed."""
    return AccountRegistered(**{field: getattr(old, field) for field in old.__struct_fields__})
