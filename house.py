"""What one process has open: every port put together, once. `main` opens it.

A module of its own, because `main` must not carry all this in its memory (see there).
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Coroutine
from datetime import UTC, datetime
from typing import Any, NamedTuple

import structlog

from application.credits import settle
from application.deciding import FOLLOWED, new_id
from application.ending import ended
from application.key_rotation import rehash
from application.ports import Policy, Ports
from application.verification import Verifier
from infra.digests import PepperedDigests
from infra.erasure_ledger import FOLDER, FolderLedger
from infra.event_mapper import EventMapper
from infra.event_store import PostgresEventStore
from infra.failpoints import failpoint
from infra.mail.place import mail_from
from infra.passkeys import WebAuthnPasskeys
from infra.passkeys import ready as load_passkeys
from infra.password_strength import product_words
from infra.passwords import ArgonPasswords
from infra.payments import providers
from infra.postgres.account_pages import PostgresAccountPages
from infra.postgres.challenges import PostgresBreached, PostgresChallenges
from infra.postgres.closings import PostgresClosings
from infra.postgres.factors import PostgresFactors
from infra.postgres.log_pages import PostgresLogPages
from infra.postgres.lookups import PostgresLookups
from infra.postgres.migrate import log_id_of
from infra.postgres.missing_keys import PostgresMissingKeys
from infra.postgres.read_models import PostgresReadModels
from infra.postgres.sessions import PostgresSessions
from infra.postgres.states import load_states
from infra.postgres.throttles import PostgresThrottles
from infra.postgres.usage_log import PostgresUsageLog
from infra.refresh_tokens import PepperedRefreshTokens
from infra.settings import Settings
from infra.signing_keys import Keyring, StoredSigningKeys, first_keys
from infra.throttle_settings import throttle_policy
from infra.tokens import SignedTokens
from infra.vault import MasterKeyVault
from projections.key_directory import KeyDirectory


class House(NamedTuple):
    """Everything of one process that is open."""

    ports: Ports
    verifier: Verifier
    directory: KeyDirectory
    lookups: PostgresLookups


class _Parts(NamedTuple):
    """What several ports are made of, and what is opened or closed."""

    vault: MasterKeyVault
    lookups: PostgresLookups
    store: PostgresEventStore
    directory: KeyDirectory
    ring: Keyring
    signing_keys: StoredSigningKeys
    passwords: ArgonPasswords


@contextlib.asynccontextmanager
async def opened(settings: Settings, url: str, *, verifying: bool) -> AsyncIterator[House]:
    """Open the house on a migrated database; `verifying` also counts.

    Leaving flushes what was counted, and closes everything.
    """
    if verifying:
        load_passkeys()
    parts = _parts(settings, url)
    ports = _ports(settings, parts)
    usage = PostgresUsageLog(url, failpoint(settings.failpoint, "usage.committed"))
    verifier = _verifier(settings, ports, parts.directory, usage)
    await parts.lookups.open()
    position = await load_states(url, parts.directory)
    parts.directory.start_at(position)
    followers = [_lasting(parts.directory.run(parts.store.follow(position)))]
    counting = None
    if verifying:
        followers.append(_lasting(parts.signing_keys.run(ports.clock)))
        counting = _lasting(verifier.run())
    try:
        yield House(ports, verifier, parts.directory, parts.lookups)
    finally:
        if counting is not None:
            await verifier.close()
            await counting
        await ended(*followers)
        parts.passwords.close()
        await usage.close()
        await parts.lookups.close()
        await parts.store.close()


def _lasting(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    task = asyncio.create_task(work)
    task.add_done_callback(_end_with)
    return task


def _end_with(task: asyncio.Task[None]) -> None:
    """A process that no longer follows or counts is of no use: end it, to be started again."""
    if not task.cancelled() and (error := task.exception()) is not None:
        structlog.get_logger().critical("a part of the process ended", exc_info=error)
        os._exit(70)


def _parts(settings: Settings, url: str) -> _Parts:
    vault = MasterKeyVault(settings.master_key, settings.master_key_previous or None)
    lookups = PostgresLookups(url)
    ring = Keyring(first_keys(url, vault), settings.access_token_ttl_seconds)
    return _Parts(
        vault=vault,
        lookups=lookups,
        store=PostgresEventStore(url, log_id_of(url), vault, EventMapper(), "decisions"),
        directory=_directory(settings, vault, lookups),
        ring=ring,
        signing_keys=StoredSigningKeys(lookups, vault, ring, settings.signing_key_days),
        passwords=ArgonPasswords(
            settings.argon2_memory_kib,
            settings.argon2_time,
            settings.argon2_parallelism,
            permits=os.cpu_count() or 1,
        ),
    )


def _directory(settings: Settings, vault: MasterKeyVault, lookups: PostgresLookups) -> KeyDirectory:
    most = settings.directory_max_keys
    directory = KeyDirectory(
        {event: noun.evolve for event, noun in FOLLOWED.items()},
        PostgresMissingKeys(lookups) if most else None,
        most,
    )
    directory.erased = vault.forget
    directory.gate.keep_for(settings.access_token_ttl_seconds)
    return directory


def _ports(settings: Settings, parts: _Parts) -> Ports:
    """Every port, on these parts."""
    lookups, vault = parts.lookups, parts.vault
    pepper, previous = settings.key_pepper, settings.key_pepper_previous or None
    import_key = (settings.import_hmac_key or "").encode() or None
    issuer = settings.public_url or "http://localhost"
    service_name = mail_from(settings.mail_from, settings.public_url).display_name
    return Ports(
        store=parts.store,
        lookups=lookups,
        read_models=PostgresReadModels(lookups),
        log_pages=PostgresLogPages(lookups, vault),
        account_pages=PostgresAccountPages(lookups),
        directory=parts.directory,
        digests=PepperedDigests(pepper, previous, import_key),
        passwords=parts.passwords,
        vault=vault,
        tokens=SignedTokens(parts.ring, issuer, issuer),
        sessions=PostgresSessions(lookups),
        refresh_tokens=PepperedRefreshTokens(pepper, previous),
        gate=parts.directory.gate,
        signing_keys=parts.signing_keys,
        throttles=PostgresThrottles(lookups),
        factors=PostgresFactors(lookups),
        passkeys=WebAuthnPasskeys(settings.public_url, service_name, settings.cors_origins),
        closings=PostgresClosings(lookups),
        ledger=FolderLedger(settings.erasure_ledger or settings.data_dir / FOLDER),
        policy=_policy(settings, service_name),
        clock=_now,
        entropy=os.urandom,
        payments=providers(settings),
        challenges=PostgresChallenges(lookups),
        breached=PostgresBreached(lookups),
    )


def _now() -> datetime:
    return datetime.now(UTC)


def _verifier(
    settings: Settings, ports: Ports, directory: KeyDirectory, usage: PostgresUsageLog
) -> Verifier:
    return Verifier(
        directory,
        usage,
        ports.digests,
        stream=new_id(ports, "usage"),
        log_id=ports.store.log_id,
        max_staleness_seconds=settings.directory_max_staleness_ms / 1000,
        clock=ports.clock,
        settle=lambda account_ids: settle(ports, account_ids),
        rehash=lambda key_id, secret: rehash(ports, key_id, secret),
    )


def _policy(settings: Settings, service_name: str) -> Policy:
    """What use cases obey of the settings."""
    return Policy(
        close_grace_days=settings.close_grace_days,
        key_prefix=settings.key_prefix,
        access_token_ttl_seconds=settings.access_token_ttl_seconds,
        refresh_token_ttl_seconds=settings.refresh_token_ttl_seconds,
        sessions_per_account=settings.sessions_per_account,
        require_verified_email=settings.require_verified_email,
        packages=settings.credit_packages,
        keys_per_hour=settings.keys_per_hour,
        throttles=throttle_policy(settings),
        totp_guesses_per_hour=settings.totp_guesses_per_hour,
        service_name=service_name,
        page_origins=settings.cors_origins,
        password_min_length=settings.password_min_length,
        password_min_score=settings.password_min_score,
        product_words=product_words(settings.public_url),
    )
