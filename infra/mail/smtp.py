"""Mail to an SMTP server: submission with STARTTLS or TLS from the start (RFC 6409, 3207, 8314).

What the server says of one recipient or message decides about that message: 4xx later, 5xx never.
What it says of us (greeting, STARTTLS, AUTH, MAIL FROM with a 5xx) is our configuration: all mail
waits until it is mended. Its words may quote the address, so only codes are kept.
"""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aiosmtplib
from aiosmtplib import (
    SMTPDataError,
    SMTPException,
    SMTPNotSupported,
    SMTPRecipientRefused,
    SMTPRecipientsRefused,
    SMTPResponseException,
)

from application.mailing import Deliver, MailDeferred, MailRefused, MailServerAway, Message
from infra.mail.folder import FolderPost
from infra.mail.place import MailServer

TIMEOUT_SECONDS = 10.0
DATA_TIMEOUT_SECONDS = 40.0
"""A server may take its time to say that it has a message; who hangs up early sends it twice."""

OF_OURS = frozenset({530, 534, 535, 538})
"""Sign in first, or otherwise (RFC 4954): no message is to blame, whenever it is said."""

_ENHANCED = re.compile(r"\b[245]\.\d{1,3}\.\d{1,3}\b")


class SmtpPost:
    """Implements application.mailing.Post. One connection a batch.

    `folder` is where mail went before there was a server: erasure reaches that, too.
    """

    def __init__(
        self, server: MailServer, folder: FolderPost, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        self._server = server
        self._folder = folder
        self._timeout = timeout_seconds

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Deliver]:
        """Connect, secure, sign in. Raises MailServerAway."""
        client = self._client()
        try:
            await self._connect(client)
        except (SMTPException, OSError, TimeoutError, ValueError) as error:
            client.close()
            raise MailServerAway(_said(error)) from error

        async def deliver(message: Message) -> None:
            await self._deliver(client, message)

        try:
            yield deliver
        finally:
            await _parted(client)

    def _client(self) -> aiosmtplib.SMTP:
        server = self._server
        return aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            timeout=self._timeout,
            use_tls=server.tls,
            start_tls=False,
            tls_context=self._trust() if server.tls else None,
        )

    async def _connect(self, client: aiosmtplib.SMTP) -> None:
        server = self._server
        async with asyncio.timeout(3 * self._timeout):
            await client.connect()
            if not server.tls and server.starttls != "never":
                await client.ehlo()
                if client.supports_extension("starttls"):
                    await client.starttls(tls_context=self._trust())
                elif server.starttls == "required":
                    raise SMTPNotSupported("the server offers no STARTTLS")
            if server.user is not None and server.password is not None:
                await client.login(server.user, server.password)

    def _trust(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self._server.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self._server.loopback and self._server.ca is None:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    async def _deliver(self, client: aiosmtplib.SMTP, message: Message) -> None:
        """Hand it over; MailRefused, MailDeferred, MailServerAway."""
        options = ["SMTPUTF8"] if message.utf8 else []
        if message.utf8 and not client.supports_extension("smtputf8"):
            raise MailRefused("the server takes no addresses in Unicode (SMTPUTF8)")
        try:
            await client.mail(message.sender, options=options, encoding="utf-8")
            await client.rcpt(message.to, encoding="utf-8")
            await client.data(message.data, timeout=max(self._timeout, DATA_TIMEOUT_SECONDS))
        except (SMTPRecipientRefused, SMTPRecipientsRefused, SMTPDataError) as error:
            if _code(error) in OF_OURS:
                raise MailServerAway(_said(error)) from error
            await _reset(client)
            raise (MailRefused if _code(error) >= 500 else MailDeferred)(_said(error)) from error
        except (SMTPException, OSError, TimeoutError) as error:
            raise MailServerAway(_said(error)) from error

    def discard(self, mail_ids: Sequence[str]) -> None:
        """The server's mail is the server's; files from before are deleted."""
        self._folder.discard(mail_ids)


async def _reset(client: aiosmtplib.SMTP) -> None:
    """Begin anew after a refusal (RSET). Raises MailServerAway."""
    try:
        await client.rset()
    except (SMTPException, OSError, TimeoutError) as error:
        raise MailServerAway(_said(error)) from error


async def _parted(client: aiosmtplib.SMTP) -> None:
    """Say goodbye if somebody listens, and hang up. Never raises."""
    try:
        if client.is_connected:
            async with asyncio.timeout(2.0):
                await client.quit()
    except (SMTPException, OSError, TimeoutError):
        pass
    finally:
        client.close()


def _code(error: BaseException) -> int:
    if isinstance(error, SMTPRecipientsRefused):
        return max((each.code for each in error.recipients), default=500)
    return error.code if isinstance(error, SMTPResponseException) else 0


def _said(error: BaseException) -> str:
    """What went wrong, without the server's words: they may quote an address."""
    name = type(error).__name__
    code = _code(error)
    if code:
        found = _ENHANCED.search(str(getattr(error, "message", "")))
        return f"{code} {found[0]} ({name})" if found else f"{code} ({name})"
    if isinstance(error, SMTPNotSupported):
        return str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror} ({name})"
    return name
