"""Erasing: the person is forgotten. The data key is destroyed, so what was sealed stays sealed.

Keys are revoked first, in as many transactions as they need; then one transaction says that the
account is erased and deletes every row about the person (`erase_account` in the migrations).
Only when the ledger beside the database has it, too, is there a receipt: whoever restores a dump
from before then erases the account again (`erase_again`), so nobody comes back to life.
"""

from datetime import datetime
from functools import partial

import msgspec
import structlog

from application import mail
from application.closing_ports import Erasure
from application.deciding import (
    ACCOUNT,
    API_KEY,
    SYSTEM,
    Change,
    Context,
    Stream,
    change,
    commit,
    load,
    new_id,
    retrying,
)
from application.known_account import known_account
from application.ports import Ports
from application.rows import ErasedRow, Row
from domain import accounts, api_keys, closing
from domain.accounts import Account
from domain.api_keys import ApiKey
from domain.errors import AccountNotActive
from domain.event import Event

log = structlog.get_logger()

KEYS_AT_ONCE = 200
PAGE = 100
AGAIN = "erased before, in another copy of this database"


class Erased(msgspec.Struct, frozen=True):
    """What was destroyed, how much of each, when, and where the log says so."""

    account_id: str
    counts: dict[str, int]
    erased_at: datetime
    position: int


async def erase_now(
    ports: Ports, context: Context, account_id: str, reason: str | None = None
) -> Erased | None:
    """Erase an account that is closed, and whose time to be erased has come; safe to do again,
    and by several at once. None where it is not to be erased (any more). Raises NotFound."""
    known = await known_account(ports, account_id)
    if not closing.erase(known.state, {}, ports.clock()):
        return None
    revoked = await _revoke_keys(ports, context, account_id, reason)

    async def attempt() -> Erased | None:
        stream = await known_account(ports, account_id)
        held = await ports.closings.held_of(account_id) | {"keys_revoked": revoked}
        events = closing.erase(stream.state, held, ports.clock())
        return await _forget(ports, context, stream, events, held, reason)

    erased = await retrying(attempt)
    if erased is not None:
        await to_ledger(ports, erased)
    return erased


async def erased_already(ports: Ports, account_id: str) -> Erased | None:
    """What another process destroyed, that did it first, once the ledger has it; None where the
    account is not erased."""
    for recorded in reversed(await ports.log_pages.of([account_id])):
        if isinstance(recorded.event, accounts.AccountErased):
            counts, at = recorded.event.counts, recorded.metadata.at
            erased = Erased(account_id, counts, at, recorded.position)
            await to_ledger(ports, erased)
            return erased
    return None


async def erase_due(ports: Ports) -> int:
    """Erase every account whose time is over; answers how many this process erased. One that
    can't be erased at present doesn't stop the others."""
    done = 0
    failed: set[str] = set()
    while True:
        due = await ports.closings.due(ports.clock(), PAGE + len(failed))
        left = [each for each in due if each not in failed]
        for account_id in left:
            context = Context(principal=SYSTEM, command_id=new_id(ports, "cmd"))
            try:
                done += await erase_now(ports, context, account_id) is not None
            except Exception as error:
                log.error("account can't be erased", account=account_id, problem=str(error))
            failed.add(account_id)  # or done: then it isn't due any more
        if not left:
            return done


async def erase_again(ports: Ports) -> list[str]:
    """Erase whoever the ledger says was erased and this log still knows: after an older copy of
    the database was restored, before anybody may use it. Answers their ids."""
    again = []
    for entry in await ports.ledger.read():
        held = ports.directory.account(entry.account_id)
        if held is not None and held.status == "erased":
            continue  # which all of them are but after a restore, and they become many
        if await _erase_again(ports, entry.account_id):
            again.append(entry.account_id)
    return again


async def _erase_again(ports: Ports, account_id: str) -> bool:
    context = Context(principal=SYSTEM, command_id=new_id(ports, "cmd"))
    state = (await load(ports, ACCOUNT, account_id)).state
    if state is None or state.status == "erased":
        return False
    revoked = await _revoke_keys(ports, context, account_id)

    async def attempt() -> Erased | None:
        stream = await known_account(ports, account_id)
        held = await ports.closings.held_of(account_id) | {"keys_revoked": revoked}
        events = closing.erase_again(stream.state, held)
        return await _forget(ports, context, stream, events, held, AGAIN)

    return await retrying(attempt) is not None


async def fill_ledger(ports: Ports, after: int) -> int:
    """Write to the ledger what it may lack after this position; answers how far it has all.
    A process that was killed between the two leaves this to whoever comes next."""
    while page := await ports.closings.erased_after(after, PAGE):
        await ports.ledger.write(page)
        after = page[-1].position
    return after


async def to_ledger(ports: Ports, erased: Erased) -> None:
    """Keep it beside the database."""
    entry = Erasure(
        account_id=erased.account_id, erased_at=erased.erased_at, position=erased.position
    )
    await ports.ledger.write([entry])


async def _forget(
    ports: Ports,
    context: Context,
    stream: Stream[Account],
    events: list[Event],
    held: dict[str, int],
    reason: str | None,
) -> Erased | None:
    """The one transaction. What the account's mail is found by has to be read before."""
    if not events:
        return None
    now = ports.clock()
    addresses = await _addresses(ports, stream.id)
    made = change(stream, events, now, stream.id)
    rows: list[Row] = [
        mail.forgotten(ports, stream.id, addresses),
        ErasedRow(stream.id, made.row.version, now),
    ]
    try:
        position = await commit(ports, context, now, [made], rows, reason=reason)
    except AccountNotActive:
        return None  # another process was first: there is no key left to seal the reason with
    ports.vault.forget(stream.id)
    return Erased(stream.id, held, now, position)


async def _addresses(ports: Ports, account_id: str) -> list[str]:
    """Every address that the person ever had here."""
    found: dict[str, None] = {}
    for recorded in await ports.store.read(account_id, personal=True):
        event = recorded.event
        if isinstance(event, accounts.AccountRegistered | accounts.EmailChanged) and event.email:
            found[event.email] = None
    return list(found)


async def _revoke_keys(
    ports: Ports, context: Context, account_id: str, reason: str | None = None
) -> int:
    """End every key of the account; how many were not ended yet."""
    revoked, after = 0, None
    while page := await ports.lookups.keys_of(account_id, after, KEYS_AT_ONCE):
        after = page[-1].id
        living = [key.id for key in page if key.revoked_at is None]
        revoked += await retrying(partial(_revoke, ports, context, living, reason))
    return revoked


async def _revoke(ports: Ports, context: Context, key_ids: list[str], reason: str | None) -> int:
    now = ports.clock()
    changes: list[Change[ApiKey]] = []
    for key_id in key_ids:
        stream = await load(ports, API_KEY, key_id)
        if stream.state is not None and (events := api_keys.revoke(stream.state)):
            changes.append(change(stream, events, now, stream.state.account_id))
    if changes:
        # Each batch is a command of its own: a lost reply is looked up by it.
        own = msgspec.structs.replace(context, command_id=new_id(ports, "cmd"), idempotency=None)
        try:
            await commit(ports, own, now, changes, reason=reason)
        except AccountNotActive:
            return 0  # another process was first: there is no key left to seal the reason with
    return len(changes)
