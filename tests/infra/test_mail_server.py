"""Mail to a real SMTP server: nothing lost, nothing twice, nothing in the clear."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from application.mail import Mail, mail_row
from application.mailing import Mailing, MailServerAway, keep_sending, send_due
from infra.embedded import RunningPostgres
from infra.mail.folder import FolderPost
from infra.mail.place import MailFolder, mail_from, mail_place
from infra.mail.place import MailServer as Place
from infra.mail.rendering import Rendering
from infra.mail.smtp import SmtpPost
from infra.postgres.outbox import PostgresOutbox, mail_standing
from infra.secret_rules import SettingsError
from tests.application.house import House, opened
from tests.conftest import fresh_database
from tests.infra.following import rows, until
from tests.infra.smtp_server import PASSWORD, USER, a_certificate, mail_server

pytestmark = pytest.mark.anyio

SENDER = mail_from("Example <no-reply@example.com>", None)


@pytest.fixture(scope="module")
def database(postgres_server: RunningPostgres) -> Iterator[str]:
    with fresh_database(postgres_server) as url:
        yield url


@pytest.fixture
async def house(database: str) -> AsyncIterator[House]:
    async with opened(database) as house:
        await house.lookups.rows("DELETE FROM mail RETURNING mail_id", ())
        yield house


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_certificate(tmp_path_factory.mktemp("certificate"))


def sending(house: House, url: str, tmp_path: Path, later: float = 0.0) -> Mailing:
    """What sends to this URL, so many seconds later than now."""
    place = mail_place(url, tmp_path)
    assert isinstance(place, Place)
    return Mailing(
        outbox=PostgresOutbox(house.lookups),
        post=SmtpPost(place, FolderPost(tmp_path / "mail"), timeout_seconds=0.5),
        render=Rendering(SENDER),
        vault=house.vault,
        clock=lambda: datetime.now(UTC) + timedelta(seconds=later),
        give_up_after=timedelta(days=3),
    )


async def wanted(house: House, *addresses: str) -> None:
    """A code is to be mailed to each of these."""
    now = datetime.now(UTC)
    for address in addresses:
        mail = Mail("verify_email", address, {"code": "123456"})
        await house.lookups.write([mail_row(house.ports, mail, now)])


def outcomes(house: House) -> list[tuple[str | None, int, str | None]]:
    """What became of the mails: outcome, tries, problem."""
    return rows(house.url, "SELECT outcome, tries, problem FROM mail ORDER BY created_at, mail_id")


async def test_mail_goes_by_starttls_with_a_password_and_says_what_it_should(
    house: House, tmp_path: Path, certificate: Path
) -> None:
    await wanted(house, "bob@example.org")
    async with mail_server(certificate, auth=True) as server:
        url = f"smtp://{USER}:p%40ss%2Fword@127.0.0.1:{server.port}?ca={certificate}"
        assert await send_due(sending(house, url, tmp_path)) == 1
        assert await send_due(sending(house, url, tmp_path)) == 0
    (message,) = server.messages
    assert (server.tls, server.signed_in) == ([True], [True])
    assert server.recipients == ["bob@example.org"]
    assert server.taken[0].mail_from == "no-reply@example.com"
    assert message["From"] == "Example <no-reply@example.com>"
    assert message["To"] == "bob@example.org"
    assert message["Subject"] == "Your code for Example"
    assert message["Auto-Submitted"] == "auto-generated"
    (mail_id,) = rows(house.url, "SELECT mail_id FROM mail")[0]
    assert message["Message-ID"] == f"<{mail_id}@example.com>"
    text, html = (part.get_content() for part in message.iter_parts())
    assert "123456" in text.splitlines()
    assert ">123456</p>" in html
    assert outcomes(house) == [("sent", 1, None)]
    assert rows(house.url, "SELECT sealed FROM mail") == [(None,)]


async def test_a_password_is_never_sent_in_the_clear_nor_to_who_cant_show_a_certificate(
    house: House, tmp_path: Path, certificate: Path
) -> None:
    await wanted(house, "bob@example.org")
    async with mail_server() as plain:
        url = f"smtp://{USER}:x@127.0.0.1:{plain.port}?starttls=required"
        with pytest.raises(MailServerAway, match="offers no STARTTLS"):
            await send_due(sending(house, url, tmp_path))
    other = a_certificate(tmp_path)
    async with mail_server(certificate, auth=True) as server:
        url = f"smtp://{USER}:x@127.0.0.1:{server.port}?ca={other}"
        with pytest.raises(MailServerAway, match="certificate"):
            await send_due(sending(house, url, tmp_path))
    assert server.passwords == []
    assert plain.taken == server.taken == []
    assert outcomes(house) == [(None, 0, None)]


async def test_a_wrong_password_is_no_mails_fault_and_nothing_is_lost_by_it(
    house: House, tmp_path: Path, certificate: Path
) -> None:
    await wanted(house, "a@example.org", "b@example.org")
    async with mail_server(certificate, auth=True) as server:
        wrong, right = (
            f"smtp://{USER}:{word}@127.0.0.1:{server.port}" for word in ("no", "p%40ss%2Fword")
        )
        with pytest.raises(MailServerAway, match="535"):
            await send_due(sending(house, wrong, tmp_path))
        assert await send_due(sending(house, right, tmp_path)) == 2
    assert server.recipients == ["a@example.org", "b@example.org"]
    assert set(server.passwords) == {b"no", PASSWORD.encode()}


async def test_who_is_refused_is_done_with_at_once_and_holds_nobody_up(
    house: House, tmp_path: Path
) -> None:
    await wanted(house, "gone@example.org", "bob@example.org")
    async with mail_server() as server:
        server.answers["gone@example.org"] = ["550 5.1.1 <gone@example.org>: no such person"]
        with capture_logs() as logs:
            url = f"smtp://127.0.0.1:{server.port}"
            assert await send_due(sending(house, url, tmp_path)) == 2
            assert await send_due(sending(house, url, tmp_path, later=86_400)) == 0
    assert server.recipients == ["bob@example.org"]
    problem = "550 5.1.1 (SMTPRecipientRefused)"
    assert outcomes(house) == [("refused", 1, problem), ("sent", 1, None)]
    assert [(each["event"], each["log_level"]) for each in logs] == [("mail refused", "error")]
    assert "gone" not in f"{logs}{rows(house.url, 'SELECT mail::text FROM mail')}"
    assert (await mail_standing(house.lookups)).failed == 1


@pytest.mark.parametrize("where", ["recipient", "message"])
async def test_who_is_put_off_is_tried_again_later_and_gets_it_once(
    house: House, tmp_path: Path, where: str
) -> None:
    await wanted(house, "grey@example.org", "bob@example.org")
    async with mail_server() as server:
        if where == "recipient":
            server.answers["grey@example.org"] = ["451 4.7.1 come back"]
        else:
            server.data = ["452 4.3.1 no room"]
        url = f"smtp://127.0.0.1:{server.port}"
        assert await send_due(sending(house, url, tmp_path)) == 2
        assert server.recipients == ["bob@example.org"]
        assert await send_due(sending(house, url, tmp_path)) == 0
        assert (await mail_standing(house.lookups)).waiting == 1
        assert await send_due(sending(house, url, tmp_path, later=11)) == 1
        assert await send_due(sending(house, url, tmp_path, later=86_400)) == 0
    assert server.recipients == ["bob@example.org", "grey@example.org"]
    assert [each[:2] for each in outcomes(house)] == [("sent", 2), ("sent", 1)]


async def test_server_down_then_up_nothing_is_lost_and_nothing_comes_twice(
    house: House, tmp_path: Path
) -> None:
    addresses = [f"p{number}@example.org" for number in range(30)]
    async with mail_server() as server:
        await server.stop()
        mailing = sending(house, f"smtp://127.0.0.1:{server.port}", tmp_path)
        with capture_logs() as logs:
            tasks = [asyncio.create_task(keep_sending(mailing, 0.05)) for _ in range(3)]
            await wanted(house, *addresses[:20])
            await until(lambda: [each for each in logs if each["event"] == "mail waits"])
            assert outcomes(house) == [(None, 0, None)] * 20
            await server.start()
            await wanted(house, *addresses[20:])
            await until(lambda: [each[0] for each in outcomes(house)] == ["sent"] * 30)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    assert sorted(server.recipients) == sorted(addresses)
    assert len({message["Message-ID"] for message in server.messages}) == 30


async def test_a_server_that_says_nothing_is_hung_up_on(house: House, tmp_path: Path) -> None:
    await wanted(house, "bob@example.org")
    silent = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    async with asyncio.timeout(30):
        with pytest.raises(MailServerAway, match="Timeout"):
            await send_due(sending(house, f"smtp://127.0.0.1:{port}", tmp_path))
    silent.close()
    assert outcomes(house) == [(None, 0, None)]


async def test_when_the_line_is_cut_before_the_answer_the_same_mail_comes_again(
    house: House, tmp_path: Path
) -> None:
    """The gap that SMTP leaves (RFC 1047): it is closed by the Message-ID, and the bytes."""
    await wanted(house, "bob@example.org", "eve@example.org")
    async with mail_server() as server:
        server.data = [server.cut]
        url = f"smtp://127.0.0.1:{server.port}"
        with pytest.raises(MailServerAway):
            await send_due(sending(house, url, tmp_path))
        # Who had the line cut doesn't stand in the way of others.
        assert await send_due(sending(house, url, tmp_path)) == 1
        assert server.recipients[1:] == ["eve@example.org"]
        assert await send_due(sending(house, url, tmp_path, later=11)) == 1
    assert server.recipients[2:] == ["bob@example.org"]
    assert server.taken[0].content == server.taken[2].content


async def test_a_line_that_is_a_dot_ends_no_message(house: House, tmp_path: Path) -> None:
    """SMTP smuggling: what a person writes is not read as the end of the mail, and commands."""
    factor = f"{'x' * 75} . MAIL FROM:<eve@example.org> RCPT TO:<mallory@example.org>"
    mail = Mail("factor_added", "bob@example.org", {"factor": factor})
    await house.lookups.write([mail_row(house.ports, mail, datetime.now(UTC))])
    async with mail_server() as server:
        await send_due(sending(house, f"smtp://127.0.0.1:{server.port}", tmp_path))
    assert server.recipients == ["bob@example.org"]
    text = next(server.messages[0].iter_parts()).get_content()
    assert [line[:6] for line in text.splitlines() if line.startswith(".")] == [". MAIL"]


async def test_addresses_in_unicode_arrive(house: House, tmp_path: Path) -> None:
    await wanted(house, "jörg@bücher.example")
    async with mail_server() as server:
        await send_due(sending(house, f"smtp://127.0.0.1:{server.port}", tmp_path))
    assert server.recipients == ["jörg@xn--bcher-kva.example"]
    assert server.messages[0]["To"] == "jörg@xn--bcher-kva.example"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        (None, MailFolder(Path("/data/mail"))),
        ("file:///var/mail%20box", MailFolder(Path("/var/mail box"))),
        (
            "smtp://mail.example.com",
            Place("mail.example.com", 587, None, None, False, "required", None, False),
        ),
        (
            "smtps://me:p%40ss@mail.example.com",
            Place("mail.example.com", 465, "me", "p@ss", True, "required", None, False),
        ),
        (
            "smtp://relay:1025?starttls=never",
            Place("relay", 1025, None, None, False, "never", None, False),
        ),
        ("smtp://[::1]:25", Place("::1", 25, None, None, False, "offered", None, True)),
    ],
)
def test_mail_url_says_where_mail_goes(url: str | None, place: MailFolder | Place) -> None:
    assert mail_place(url, Path("/data")) == place


@pytest.mark.parametrize(
    "url",
    [
        "smtp://",
        "imap://host",
        "smtp://host:99999",
        "smtp://host/folder",
        "smtp://user@host",
        "smtp://user:secret-word@host?starttls=never",
        "smtp://user:secret-word@host?tls=1",
        "smtp://user:secret-word@host?ca=/not/there",
    ],
)
def test_a_mail_url_that_is_none_stops_the_start_and_shows_no_password(url: str) -> None:
    with pytest.raises(SettingsError, match="TOLLHOUSE_MAIL_URL") as error:
        mail_place(url, Path("/data"))
    assert "secret-word" not in str(error.value)


@pytest.mark.parametrize("text", ["nobody", "a b@c", "x@example.com\r\nBcc: y@example.com", "<>"])
def test_a_mail_from_that_is_no_address_stops_the_start(text: str) -> None:
    with pytest.raises(SettingsError, match="TOLLHOUSE_MAIL_FROM"):
        mail_from(text, None)


def test_mail_is_from_the_host_of_the_public_url() -> None:
    assert str(mail_from(None, "https://auth.example.com")) == (
        "Tollhouse <no-reply@auth.example.com>"
    )
