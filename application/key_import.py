"""Import: keys that were made elsewhere keep working. Their hashes come in, their secrets don't.

All of an import or nothing: one transaction. What is wrong is said of every item at once.
"""

import asyncio
import base64
import binascii
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import msgspec

from application.allowances import new_allowance
from application.api_keys import may_manage, not_of_others_on_staff, owner_of_new_keys
from application.deciding import API_KEY, Change, Context, change, commit, fresh, new_id
from application.ports import Ports
from application.rows import CounterRow, EntitlementRow, KeyDigestRow, Row
from domain import key_lineage, quotas
from domain.accounts import Account
from domain.allowances import Allowance
from domain.api_keys import Algorithm, ApiKey, IssueApiKey
from domain.errors import (
    AccountNotActive,
    DomainError,
    EntitlementExceeded,
    ImportFault,
    ImportRefused,
    InvalidCommand,
    NotFound,
    NotPermitted,
    Taken,
    UnknownPlan,
)
from domain.ids import is_id
from domain.key_lineage import HASH_BYTES, Secret
from domain.plans import Plan
from domain.quotas import Quota

MAX_ITEMS = 1_000
IMPORTING = "keys.issue"
AT_ONCE = 50
UNSHOWN = "…"
"""The hint of a key of which nothing may be shown."""


class ImportedKey(msgspec.Struct, frozen=True, kw_only=True):
    """One key to bring in: the hash of its secret in hex or base64, and all that a new key has."""

    command: IssueApiKey
    hash: str
    algorithm: Algorithm
    hint: str = UNSHOWN
    quota: Quota | None = None


class _Owner(msgspec.Struct, frozen=True):
    account: Account
    plan: Plan


async def bring_in(
    ports: Ports, context: Context, items: Sequence[ImportedKey]
) -> tuple[list[ApiKey], int]:
    """Bring in all of these keys; answers them in order, and the position.

    Raises NotPermitted, InvalidCommand for none or too many, and ImportRefused with whatever is
    wrong with any of them; then nothing was imported.
    """
    if not may_manage(context.principal, None, IMPORTING):
        raise NotPermitted(IMPORTING)
    if not 1 <= len(items) <= MAX_ITEMS:
        raise InvalidCommand("items", f"1 to {MAX_ITEMS}")
    for account_id in {item.command.account_id for item in items}:
        not_of_others_on_staff(ports, context.principal, account_id)
    faults = _Faults(len(items))
    owners = await _owners(ports, context, items, faults)
    digests = _digests(ports, items, faults)
    await _check_untaken(ports, digests, faults)

    now = ports.clock()
    made = await _made(ports, context, items, digests, faults, now)
    faults.raise_any()
    # The guards go first; the rest in runs, which are written at once.
    rows: list[Row] = [*_guards(items, owners), *made.taken, *made.counters]
    try:
        position = await commit(ports, context, now, made.changes, rows, result=made.keys)
    except EntitlementExceeded:
        await _explain_excess(ports, items, owners, faults)
        raise
    except Taken:
        await _check_untaken(ports, digests, faults)
        faults.raise_any()
        raise
    return made.keys, position


class _Faults:
    """What is wrong so far; the first fault of an item's field is the one that is told."""

    def __init__(self, items: int) -> None:
        self._items = items
        self._found: dict[tuple[int, str], ImportFault] = {}

    def add(self, index: int, param: str, reason: str) -> None:
        self._found.setdefault((index, param), ImportFault(index, param, reason))

    def raise_any(self) -> None:
        if self._found:
            raise ImportRefused([self._found[each] for each in sorted(self._found)], self._items)


class _Made(msgspec.Struct):
    """The keys that are coming in, and what is written with them."""

    keys: list[ApiKey] = []
    changes: list[Change[ApiKey] | Change[Allowance]] = []
    taken: list[KeyDigestRow] = []
    counters: list[CounterRow] = []


async def _made(
    ports: Ports,
    context: Context,
    items: Sequence[ImportedKey],
    digests: dict[int, bytes],
    faults: _Faults,
    now: datetime,
) -> _Made:
    """A key of every item that breaks no rule; the others are faults."""
    made = _Made()
    for index, item in enumerate(items):
        if index % AT_ONCE == 0:
            await asyncio.sleep(0)  # verifications go first
        if item.command.kind == "service" and not context.principal.may("keys.service"):
            faults.add(index, "kind", "service keys are imported by staff only")
        key_id = new_id(ports, "key")
        secret = Secret(digests.get(index, b""), ports.digests.pepper_id, item.hint)
        try:
            events = key_lineage.bring_in(item.command, key_id, secret, item.algorithm, now)
            quota = None if item.quota is None else quotas.check(item.quota)
        except InvalidCommand as error:
            faults.add(index, error.param, error.reason)
            continue
        account_id = item.command.account_id
        key = change(fresh(API_KEY, key_id), events, now, account_id)
        made.keys.append(key.state)
        made.changes.append(key)
        made.taken.append(KeyDigestRow(secret.digest, key_id))
        if quota is not None:
            allowance, counter = new_allowance(ports, key_id, account_id, "own", quota)
            made.changes.append(allowance)
            made.counters.append(counter)
    return made


