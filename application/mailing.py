"""Sending what waits in the outbox: nothing lost, and nothing sent twice that can be known.

Any number of processes may send. Each takes mails under a lease, so that no two hold one, and
writes down what became of each before it goes on. What the mail server took, is sent. There is
one gap that SMTP leaves (RFC 5321 4.5.5, RFC 1047): if the process or the line dies after the
server has taken a mail and before we have written so, it is sent again, as the same message with
the same Message-ID, by which receivers know it.

A mail that is refused for good (5xx) ends at once, one that can't be handed over for so many days
is given up; both are errors in the log. A server that is away is nobody's fault: no mail waits
any longer for that than the server itself.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Literal, Protocol

import msgspec
import structlog

from application.errors import StoreUnavailable
from application.mail import Letter, MailTemplate, bound_to
from application.ports import Vault

log = structlog.get_logger()

BATCH = 20
LEASE_SECONDS = 180.0
MESSAGE_SECONDS = 60.0
"""What one message may take, all in all: a lease is never used up by it."""
IDLE_SECONDS = 0.5
SWEEP_SECONDS = 1.0
LONGEST_AWAY_SECONDS = 15.0
FIRST_PUT_OFF_SECONDS = 10.0
LONGEST_PUT_OFF_SECONDS = 900.0
KEPT_DAYS = 90
"""So long it is known that there was a mail, and the file of a mail folder stays."""
GRACE_SECONDS = 4.0

Outcome = Literal["sent", "refused", "given_up", "forgotten"]


class Message(msgspec.Struct, frozen=True):
    """A message as it goes out. `utf8`: its headers or addresses need SMTPUTF8 (RFC 6531)."""

    mail_id: str
    sender: str
    to: str
    data: bytes
    utf8: bool = False


class Due(msgspec.Struct, frozen=True):
    """A mail that is to be sent now, and is held by who asked."""

    mail_id: str
    template: MailTemplate
    sealed: bytes
    master_key_id: str
    created_at: datetime
    tries: int


class MailStanding(msgspec.Struct, frozen=True):
    """How the outbox is: what waits (counted up to 10,000) and since when the oldest; what was
    refused or given up within a day."""

    waiting: int = 0
    oldest_seconds: float = 0.0
    failed: int = 0


class MailServerAway(Exception):
    """Nothing can be handed over now. The text may be logged: it has no address in it."""


class MailDeferred(Exception):
    """This message can't be handed over now. The text may be stored and logged."""


class MailRefused(Exception):
    """This message is refused for good. The text may be stored and logged."""


class Outbox(Protocol):
    """The mails that wait. Every method raises StoreUnavailable."""

    async def lease(self, now: datetime, until: datetime, limit: int) -> list[Due]:
        """The oldest mails that are due and that nobody holds; held by the caller until then."""
        ...

    async def end(self, mail_id: str, outcome: Outcome, problem: str | None, now: datetime) -> None:
        """It is over with this mail: what it said is gone."""
        ...

    async def put_off(self, mail_id: str, until: datetime, problem: str) -> None:
        """Nobody tries before then."""
        ...

    async def release(self, mail_ids: Sequence[str]) -> None:
        """Give back mails that were held and not tried."""
        ...

    async def discardable(self, now: datetime, ended_before: datetime, limit: int) -> list[str]:
        """Forgotten mails that nobody holds, and those that ended before then."""
        ...

    async def discard(self, mail_ids: Sequence[str]) -> None:
        """Delete their rows."""
        ...


Deliver = Callable[[Message], Awaitable[None]]


class Post(Protocol):
    """Where mail goes."""

    def session(self) -> AbstractAsyncContextManager[Deliver]:
        """A connection to hand over messages. Raises MailServerAway, there and on delivery;
        delivery raises MailDeferred or MailRefused of the one message."""
        ...

    def discard(self, mail_ids: Sequence[str]) -> None:
        """Delete what this place itself keeps of these mails, if it keeps any."""
        ...


class Render(Protocol):
    """Makes the message of a mail."""

    def __call__(
        self,
        mail_id: str,
        template: MailTemplate,
        to: str,
        values: Mapping[str, str],
        created_at: datetime,
    ) -> Message: ...


class Mailing(msgspec.Struct, frozen=True, kw_only=True):
    """What sending takes."""

    outbox: Outbox
    post: Post
    render: Render
    vault: Vault
    clock: Callable[[], datetime]
    give_up_after: timedelta


