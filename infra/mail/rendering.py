"""A template and its values become one message: the same bytes each time, so that a mail that is
sent again is the same mail (RFC 5322 3.6.4: one Message-ID is one version of one message).

A template is text: the first line is the subject, the rest paragraphs. The HTML part is made
from the same paragraphs, so the two can't say different things. No value gets into a header.
"""

import textwrap
from collections.abc import Mapping
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from hashlib import blake2b
from importlib.resources import files

from jinja2 import DictLoader, Environment, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from application.mail import ALLOWED, TEMPLATES, MailTemplate
from application.mailing import Message

COLUMNS = 76


class Rendering:
    """Makes messages from this address. Implements application.mailing.Render."""

    def __init__(self, sender: Address) -> None:
        self._sender = sender
        folder = files("infra.mail") / "templates"
        names = [*(f"{template}.txt" for template in TEMPLATES), "layout.html"]
        self._environment = Environment(
            loader=DictLoader({name: (folder / name).read_text("utf-8") for name in names}),
            autoescape=select_autoescape(("html",)),
            undefined=StrictUndefined,
        )
        self._environment.filters["wrapped"] = _wrapped_html

    def __call__(
        self,
        mail_id: str,
        template: MailTemplate,
        to: str,
        values: Mapping[str, str],
        created_at: datetime,
    ) -> Message:
        """The message of this mail. Only `to` and `values` come from people."""
        product = self._sender.display_name
        # What wasn't given is empty, and templates leave it out.
        known = {**dict.fromkeys(ALLOWED, ""), **values, "product": product}
        text = self._environment.get_template(f"{template}.txt").render(known)
        subject, _, body = text.partition("\n")
        paragraphs = [" ".join(each.split()) for each in body.strip().split("\n\n")]
        html = self._environment.get_template("layout.html").render(
            subject=subject, paragraphs=paragraphs, product=product, code=known["code"]
        )
        local, _, host = to.rpartition("@")
        utf8 = not to.isascii() or not self._sender.addr_spec.isascii()
        mail = EmailMessage(SMTP.clone(utf8=utf8))
        mail["From"] = self._sender
        mail["To"] = Address(username=local, domain=host)
        mail["Subject"] = subject
        mail["Date"] = format_datetime(created_at)
        mail["Message-ID"] = f"<{mail_id}@{self._sender.domain}>"
        mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's holiday answers this
        plain = "\n\n".join(textwrap.fill(each, COLUMNS) for each in paragraphs)
        mail.set_content(f"{plain}\n\n-- \n{product}\n")
        mail.add_alternative(html, subtype="html")
        mail.set_boundary(blake2b(mail_id.encode(), digest_size=15).hexdigest())
        return Message(mail_id, self._sender.addr_spec, to, mail.as_bytes(), utf8)


def _wrapped_html(text: str) -> Markup:
    return Markup("\n").join(escape(line) for line in textwrap.wrap(text, COLUMNS))
