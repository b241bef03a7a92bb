"""Where mail goes, as MAIL_URL says it, and whom it is from.

`file:///folder` writes files. `smtp://user:password@host:587` sends, with STARTTLS and a checked
certificate; `smtps://` speaks TLS from the start. `?starttls=never` is for a relay on a network
of one's own, `?ca=FILE` for a certificate of one's own. On the loopback nobody is in between:
there STARTTLS is taken where it is offered, with any certificate.
"""

from email.errors import MessageError
from email.headerregistry import Address
from email.utils import parseaddr
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from infra.secret_rules import SettingsError

StartTls = Literal["required", "offered", "never"]
PORTS = {"smtp": 587, "smtps": 465}


class MailFolder(NamedTuple):
    """One file a message, in here."""

    folder: Path


class MailServer(NamedTuple):
    """An SMTP server. `tls`: from the start (RFC 8314); else STARTTLS (RFC 3207)."""

    host: str
    port: int
    user: str | None
    password: str | None
    tls: bool
    starttls: StartTls
    ca: Path | None
    loopback: bool


def mail_place(url: str | None, data_dir: Path) -> MailFolder | MailServer:
    """The place that the URL names; DATA_DIR/mail without one. Raises SettingsError, which
    never repeats the URL: it has a password."""
    if url is None:
        return MailFolder(data_dir / "mail")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise SettingsError("TOLLHOUSE_MAIL_URL is not an address.") from None
    if parts.scheme == "file":
        return MailFolder(Path(unquote(f"{parts.netloc}{parts.path}")).expanduser().absolute())
    if parts.scheme not in PORTS or not parts.hostname or parts.path.strip("/"):
        raise SettingsError(
            "TOLLHOUSE_MAIL_URL must be file:///FOLDER or smtp://user:password@host:587."
        )
    return _server(parts, PORTS[parts.scheme] if port is None else port)


def _server(parts: SplitResult, port: int) -> MailServer:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    ca, wanted = options.pop("ca", None), options.pop("starttls", None)
    if options or wanted not in (None, "required", "never"):
        raise SettingsError(
            "TOLLHOUSE_MAIL_URL knows ?starttls=required, ?starttls=never and ?ca=FILE only."
        )
    if ca is not None and not Path(ca).is_file():
        raise SettingsError("TOLLHOUSE_MAIL_URL names a file as ca that is not there.")
    host = parts.hostname or ""
    loopback = _is_loopback(host)
    if (parts.username is None) != (parts.password is None):
        raise SettingsError("TOLLHOUSE_MAIL_URL must have a user and a password, or neither.")
    if parts.username is not None and wanted == "never" and not loopback:
        raise SettingsError(
            "TOLLHOUSE_MAIL_URL would send a password in the clear: leave out starttls=never."
        )
    starttls: StartTls = "offered" if loopback and ca is None else "required"
    if wanted is not None:
        starttls = "never" if wanted == "never" else "required"
    return MailServer(
        host=host,
        port=port,
        user=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
        tls=parts.scheme == "smtps",
        starttls=starttls,
        ca=None if ca is None else Path(ca),
        loopback=loopback,
    )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def mail_from(setting: str | None, public_url: str | None) -> Address:
    """Whom mail is from: as set (`Name <address>` or an address), else no-reply at the host of
    PUBLIC_URL. Raises SettingsError."""
    if setting is None:
        host = urlsplit(public_url or "").hostname or "localhost"
        return Address("Tollhouse", "no-reply", host)
    name, address = parseaddr(setting)
    try:
        if not (address and setting.isprintable()):
            raise ValueError
        return Address(name or "Tollhouse", addr_spec=address)
    except (MessageError, ValueError):
        raise SettingsError(
            "TOLLHOUSE_MAIL_FROM must be an address, or a name and an address as in"
            " Example <no-reply@example.com>."
        ) from None