async def keep_sending(mailing: Mailing, idle_seconds: float = IDLE_SECONDS) -> None:
    """`send_due` for ever. While the server is away it is asked again at growing intervals, of
    15 s at most. Whoever cancels waits for the message that is being handed over."""
    away = 0
    swept_at = 0.0
    now = asyncio.get_running_loop().time
    while True:
        pause = idle_seconds
        try:
            if now() - swept_at >= SWEEP_SECONDS:
                swept_at = now()
                await sweep(mailing)
            if await send_due(mailing):
                pause = 0.0
            if away:
                log.info("mail goes again")
            away = 0
        except MailServerAway as error:
            if not away:
                log.warning("mail waits", problem=str(error))
            pause = min(idle_seconds * 2**away, LONGEST_AWAY_SECONDS)
            away = min(away + 1, 16)
        except StoreUnavailable as error:
            log.warning("mail waits", problem=str(error))
            pause = 1.0
        except Exception:
            log.exception("mail failed")
            pause = LONGEST_AWAY_SECONDS
        await asyncio.sleep(pause)


async def send_due(mailing: Mailing) -> int:
    """Send a batch of what is due; answers how many were tried, well or not.

    Raises MailServerAway; the mails that were not tried are free again by then.
    """
    now = mailing.clock()
    held = await mailing.outbox.lease(now, now + timedelta(seconds=LEASE_SECONDS), BATCH)
    if not held:
        return 0
    left = list(held)
    started = asyncio.get_running_loop().time()
    try:
        async with mailing.post.session() as deliver:
            while left:
                spent = asyncio.get_running_loop().time() - started
                if spent > LEASE_SECONDS - 2 * MESSAGE_SECONDS:
                    break
                await _finished(_send(mailing, left.pop(0), deliver))
    except MailServerAway:
        for due in [each for each in left if _too_old(mailing, each)]:
            left.remove(due)
            await _end(mailing, due, "given_up", "the mail server is away")
        raise
    finally:
        await mailing.outbox.release([each.mail_id for each in left])
    return len(held) - len(left)


async def sweep(mailing: Mailing) -> int:
    """Delete what is forgotten, and what is older than it is kept: files first, then rows, so
    that what was not finished is done again."""
    now = mailing.clock()
    ids = await mailing.outbox.discardable(now, now - timedelta(days=KEPT_DAYS), 500)
    if ids:
        mailing.post.discard(ids)
        await mailing.outbox.discard(ids)
    return len(ids)


async def _send(mailing: Mailing, due: Due, deliver: Deliver) -> None:
    """Hand one mail over, and write down what became of it."""
    try:
        async with asyncio.timeout(MESSAGE_SECONDS):
            await deliver(_message(mailing, due))
    except MailRefused as error:
        await _end(mailing, due, "refused", str(error))
    except (MailServerAway, TimeoutError) as error:
        # The server went while it had this one. If that is this one's doing, others go first.
        problem = str(error) or "it took too long"
        await _put_off(mailing, due, problem)
        raise MailServerAway(problem) from error
    except MailDeferred as error:
        await _put_off(mailing, due, str(error))
    except Exception as error:
        # A mail that can't be opened or made stands in nobody's way.
        log.error("mail can't be made", mail=due.mail_id, problem=type(error).__name__)
        await _put_off(mailing, due, type(error).__name__)
    else:
        await _end(mailing, due, "sent", None)


def _message(mailing: Mailing, due: Due) -> Message:
    plain = mailing.vault.open_secret(due.sealed, due.master_key_id, bound_to(due.mail_id))
    letter = msgspec.json.decode(plain, type=Letter)
    return mailing.render(due.mail_id, due.template, letter.to, letter.values, due.created_at)


async def _put_off(mailing: Mailing, due: Due, problem: str) -> None:
    if _too_old(mailing, due):
        await _end(mailing, due, "given_up", problem)
        return
    pause = min(FIRST_PUT_OFF_SECONDS * 2 ** min(due.tries, 10), LONGEST_PUT_OFF_SECONDS)
    until = mailing.clock() + timedelta(seconds=pause)
    log.warning("mail is tried again", mail=due.mail_id, problem=problem, tries=due.tries + 1)
    await _written(lambda: mailing.outbox.put_off(due.mail_id, until, problem))


async def _end(mailing: Mailing, due: Due, outcome: Outcome, problem: str | None) -> None:
    if outcome in ("refused", "given_up"):
        log.error(
            f"mail {outcome.replace('_', ' ')}",
            mail=due.mail_id,
            template=due.template,
            problem=problem,
        )
    await _written(lambda: mailing.outbox.end(due.mail_id, outcome, problem, mailing.clock()))


def _too_old(mailing: Mailing, due: Due) -> bool:
    return mailing.clock() - due.created_at > mailing.give_up_after


async def _written(write: Callable[[], Awaitable[None]]) -> None:
    """Write it down, however long the database is away: what isn't written is sent again."""
    while True:
        try:
            await write()
            return
        except StoreUnavailable as error:
            log.warning("what became of a mail can't be written", problem=str(error))
            await asyncio.sleep(IDLE_SECONDS)


async def _finished(sending: Awaitable[None]) -> None:
    """Wait for it; and if we are cancelled, for a moment more, so that it isn't half done."""
    task = asyncio.ensure_future(sending)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=GRACE_SECONDS)
        task.cancel()
        raise
