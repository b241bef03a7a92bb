"""Mail: written with the command, sealed until it is sent, gone with the person."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as bounded
from hypothesis import strategies as st
from structlog.testing import capture_logs

from application.errors import StoreUnavailable
from application.mail import (
    ALLOWED,
    NEEDED,
    TEMPLATES,
    Mail,
    MailTemplate,
    forgotten,
    mail_row,
    one_line,
)
from application.mailing import (
    KEPT_DAYS,
    Deliver,
    MailDeferred,
    Mailing,
    MailRefused,
    MailServerAway,
    Message,
    Outcome,
    Post,
    keep_sending,
    send_due,
    sweep,
)
from domain.errors import InvalidCommand
from infra.embedded import RunningPostgres
from infra.mail.folder import FolderPost
from infra.mail.place import mail_from
from infra.mail.rendering import Rendering
from infra.postgres.outbox import PostgresOutbox, mail_standing
from tests.application.house import House, opened
from tests.conftest import fresh_database
from tests.exploring import examples
from tests.factories import AT
from tests.infra.following import rows, until
from tests.mailbox import last_code, mail_to

pytestmark = pytest.mark.anyio

RENDER = Rendering(mail_from("Example <no-reply@example.com>", None))
TO = "bob@example.org"
DAY = 86_400


@pytest.fixture(scope="module")
def database(postgres_server: RunningPostgres) -> Iterator[str]:
    with fresh_database(postgres_server) as url:
        yield url


@pytest.fixture
async def house(database: str) -> AsyncIterator[House]:
    async with opened(database) as house:
        await house.lookups.rows("DELETE FROM mail RETURNING mail_id", ())
        yield house


class Pigeons:
    """A post that keeps what it was given, and fails as it is told to: the next ones first."""

    def __init__(self, *failures: Exception | None) -> None:
        self.taken: list[Message] = []
        self.failures = list(failures)
        self.pause = 0.0

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Deliver]:
        yield self._deliver

    async def _deliver(self, message: Message) -> None:
        if self.failures and (failure := self.failures.pop(0)) is not None:
            raise failure
        await asyncio.sleep(self.pause)
        self.taken.append(message)

    def discard(self, mail_ids: Sequence[str]) -> None:
        pass


def sending(house: House, post: Post, later: float = 0.0, **changes: Any) -> Mailing:
    """Sends by this post, so many seconds later than now."""
    return Mailing(
        outbox=changes.get("outbox", PostgresOutbox(house.lookups)),
        post=post,
        render=RENDER,
        vault=house.vault,
        clock=lambda: datetime.now(UTC) + timedelta(seconds=later),
        give_up_after=timedelta(days=3),
    )


async def wanted(house: House, to: str = TO, **fields: Any) -> str:
    """A mail is to be sent; answers its id."""
    mail = Mail(**{"template": "verify_email", "values": {"code": "123456"}, "to": to, **fields})
    row = mail_row(house.ports, mail, datetime.now(UTC))
    await house.lookups.write([row, row])  # a reply that was lost has it written again
    return row.mail_id


def files(folder: Path) -> list[str]:
    """The names of the files in a folder."""
    return sorted(path.name for path in folder.iterdir())


def outcome(house: House, mail_id: str) -> tuple[str | None, int] | None:
    found = rows(house.url, "SELECT outcome, tries FROM mail WHERE mail_id = %s", mail_id)
    return found[0] if found else None


async def test_what_is_mailed_and_to_whom_is_sealed_until_it_is_sent_and_then_gone(
    house: House,
) -> None:
    mail_id = await wanted(house, "Canary@Example.ORG", values={"code": "481516"})
    before = rows(house.url, "SELECT mail::text FROM mail")[0][0]
    (mail,) = await mail_to(house.ports, "canary@example.org")
    assert (mail.to, mail.values) == ("canary@example.org", {"code": "481516"})
    assert await last_code(house.ports, "canary@example.org", "verify_email") == "481516"
    pigeons = Pigeons()
    assert await send_due(sending(house, pigeons)) == 1
    assert b"481516" in pigeons.taken[0].data
    after = rows(house.url, "SELECT mail::text FROM mail")[0][0]
    for text in (before, after):
        readable = text + "".join(
            bytes.fromhex(part.strip('",()')).decode("latin-1")
            for part in text.replace("\\\\x", "\\x").split("\\x")[1:]
            for part in [part.split('"')[0].split(",")[0]]
        )
        assert "canary" not in readable.lower()
        assert "481516" not in readable
    assert rows(house.url, "SELECT sealed FROM mail") == [(None,)]
    assert outcome(house, mail_id) == ("sent", 1)


async def test_of_mails_that_are_to_come_once_only_the_first_is_sent(house: House) -> None:
    for _ in range(2):
        await wanted(house, once="reuse_detected:ses_1", template="reuse_detected", values={})
    await wanted(house, once="reuse_detected:ses_2", template="reuse_detected", values={})
    pigeons = Pigeons()
    await send_due(sending(house, pigeons))
    assert len(pigeons.taken) == 2


async def test_a_mail_that_lacks_its_code_or_has_no_address_is_refused_when_it_is_asked_for(
    house: House,
) -> None:
    with pytest.raises(ValueError, match="needs code"):
        mail_row(house.ports, Mail("register_code", TO), AT)
    with pytest.raises(ValueError, match="knows no subject"):
        mail_row(house.ports, Mail("account_closed", TO, {"subject": "x"}), AT)
    with pytest.raises(InvalidCommand):
        mail_row(house.ports, Mail("account_closed", "bob@example.org\nBcc: eve@e.org"), AT)


async def test_two_senders_never_send_one_mail(house: House) -> None:
    ids = {await wanted(house, f"p{number}@example.org") for number in range(60)}
    pigeons = Pigeons()
    pigeons.pause = 0.001
    senders = [send_due(sending(house, pigeons)) for _ in range(5)]
    assert sum(await asyncio.gather(*senders)) == 60
    assert len(pigeons.taken) == 60
    assert {each.mail_id for each in pigeons.taken} == ids


async def test_mail_of_a_sender_that_died_is_sent_by_another_when_its_lease_is_over(
    house: House,
) -> None:
    await wanted(house)
    mailing = sending(house, Pigeons())
    now = mailing.clock()
    assert len(await mailing.outbox.lease(now, now + timedelta(seconds=180), 20)) == 1
    assert await send_due(sending(house, Pigeons(), later=170)) == 0
    assert await send_due(sending(house, Pigeons(), later=181)) == 1


async def test_mail_is_given_up_after_days_and_said_so_and_meanwhile_tried_ever_less_often(
    house: House,
) -> None:
    mail_id = await wanted(house)
    tried = []
    with capture_logs() as logs:
        for second in (*range(0, 9_000, 450), 2 * DAY, 3 * DAY + 1, 4 * DAY):
            pigeons = Pigeons(MailDeferred("451"))
            if await send_due(sending(house, pigeons, later=float(second))):
                tried.append(second)
    gaps = [after - before for before, after in itertools.pairwise(tried)]
    assert gaps[0] == 450
    assert set(gaps[8:-2]) == {900}
    assert tried[-1] == 3 * DAY + 1
    assert outcome(house, mail_id) == ("given_up", len(tried))
    assert [each["event"] for each in logs if each["log_level"] == "error"] == ["mail given up"]
    assert (await mail_standing(house.lookups)).waiting == 0


async def test_while_the_server_is_away_mail_waits_for_nothing_else_but_not_for_ever(
    house: House,
) -> None:
    class Away(Pigeons):
        @asynccontextmanager
        async def session(self) -> AsyncIterator[Deliver]:
            raise MailServerAway("refused")
            yield self._deliver

    mail_id = await wanted(house)
    with pytest.raises(MailServerAway):
        await send_due(sending(house, Away()))
    assert outcome(house, mail_id) == (None, 0)
    standing = await mail_standing(house.lookups)
    assert standing.waiting == 1
    assert standing.oldest_seconds >= 0
    with pytest.raises(MailServerAway):
        await send_due(sending(house, Away(), later=3 * DAY + 1))
    assert outcome(house, mail_id) == ("given_up", 1)


async def test_what_cant_be_opened_stands_in_nobodys_way(house: House) -> None:
    broken = await wanted(house, "a@example.org")
    await wanted(house)
    await house.lookups.rows(
        "UPDATE mail SET sealed = '\\x00' WHERE mail_id = %s RETURNING 1", (broken,)
    )
    pigeons = Pigeons()
    assert await send_due(sending(house, pigeons)) == 2
    assert [each.to for each in pigeons.taken] == [TO]
    assert outcome(house, broken) == (None, 1)


async def test_what_was_sent_while_the_database_was_away_is_not_sent_again(house: House) -> None:
    class Forgetful(PostgresOutbox):
        left = 2

        async def end(
            self, mail_id: str, outcome: Outcome, problem: str | None, now: datetime
        ) -> None:
            if self.left:
                self.left -= 1
                raise StoreUnavailable("away")
            await super().end(mail_id, outcome, problem, now)

    await wanted(house)
    pigeons = Pigeons()
    await send_due(sending(house, pigeons, outbox=Forgetful(house.lookups)))
    await send_due(sending(house, pigeons, later=DAY))
    assert len(pigeons.taken) == 1


async def test_who_stops_a_sender_gets_the_mail_under_way_sent_and_no_other(house: House) -> None:
    for number in range(5):
        await wanted(house, f"p{number}@example.org")
    pigeons = Pigeons()
    pigeons.pause = 0.2
    task = asyncio.create_task(keep_sending(sending(house, pigeons)))
    await until(lambda: rows(house.url, "SELECT FROM mail WHERE leased_until > now()"))
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.wait([task])
    sent = len(pigeons.taken)
    assert sent == len(rows(house.url, "SELECT FROM mail WHERE outcome = 'sent'")) == 1
    assert await send_due(sending(house, pigeons)) == 5 - sent


async def test_a_folder_gets_one_file_a_mail_that_only_its_owner_reads(
    house: House, tmp_path: Path
) -> None:
    mail_id = await wanted(house)
    folder = tmp_path / "deep/mail"
    assert await send_due(sending(house, FolderPost(folder))) == 1
    (path,) = folder.iterdir()
    assert path.name == f"{mail_id}.eml"
    assert path.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert message_from_bytes(path.read_bytes(), policy=policy.default)["To"] == TO


async def test_a_forgotten_persons_mail_is_nowhere_and_nobody_elses_is_touched(
    house: House, tmp_path: Path
) -> None:
    mailing = sending(house, FolderPost(tmp_path))
    sent = [
        await wanted(house, account_id="acct_1"),
        await wanted(house, "old@example.org"),  # before there was an account
        await wanted(house, "eve@example.org", account_id="acct_2"),
    ]
    await send_due(mailing)
    assert len(files(tmp_path)) == 3
    await wanted(house, account_id="acct_1")
    now = mailing.clock()
    # Somebody holds the last one, and has yet to write its file.
    held = await mailing.outbox.lease(now, now + timedelta(seconds=180), 20)
    gone = forgotten(house.ports, "acct_1", [TO, "Old@example.org"])
    await house.lookups.write([gone, gone])
    assert await sweep(mailing) == 2
    assert files(tmp_path) == [f"{sent[2]}.eml"]
    (tmp_path / f"{held[0].mail_id}.eml").write_text("what it held")
    await mailing.outbox.end(held[0].mail_id, "sent", None, now)
    assert await sweep(mailing) == 1
    assert files(tmp_path) == [f"{sent[2]}.eml"]
    assert rows(house.url, "SELECT mail_id, outcome FROM mail") == [(sent[2], "sent")]


async def test_mail_that_was_not_sent_when_its_person_was_forgotten_is_never_sent(
    house: House,
) -> None:
    await wanted(house, account_id="acct_1")
    await house.lookups.write([forgotten(house.ports, "acct_1")])
    pigeons = Pigeons()
    assert await send_due(sending(house, pigeons)) == 0
    assert await sweep(sending(house, pigeons)) == 1
    assert rows(house.url, "SELECT FROM mail") == []


async def test_after_months_nothing_tells_that_there_was_a_mail(
    house: House, tmp_path: Path
) -> None:
    await wanted(house)
    await send_due(sending(house, FolderPost(tmp_path)))
    assert await sweep(sending(house, FolderPost(tmp_path), later=KEPT_DAYS * DAY - 60)) == 0
    assert await sweep(sending(house, FolderPost(tmp_path), later=KEPT_DAYS * DAY + 60)) == 1
    assert files(tmp_path) == []


async def test_who_is_refused_for_good_ends_at_once(house: House) -> None:
    mail_id = await wanted(house)
    assert await send_due(sending(house, Pigeons(MailRefused("550")))) == 1
    assert outcome(house, mail_id) == ("refused", 1)


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_template_reads_well_with_all_values_and_with_the_fewest(
    template: MailTemplate,
) -> None:
    everything = {name: f"the {name}" for name in ALLOWED}
    fewest = {name: everything[name] for name in NEEDED.get(template, ())}
    for values in (everything, fewest):
        message = RENDER("mail_1", template, TO, values, AT)
        mail = message_from_bytes(message.data, policy=policy.default)
        text, html = (part.get_content() for part in mail.iter_parts())
        assert mail["Subject"].isascii()
        assert "Example" in f"{mail['Subject']}{text}"
        for value in fewest.values():
            assert value in text
            assert value in html
        assert text.isascii()
        assert max(map(len, text.splitlines())) <= 78
        for sign in ("{", "}", "None", "  ", " .", " ,", " :"):
            assert sign not in text.replace("-- \n", ""), (sign, text)
        assert "http" not in text  # links in mail are what phishing looks like
        assert "<script" not in html
        assert RENDER("mail_1", template, TO, values, AT) == message


HEADERS = [
    *("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted"),
    *("MIME-Version", "Content-Type"),
]
hostile = st.text() | st.sampled_from(
    [
        "x\r\nBcc: eve@example.org",
        "\n\n--boundary\nContent-Type: text/html\n\n<b>",
        "{{ product }}{% include 'layout.html' %}",
        "<script>alert(1)</script>",
        "\u2028\u2029\x85\x0b\x0c",
        "\u202egnp.exe",
        "\r\n.\r\nMAIL FROM:<eve@example.org>",
        "\ud800",
    ]
)


@given(values=st.fixed_dictionaries(dict.fromkeys(sorted(ALLOWED), hostile)))
@bounded(max_examples=examples(60))
@pytest.mark.parametrize("template", ["factor_added", "impersonated", "password_changed"])
def test_nothing_that_people_write_becomes_a_header_a_recipient_or_markup(
    template: MailTemplate, values: dict[str, str]
) -> None:
    """Header and SMTP injection (CWE-93), markup and template injection."""
    shown = {name: one_line(text) for name, text in values.items()}
    message = RENDER("mail_1", template, TO, shown, AT)
    mail = message_from_bytes(message.data, policy=policy.default)
    assert mail.keys() == HEADERS
    assert (message.to, mail["To"]) == (TO, TO)
    assert mail["Message-ID"] == "<mail_1@example.com>"
    text, html = list(mail.iter_parts())
    assert [each.get_content_type() for each in (text, html)] == ["text/plain", "text/html"]
    assert html.get_content().count("<") == RENDERED_TAGS[template]
    assert not set("\u202e\u2028\u2029\x85") & set(text.get_content())


def _tags(template: MailTemplate) -> int:
    values = dict.fromkeys(ALLOWED, "x")
    mail = message_from_bytes(
        RENDER("mail_1", template, TO, values, AT).data, policy=policy.default
    )
    html: str = list(mail.iter_parts())[1].get_content()
    return html.count("<")


RENDERED_TAGS = {
    template: _tags(template) for template in ("factor_added", "impersonated", "password_changed")
}
