"""The `work` process: every follower there is, each kept running while this process holds it,
and the sender of mail."""

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Sequence

import structlog

from infra.embedded import StartError
from infra.event_mapper import EventMapper
from infra.failpoints import failpoint
from infra.followers import Hold, Job, Log, keep, taken
from infra.followers.read_models import ReadModelJob
from infra.lake import Lake, LakeJob, lake_place
from infra.mail.sending import send_mail
from infra.nats.publisher import PublisherJob
from infra.postgres.migrate import log_id_of
from infra.settings import Settings
from infra.vault import MasterKeyVault
from projections import READ_MODELS

log = structlog.get_logger()

MAIL = "mail"
DAY_SECONDS = 86_400.0
GRACE_SECONDS = 5.0


async def work(settings: Settings, url: str, nats_url: str, only: Sequence[str] = ()) -> None:
    """Follow the logs until SIGTERM or SIGINT; `only` these followers, if any are named.

    Raises StartError for a name that is none, MigrationError for a database of another version.
    """
    jobs = {job.name: job for job in jobs_of(settings, url, nats_url, log_id_of(url))}
    if unknown := set(only) - {*jobs, MAIL}:
        raise StartError(f"{unknown.pop()} is no follower; there are {', '.join(jobs)}, {MAIL}.")
    vault = MasterKeyVault(settings.master_key, settings.master_key_previous or None)
    mapper = EventMapper(vault=vault)

    def take(name: str, log: Log) -> contextlib.AbstractAsyncContextManager[Hold]:
        return taken(url, name, log, mapper)

    names = list(only) or [*jobs, MAIL]
    log.info("work follows", followers=", ".join(names), unless="another process holds them")
    running = asyncio.gather(
        *(keep(jobs[name], take) for name in names if name != MAIL),
        *([send_mail(settings, url)] if MAIL in names else []),
    )
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        asked.set()
        running.cancel()
        # All that follows survives a kill: whatever hangs now is not waited for.
        last = threading.Timer(GRACE_SECONDS, os._exit, (0,))
        last.daemon = True
        last.start()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        await running
    except asyncio.CancelledError:
        if not asked.is_set():
            raise


def jobs_of(settings: Settings, url: str, nats_url: str, log_id: str) -> list[Job]:
    """Everything that follows a log, by the settings."""
    return [
        *(
            ReadModelJob(model, failpoint(settings.failpoint, "followers.written"))
            for model in READ_MODELS
        ),
        PublisherJob("publish_events", "decisions", log_id, nats_url, None),
        PublisherJob(
            "publish_usage",
            "usage",
            f"{log_id}u",
            nats_url,
            settings.retention_usage_stream_days * DAY_SECONDS,
        ),
        *_lake_jobs(settings, url, log_id),
    ]


def _lake_jobs(settings: Settings, url: str, log_id: str) -> list[Job]:
    place = lake_place(
        settings.lake_url, settings.data_dir, settings.s3_endpoint_url, settings.s3_region
    )
    lake = Lake(place, settings.data_dir, url, log_id)
    written, planned, placed, merged = (
        failpoint(settings.failpoint, f"lake.{name}")
        for name in ("written", "planned", "placed", "merged")
    )
    return [
        LakeJob(name, lake, written=written, planned=planned, placed=placed, merged=merged)
        for name in ("lake_usage", "lake_events")
    ]
