"""The decisions log for auditors: pages by filter, and one event with all that may be told."""

import msgspec

from application.deciding import Principal
from application.history import Told, tell, told
from application.ports import EventFilter, Ports
from domain.errors import InvalidCommand, NotFound, NotPermitted
from domain.events import CATALOGUE

PERMISSION = "events.read"


async def page(
    ports: Ports,
    principal: Principal,
    wanted: EventFilter,
    limit: int,
    at_least: int | None = None,
) -> list[Told]:
    """The first so many events of these, in the order of the log, or newest first.

    `types` may be nouns (`api_key`), facts (`api_key.revoked`) or whole names. For staff with
    `events.read` and services with that permission: NotPermitted. InvalidCommand for a type
    that doesn't exist. PositionNotReached where `at_least` takes too long.
    """
    require(principal)
    names = tuple(dict.fromkeys(name for each in wanted.types for name in named(each)))
    wanted = msgspec.structs.replace(wanted, types=names)
    entries = await ports.log_pages.page(wanted, limit, at_least)
    return await tell(ports, principal, entries)


async def one(ports: Ports, principal: Principal, position: int) -> Told:
    """The event at this position, also one that can't be read. NotFound, NotPermitted.

    Positions are in order and not gapless: not each of them has an event.
    """
    require(principal)
    found = await ports.log_pages.at([position], personal=True)
    if position not in found:
        raise NotFound("event", str(position))
    return told(principal, found[position])


def require(principal: Principal) -> None:
    """Raises NotPermitted for who may not read the whole log."""
    if principal.kind == "service" and PERMISSION in principal.permissions:
        return
    if not principal.may("events.read"):
        raise NotPermitted(PERMISSION)


def named(text: str) -> tuple[str, ...]:
    """The stored names that this means. InvalidCommand where there are none."""
    wanted = text.removesuffix("*").removesuffix(".")
    names = tuple(
        name
        for name in CATALOGUE.names()
        if (name == wanted or name.startswith(f"{wanted}.")) and not name.startswith("usage.")
    )
    if not names:
        raise InvalidCommand("types", f"there are no events called {text[:60]}")
    return names