async def _owners(
    ports: Ports, context: Context, items: Sequence[ImportedKey], faults: _Faults
) -> dict[str, _Owner]:
    """The accounts and their plans, by account id; each is looked up once."""
    owners: dict[str, _Owner] = {}
    wrong: dict[str, str] = {}
    for index, item in enumerate(items):
        account_id = item.command.account_id
        if account_id not in owners and account_id not in wrong:
            try:
                if not is_id("acct", account_id):
                    raise NotFound("account", account_id)
                owners[account_id] = _Owner(*await owner_of_new_keys(ports, account_id))
            except (NotFound, AccountNotActive, UnknownPlan) as error:
                wrong[account_id] = _why(error)
        if account_id in wrong:
            faults.add(index, "account_id", wrong[account_id])
    return owners


def _why(error: DomainError) -> str:
    match error:
        case AccountNotActive():
            return f"the account is {error.status}"
        case UnknownPlan():
            return f"its plan {error.name} is not known"
        case _:
            return "no such account"


def _digests(ports: Ports, items: Sequence[ImportedKey], faults: _Faults) -> dict[int, bytes]:
    """What is kept of every hash that can be read, by its item."""
    importable = ports.digests.importable()
    digests: dict[int, bytes] = {}
    first: dict[bytes, int] = {}
    for index, item in enumerate(items):
        if item.algorithm not in importable:
            # The only one that depends on this server: its shared secret has to be set.
            reason = "this server has no TOLLHOUSE_IMPORT_HMAC_KEY, so it could verify none"
            faults.add(index, "algorithm", reason)
            continue
        hash = _hash_bytes(item.hash, HASH_BYTES[item.algorithm])
        if hash is None:
            size = HASH_BYTES[item.algorithm]
            faults.add(index, "hash", f"{size} bytes in hex or base64 for {item.algorithm}")
            continue
        digest = ports.digests.imported(item.algorithm, hash)
        if digest in first:
            faults.add(index, "hash", f"is that of items[{first[digest]}], too")
        first.setdefault(digest, index)
        digests[index] = digest
    return digests


def _hash_bytes(text: str, size: int) -> bytes | None:
    """The hash; hex and base64 of the same size differ in length, so none is both."""
    try:
        if len(text) == 2 * size:
            return bytes.fromhex(text) if text.isalnum() else None
        standard = text.rstrip("=").translate(_URL_SAFE)
        padded = standard + "=" * (-len(standard) % 4)
        found = base64.b64decode(padded, validate=True)
    except (binascii.Error, ValueError):
        return None
    return found if len(found) == size else None


_URL_SAFE = str.maketrans("-_", "+/")


async def _check_untaken(ports: Ports, digests: dict[int, bytes], faults: _Faults) -> None:
    """For the report: that nobody takes one in the meantime is the transaction's to see to."""
    holders = await ports.lookups.key_holders(list(digests.values()))
    for index, digest in digests.items():
        if digest in holders:
            faults.add(index, "hash", "a key with this secret is here already")


def _guards(items: Sequence[ImportedKey], owners: dict[str, _Owner]) -> list[Row]:
    """How many keys each account may have. In order of their ids: two imports at once that
    name the same accounts wait for each other, and never crosswise."""
    wanted = Counter(item.command.account_id for item in items)
    guards: list[Row] = []
    for account_id in sorted(owners):
        plan = owners[account_id].plan
        if (allowed := plan.entitlements.keys) is not None:
            guards.append(
                EntitlementRow(
                    account_id, API_KEY.name, "keys", allowed, plan.name, wanted[account_id]
                )
            )
    return guards


async def _explain_excess(
    ports: Ports, items: Sequence[ImportedKey], owners: dict[str, _Owner], faults: _Faults
) -> None:
    """Say of which items: those with which an account would pass its plan's limit."""
    for account_id, owner in owners.items():
        allowed = owner.plan.entitlements.keys
        if allowed is None:
            continue
        left = allowed - await _living(ports, account_id, allowed)
        mine = [n for n, item in enumerate(items) if item.command.account_id == account_id]
        for index in mine[max(left, 0) :]:
            faults.add(index, "account_id", f"the plan {owner.plan.name} permits {allowed} keys")
    faults.raise_any()


async def _living(ports: Ports, account_id: str, enough: int) -> int:
    found, after = 0, None
    while found < enough:
        page = await ports.lookups.keys_of(account_id, after, 200)
        if not page:
            break
        found += sum(key.revoked_at is None for key in page)
        after = page[-1].id
    return found
