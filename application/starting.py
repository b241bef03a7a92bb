"""What a new installation needs before anybody can use it: plans, an admin, a service key."""

import msgspec
import structlog

from application import api_keys
from application.accounts import RegisterAccount, make_account
from application.deciding import SYSTEM, Context
from application.plans import publish_shipped
from application.ports import Ports
from domain import accounts, plans
from domain.api_key_rules import SERVICE_PERMISSIONS
from domain.api_keys import IssueApiKey
from domain.errors import AccountNotActive, NotFound, Taken

log = structlog.get_logger()

FIRST_ADMIN = "first_admin"


class Prepared(msgspec.Struct, frozen=True):
    """What was made just now."""

    plans: list[str]
    admin_email: str | None
    service_key: bool


async def prepare(
    ports: Ports,
    command_id: str,
    admin_email: str | None = None,
    admin_password: str | None = None,
    service_key: str | None = None,
) -> Prepared:
    """Publish the shipped plans; make the first admin and the service key if they are given
    and were never made. Safe to run again, and by several processes at once."""
    published = await publish_shipped(ports, command_id)
    context = Context(principal=SYSTEM, command_id=command_id)
    made = False
    if admin_email and admin_password:
        made = await _first_admin(ports, context, admin_email, admin_password)
    issued = False
    if service_key is not None:
        issued = await _service_key(ports, context, service_key)
    return Prepared(published, admin_email if made else None, issued)


async def has_admin(ports: Ports) -> bool:
    """Whether the first admin was made."""
    return await _admin_id(ports) is not None


async def _admin_id(ports: Ports) -> str | None:
    digests = ports.digests.claims(FIRST_ADMIN, FIRST_ADMIN)
    return await ports.lookups.claim_holder(FIRST_ADMIN, digests)


async def _first_admin(ports: Ports, context: Context, email: str, password: str) -> bool:
    if await has_admin(ports):
        return False
    command = RegisterAccount(
        email=email,
        password=password,
        plan=plans.INTERNAL,
        roles=(accounts.ADMIN,),
        email_verified=True,
    )
    try:
        await make_account(ports, context, command, claims=[(FIRST_ADMIN, FIRST_ADMIN)])
    except Taken as taken:
        if taken.kind != FIRST_ADMIN:
            raise
        return False  # another process starts at the same moment, and was first
    return True


async def _service_key(ports: Ports, context: Context, secret: str) -> bool:
    owner = await _admin_id(ports)
    if owner is None:
        raise NotFound("admin", "to own the service key: set TOLLHOUSE_ADMIN_EMAIL")
    command = IssueApiKey(
        account_id=owner,
        name="service key of the settings",
        kind="service",
        permissions=tuple(sorted(SERVICE_PERMISSIONS)),
    )
    try:
        await api_keys.issue(ports, context, command, secret=secret)
    except Taken:
        return False
    except AccountNotActive as error:  # what else there is must start all the same
        log.warning("the service key of the settings is not in force", problem=str(error))
        return False
    return True
