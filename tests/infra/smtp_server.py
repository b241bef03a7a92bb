"""A real SMTP server (aiosmtpd) in a test, that can be down, slow, or refuse."""

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

USER, PASSWORD = "mailer", "p@ss/word"


class MailServer:
    """Keeps what it took. `answers` says by address what RCPT is answered, once each time; `data`
    what a message is answered."""

    def __init__(self, certificate: Path | None = None, auth: bool = False) -> None:
        self.taken: list[Envelope] = []
        self.tls: list[bool] = []
        self.signed_in: list[bool] = []
        self.passwords: list[bytes] = []
        self.answers: dict[str, list[str]] = {}
        self.data: list[str | Callable[[], None]] = []
        self.port = 0
        self._certificate = certificate
        self._auth = auth
        self._server: asyncio.Server | None = None
        self._lines: list[asyncio.BaseTransport] = []

    @property
    def messages(self) -> list[EmailMessage]:
        """What was taken, parsed."""
        return [
            message_from_bytes(bytes(each.content or b""), policy=policy.default)  # type: ignore[arg-type]
            for each in self.taken
        ]

    @property
    def recipients(self) -> list[str]:
        """Whom it was for, one a message."""
        return [each.rcpt_tos[0] for each in self.taken]

    async def start(self) -> None:
        """Listen; after the first time on the same port again."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Nobody listens any more, and every line is cut."""
        if self._server is not None:
            self._server.close()
            self.cut()
            self._server = None
            await asyncio.sleep(0)

    def cut(self) -> None:
        """Hang up on everybody."""
        for line in self._lines:
            if isinstance(line, asyncio.WriteTransport):
                line.abort()
        self._lines.clear()

    def _protocol(self) -> SMTP:
        context = None
        if self._certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._certificate)
        lines = self._lines

        class Line(SMTP):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                lines.append(transport)
                super().connection_made(transport)

        return Line(
            self,
            hostname="mail.test",
            enable_SMTPUTF8=True,
            tls_context=context,
            require_starttls=context is not None,
            auth_required=self._auth,
            authenticator=self._authenticated if self._auth else None,
        )

    def _authenticated(self, server: SMTP, *rest: Any) -> AuthResult:
        given = rest[-1]
        assert isinstance(given, LoginPassword)
        self.passwords.append(given.password)
        good = (given.login, given.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=good, handled=good)

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if waiting := self.answers.get(address):
            return waiting.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        answer = self.data.pop(0) if self.data else "250 OK"
        if isinstance(answer, str) and not answer.startswith("250"):
            return answer
        self.taken.append(envelope)
        self.tls.append(session.ssl is not None)
        self.signed_in.append(bool(session.authenticated))
        if callable(answer):
            answer()
        return "250 OK"


@asynccontextmanager
async def mail_server(
    certificate: Path | None = None, auth: bool = False
) -> AsyncIterator[MailServer]:
    """A server that listens, and is gone afterwards."""
    server = MailServer(certificate, auth)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def a_certificate(folder: Path) -> Path:
    """A certificate of its own for 127.0.0.1, with its key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail.test")])
    now = datetime.datetime.now(datetime.UTC)
    host = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([host]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    path = folder / "mail.pem"
    path.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(pem)
    )
    return path
