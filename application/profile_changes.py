"""What an account says of itself, changed: profile fields and the username."""

import msgspec
from msgspec import UNSET, UnsetType

from application.accounts import Registered, load_person
from application.claiming import moved
from application.deciding import Context, change, commit, retrying
from application.ports import Ports
from application.rows import Row
from domain import claims, profiles
from domain.accounts import ActorType, Kind
from domain.errors import NotFound
from domain.profiles import PERSONAL_FIELDS


class AmendProfile(msgspec.Struct, frozen=True, kw_only=True):
    """What to change. What is UNSET stays; None takes a field, or the username, away."""

    username: str | UnsetType | None = UNSET
    name: str | UnsetType | None = UNSET
    phone: str | UnsetType | None = UNSET
    about: str | UnsetType | None = UNSET
    hobbies: str | UnsetType | None = UNSET
    avatar_url: str | UnsetType | None = UNSET
    wallet_address: str | UnsetType | None = UNSET
    kind: Kind | UnsetType = UNSET
    actor_type: ActorType | UnsetType = UNSET


async def amend(
    ports: Ports,
    context: Context,
    account_id: str,
    command: AmendProfile,
    reason: str | None = None,
) -> tuple[Registered, int]:
    """Change the profile; answers the account as it is then, and the position.

    Whose account it may be is the caller's to check. A username that is given up is free for
    others at once. Raises InvalidCommand, Taken, NotFound.
    """
    wanted_name = command.username
    if isinstance(wanted_name, str):
        wanted_name = claims.username(wanted_name)
    given = {
        field: value
        for field in (*PERSONAL_FIELDS, "kind", "actor_type")
        if (value := getattr(command, field)) is not UNSET
    }

    async def attempt() -> tuple[Registered, int]:
        stream, person = await load_person(ports, account_id)
        account = person.account
        if account.status == "erased":
            raise NotFound("account", account_id)
        wanted = msgspec.structs.replace(person.profile, **given)
        wanted = profiles.checked(wanted, person.profile)
        events = profiles.change(person.profile, wanted)
        rows: list[Row] = []
        if not isinstance(wanted_name, UnsetType) and wanted_name != account.username:
            events += profiles.rename(account.username, wanted_name)
            rows = moved(ports, claims.USERNAME, account.username, wanted_name, account_id)
        if not events:
            return person, ports.directory.position
        now = ports.clock()
        made = change(stream, events, now, account_id)
        changed = Registered(made.state, person.email, wanted)
        position = await commit(ports, context, now, [made], rows, result=changed, reason=reason)
        return changed, position

    return await retrying(attempt)
