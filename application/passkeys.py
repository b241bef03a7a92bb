"""Passkeys of the own account: add, list, remove. Signing in with one is `signing_in`'s.

The same rules as for other factors hold (`factors.fresh_account`). What a passkey is called is
the owner's word: it stands sealed in the log, and is read from there.
"""

import msgspec
import structlog

from application import passkey_challenges
from application.deciding import Context, Principal, change, commit, new_id, retrying
from application.errors import PasskeyNotAccepted
from application.factor_ports import HeldPasskey, Json, NewPasskey, PasskeyRefused
from application.factors import (
    Codes,
    address_of,
    first_codes,
    fresh_account,
    told,
    void_codes,
)
from application.ports import Ports
from application.rows import PasskeyGoneRow, PasskeyRow, Row
from domain import factors
from domain.account_events import PasskeyAdded
from domain.errors import NotFound, Taken

PREFIX = "pk"

log = structlog.get_logger()


class NamedPasskey(msgspec.Struct, frozen=True):
    """A passkey and what its owner calls it."""

    passkey: HeldPasskey
    name: str | None


class AddedPasskey(msgspec.Struct, frozen=True):
    """A new passkey, and the recovery codes that came with it."""

    named: NamedPasskey
    codes: Codes


async def options(ports: Ports, principal: Principal) -> Json:
    """What `navigator.credentials.create` takes; good for five minutes and once.

    Raises FreshSignInRequired, NotPermitted.
    """
    account = (await fresh_account(ports, principal)).state
    address = await address_of(ports, account.id)
    return ports.passkeys.creation_options(
        passkey_challenges.make(ports, "register", account.id),
        account.id.encode(),
        address,
        account.username or address,
        await ports.factors.passkeys(account.id),
        passkey_challenges.TTL_SECONDS,
    )


async def add(
    ports: Ports, context: Context, credential: Json, name: str | None
) -> tuple[AddedPasskey, int]:
    """Register what the browser made; answers it, recovery codes where there were none, and the
    position.

    Raises PasskeyNotAccepted, Taken, TooManyPasskeys, FreshSignInRequired, NotPermitted.
    """
    account_id = (await fresh_account(ports, context.principal)).state.id
    proven = await _proven(ports, account_id, credential)

    async def attempt() -> tuple[AddedPasskey, int]:
        stream = await fresh_account(ports, context.principal)
        account, now = stream.state, ports.clock()
        if await ports.factors.passkey(proven.credential_id) is not None:
            raise Taken("passkey")
        passkey_id = new_id(ports, PREFIX)
        row = PasskeyRow(
            passkey_id=passkey_id,
            account_id=account.id,
            made_at=now,
            **msgspec.structs.asdict(proven),
        )
        codes, rows = first_codes(ports, account)
        rows += [row, await told(ports, "factor_added", account.id, now, "a passkey")]
        events = factors.add_passkey(account, passkey_id, name)
        changes = [change(stream, events, now, account.id)]
        held = HeldPasskey(**msgspec.structs.asdict(row), last_used_at=None)
        added = AddedPasskey(NamedPasskey(held, name), codes)
        return added, await commit(ports, context, now, changes, rows, result=added)

    return await retrying(attempt)


async def of_caller(ports: Ports, principal: Principal) -> list[NamedPasskey]:
    """The caller's passkeys, oldest first."""
    account_id = principal.account_id or ""
    held = await ports.factors.passkeys(account_id)
    if not held:
        return []
    names = {
        each.event.passkey_id: each.event.name
        for each in await ports.store.read(account_id, personal=True)
        if isinstance(each.event, PasskeyAdded)
    }
    return [NamedPasskey(each, names.get(each.passkey_id)) for each in held]


async def remove(ports: Ports, context: Context, passkey_id: str) -> int:
    """The passkey signs nobody in any more. NotFound also where it is somebody else's.

    Raises FreshSignInRequired, NotPermitted, too.
    """

    async def attempt() -> int:
        held = await ports.factors.passkeys(context.principal.account_id or "")
        if passkey_id not in [each.passkey_id for each in held]:
            raise NotFound("passkey", passkey_id)
        stream = await fresh_account(ports, context.principal)
        account, now = stream.state, ports.clock()
        removed = change(stream, factors.remove_passkey(account, passkey_id), now, account.id)
        rows: list[Row] = [
            PasskeyGoneRow(passkey_id),
            await told(ports, "factor_removed", account.id, now, "a passkey"),
            *void_codes(removed.state),
        ]
        return await commit(ports, context, now, [removed], rows)

    return await retrying(attempt)


async def _proven(ports: Ports, account_id: str, credential: Json) -> NewPasskey:
    """What the browser proved, its challenge used up."""
    try:
        given = ports.passkeys.challenge_of(credential)
        challenge = passkey_challenges.opened(ports, given, "register", account_id)
        if challenge is None:
            raise PasskeyNotAccepted("challenge is not ours, or over")
        proven = ports.passkeys.registered(credential, given)
    except PasskeyRefused as refused:
        log.info("passkey_not_accepted", reason=str(refused)[:200])
        raise PasskeyNotAccepted(str(refused)) from refused
    now = ports.clock()
    if not await ports.factors.use_challenge(challenge.digest, challenge.expires_at, now):
        raise PasskeyNotAccepted("challenge was used")
    return proven
