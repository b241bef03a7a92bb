"""Tollhouse: the only place that wires things together.

Imports are inside the functions: `up` supervises for months and password workers import this
file, and neither may carry the whole house in its memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

    from litestar.types import ASGIApp

    from application.ports import Analytics, Found
    from application.rewrapping import Rewrapped
    from house import House
    from infra.analytics.local import LocalLake
    from infra.followers import Log
    from infra.nats.connection import NatsLink
    from infra.rate_limits import LimitsPerAddress
    from infra.settings import Settings
    from projections.read_model import Rebuilt

VERSION = "0.1.0"
PROGRAM = Path(__file__).resolve()


def load_settings() -> Settings:
    """The settings of this process, with its secrets. Raises SettingsError."""
    from infra.settings import development_secrets, load

    settings = load(os.environ, PROGRAM.with_name(".env"))
    return development_secrets(settings) if settings.lenient else settings


def database_url(settings: Settings) -> str:
    """Where the database is: as set, or that of the `up` that runs on this data folder."""
    from infra.running import running

    return settings.database_url or running(settings.data_dir)["database_url"]


def nats_url_of(settings: Settings) -> str:
    """Where NATS is: as set, or that of the `up` that runs on this data folder."""
    from infra.embedded import StartError
    from infra.running import running

    if settings.nats_url is None and settings.database_url is not None:
        raise StartError("TOLLHOUSE_NATS_URL is not set: name the NATS server, as in nats://host.")
    return settings.nats_url or running(settings.data_dir)["nats_url"]


def migrate(settings: Settings, url: str, say: Callable[[str], None]) -> None:
    """Bring the database to this version, and make what the settings ask for."""
    from infra.postgres.migrate import migrate as run_migrations

    for name in run_migrations(settings.admin_database_url or url).ran:
        say(f"database: {name}")

    async def start() -> None:
        from house import opened

        async with opened(settings, url, verifying=False) as house:
            await prepare(settings, house, say, first=False)

    asyncio.run(start())


async def prepare(
    settings: Settings, house: House, say: Callable[[str], None], *, first: bool
) -> None:
    """Make the plans, the first admin and the service key where they were never made.

    `first`: without an admin in the settings, one is made up and shown, once.
    """
    import secrets

    from application.erasing import erase_again
    from application.starting import has_admin
    from application.starting import prepare as make

    # An older copy of the database may have been restored: nobody comes back to life.
    if again := await erase_again(house.ports):
        say(f"erased again, as they were before this copy was restored: {len(again)} accounts")
    email, password, made_up = settings.admin_email, settings.admin_password, False
    if first and not (email and password) and not await has_admin(house.ports):
        email, password = email or "admin@tollhouse.localhost", secrets.token_urlsafe(18)
        made_up = True
    command_id = f"start-{os.urandom(8).hex()}"
    made = await make(house.ports, command_id, email, password, settings.service_key)
    if made.plans:
        say(f"plans: {', '.join(made.plans)}")
    if made.admin_email:
        say(f"first admin: {made.admin_email}")
        if made_up:
            say(f"its password, shown only now: {password}")
    if made.service_key:
        say("the service key of the settings is in force")


def serve(
    settings: Settings, descriptor: int | None, first: bool, say: Callable[[str], None]
) -> None:
    """HTTP, until SIGTERM or SIGINT: one process on a supervisor's socket, or as many as the
    settings say on a socket of its own. `first` also migrates, as `up` wants it."""
    import socket

    import uvloop

    from infra.logs import configure
    from infra.postgres.migrate import migrate as run_migrations
    from infra.processes import serve_many
    from infra.supervisor import bind

    if descriptor is None and settings.serve_processes > 1:
        serve_many(settings, PROGRAM, say)
        return
    configure(settings.log_level, settings.log_format)
    if first:
        url = settings.admin_database_url or database_url(settings)
        for name in run_migrations(url).ran:
            say(f"database: {name}")
    listener = (
        bind(settings.http_host, settings.http_port)
        if descriptor is None
        else socket.socket(fileno=descriptor)
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, listener, say, first))


async def _serve(
    settings: Settings, listener: socket.socket, say: Callable[[str], None], first: bool
) -> None:
    from api.http.express import ExpressHttp
    from api.nats.services import DESCRIPTION, QUEUE, SERVICE, CommandServices
    from application.ending import ended
    from application.housekeeping import housekeeping
    from application.renewals import renewing
    from house import opened
    from infra.http_server import http_server
    from infra.nats.connection import NatsLink
    from infra.nats.services import Described, served
    from infra.rate_limits import limits_per_address

    url = database_url(settings)
    link = NatsLink(nats_url_of(settings))
    connecting = asyncio.create_task(link.run())
    async with opened(settings, url, verifying=True) as house:
        if first:
            await prepare(settings, house, say, first=True)
        limits = limits_per_address(settings.rate_limit_per_minute, settings.rate_limit_storage)
        app = _http(settings, house, link, limits)
        _settle_in()
        described = Described(SERVICE, VERSION, DESCRIPTION, QUEUE)
        services = CommandServices(
            house.ports, house.verifier, log_lane=settings.log_level == "debug"
        )
        async with (
            served(link, described, services),
            renewing(house.ports),
            housekeeping(house.ports),
        ):
            await http_server(app, ExpressHttp, settings.trusted_proxies).serve(sockets=[listener])
        if limits is not None:
            await limits.close()
    await ended(connecting)


def _http(
    settings: Settings, house: House, link: NatsLink, limits: LimitsPerAddress | None
) -> ASGIApp:
    """The HTTP side, as the settings want it."""
    from api.http.app import create_app
    from api.http.probe import ProcessProbe
    from infra.analytics.access import lake_access
    from infra.analytics.queries import SandboxedQueries
    from infra.postgres.outbox import mail_standing

    lake = lake_access(settings)
    probe = ProcessProbe(
        house.directory,
        house.lookups,
        link,
        settings.directory_max_staleness_ms / 1000,
        limits,
        lambda: mail_standing(house.lookups),
    )
    return create_app(
        house.ports,
        house.verifier,
        probe,
        version=VERSION,
        environment=settings.environment,
        production=not settings.lenient,
        analytics=SandboxedQueries(lake.snapshot, lake.root, s3=lake.s3),
        log_lane=settings.log_level == "debug",
        limits=limits,
        ip_allow=settings.ip_allow,
        cors_origins=settings.cors_origins,
    )


def _settle_in() -> None:
    """What the process does once, between loading and serving."""
    import gc
    import signal

    # What was loaded stays: the collector need not walk a million keys again and again.
    gc.collect()
    gc.freeze()
    # Nor look through those that are in use since then after every 700 new objects: of what
    # requests leave behind, nothing waits for the collector.
    gc.set_threshold(10_000, 20, 50)
    for number in (signal.SIGINT, signal.SIGTERM):
        # uvicorn takes these while it serves, and raises them once more when it has ended:
        # by then there is still a last flush to wait for.
        signal.signal(number, lambda *_: None)


def work(settings: Settings, only: Sequence[str] = ()) -> None:
    """Follow the logs until SIGTERM or SIGINT: read models, publication, the lake; or `only`
    those followers."""
    import uvloop

    from infra.logs import configure
    from infra.working import work as follow_all

    configure(settings.log_level, settings.log_format)
    url, nats_url = database_url(settings), nats_url_of(settings)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(follow_all(settings, url, nats_url, only))


class Wiring:
    """What the command line may do. Implements api.cli.wiring.Wiring."""

    def up(self, say: Callable[[str], None]) -> None:
        from infra.processes import up

        up(load_settings(), PROGRAM, say)

    def serve(self, descriptor: int | None, first: bool, say: Callable[[str], None]) -> None:
        serve(load_settings(), descriptor, first, say)

    def work(self, only: Sequence[str]) -> None:
        work(load_settings(), only)

    def event_at(self, log: Log, position: int) -> Found | None:
        from infra.postgres.log_reader import event_at

        return event_at(database_url(load_settings()), log, position)

    def rebuild(self, name: str, check: bool, progress: Callable[[int, int], None]) -> Rebuilt:
        from infra.event_mapper import EventMapper
        from infra.followers.rebuild import rebuild
        from infra.vault import MasterKeyVault
        from projections import READ_MODELS

        settings = load_settings()
        url = settings.admin_database_url or database_url(settings)
        model = next(each for each in READ_MODELS if each.name == name)
        vault = MasterKeyVault(settings.master_key, settings.master_key_previous or None)
        mapper = EventMapper(vault=vault)
        return asyncio.run(rebuild(url, model, check=check, progress=progress, mapper=mapper))

    def rewrap(self, progress: Callable[[str, int], None]) -> list[Rewrapped]:
        from infra.rewrapping import rewrap
        from infra.vault import MasterKeyVault

        settings = load_settings()
        vault = MasterKeyVault(settings.master_key, settings.master_key_previous or None)
        return rewrap(database_url(settings), vault, progress)

    def migrate(self, say: Callable[[str], None]) -> None:
        settings = load_settings()
        migrate(settings, database_url(settings), say)

    def opened(self) -> contextlib.AbstractAsyncContextManager[House]:
        from house import opened

        settings = load_settings()
        return opened(settings, database_url(settings), verifying=False)

    def http_url(self) -> str:
        from infra.running import running

        settings = load_settings()
        return settings.public_url or running(settings.data_dir)["http_url"]

    def signed_test_notice(self, body: bytes) -> dict[str, str]:
        from infra.payments import signed_test_notice

        return signed_test_notice(load_settings(), body)

    def lake(self) -> LocalLake:
        from infra.analytics.access import lake_access
        from infra.analytics.local import LocalLake

        return LocalLake(*lake_access(load_settings()))

    def analytics(self) -> Analytics:
        from infra.analytics.access import lake_access
        from infra.analytics.queries import SandboxedQueries

        lake = lake_access(load_settings())
        return SandboxedQueries(lake.snapshot, lake.root, s3=lake.s3)

    def version(self) -> str:
        return VERSION

    def refusals(self) -> tuple[type[Exception], ...]:
        """What is said in one sentence instead of with a traceback."""
        from psycopg.errors import InsufficientPrivilege

        from application.errors import StoreUnavailable
        from infra.embedded import StartError
        from infra.followers.rebuild import RebuildRefused
        from infra.postgres.migrate import MigrationError
        from infra.settings import SettingsError
        from infra.vault import Unsealable

        return (
            StartError,
            SettingsError,
            MigrationError,
            InsufficientPrivilege,
            RebuildRefused,
            StoreUnavailable,
            Unsealable,
        )


def main() -> None:
    """The command line."""
    from api.cli.app import run

    sys.exit(run(Wiring()))


if __name__ == "__main__":
    main()
