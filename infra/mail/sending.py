"""The sender that runs in `work`: the outbox of this database, and the place of the settings."""

from datetime import UTC, datetime, timedelta

import structlog

from application.mailing import Mailing, Post, keep_sending
from infra.mail.folder import FolderPost
from infra.mail.place import MailFolder, mail_from, mail_place
from infra.mail.rendering import Rendering
from infra.postgres.lookups import PostgresLookups
from infra.postgres.outbox import PostgresOutbox
from infra.settings import Settings
from infra.vault import MasterKeyVault

log = structlog.get_logger()


async def send_mail(settings: Settings, url: str) -> None:
    """Send what waits, until cancelled."""
    lookups = PostgresLookups(url)
    await lookups.open()
    try:
        await keep_sending(mailing(settings, lookups))
    finally:
        await lookups.close()


def mailing(settings: Settings, lookups: PostgresLookups) -> Mailing:
    """What sending takes, by the settings."""
    vault = MasterKeyVault(settings.master_key, settings.master_key_previous or None)
    return Mailing(
        outbox=PostgresOutbox(lookups),
        post=post_of(settings),
        render=Rendering(mail_from(settings.mail_from, settings.public_url)),
        vault=vault,
        clock=lambda: datetime.now(UTC),
        give_up_after=timedelta(days=settings.mail_give_up_days),
    )


def post_of(settings: Settings) -> Post:
    """The folder or the server that MAIL_URL names."""
    place = mail_place(settings.mail_url, settings.data_dir)
    if isinstance(place, MailFolder):
        if not settings.lenient:
            log.warning("mail goes into a folder, to nobody: set TOLLHOUSE_MAIL_URL")
        return FolderPost(place.folder)
    from infra.mail.smtp import SmtpPost  # what a folder doesn't need isn't loaded

    return SmtpPost(place, FolderPost(settings.data_dir / "mail"))
