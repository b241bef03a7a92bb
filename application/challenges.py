"""Proofs of an address: a code is mailed, and whoever tells it has the mailbox (NIST SP 800-63B-4).

One mechanism for five purposes. `begin` mails six digits that are good for ten minutes and five
guesses; `judge` says whether a guess is right; `verify` exchanges a right one for a token, good
for an hour and one use; `redeem` says whom a token proves. Nothing tells whether an address has
an account: for every address there is a row, a code, and the same work (ASVS 5.0 V6.3.8).
"""

from base64 import urlsafe_b64encode
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from application.deciding import Context, new_id
from application.errors import WrongCode, WrongCredentials
from application.mail import Mail, MailTemplate, mail_row
from application.ports import Ports
from application.rows import ChallengeRow, ChallengeSpentRow, MailForNobodyRow, MailRow, Row
from application.throttling import (
    digest_of_address,
    guessed_wrong,
    hit,
    may_guess,
    otp_requested,
)
from domain import claims
from domain.ids import is_id

Purpose = Literal["register", "verify_email", "reset_password", "sign_in", "change_email"]
OtpPurpose = Literal["verify_email", "reset_password", "sign_in"]

CODE_SECONDS = 600
TOKEN_SECONDS = 3600
GUESSES = 5
GUESSES_BY_ADDRESS = 2
"""Of these, for who knows only the address: the rest is left to who asked for the code."""
DIGITS = 6
OTP_PURPOSES: tuple[OtpPurpose, ...] = ("verify_email", "reset_password", "sign_in")
"""Those that `verify` gives a token for. The others end in a command of their own."""

_MAILED: dict[Purpose, MailTemplate] = {
    "register": "register_code",
    "verify_email": "verify_email",
    "reset_password": "reset_password",
    "sign_in": "sign_in_code",
    "change_email": "email_change_code",
}
_NOBODYS = "chl_nobody"
_FOR_THE_FREE = ("register", "change_email")
"""Purposes of an address that nobody may have yet."""


class Waiting(msgspec.Struct, frozen=True):
    """What is sealed with a challenge: the address, and what waits for its proof."""

    address: str
    payload: bytes = b""


class Begun(msgspec.Struct, frozen=True):
    """A challenge that was begun. `expires_in` is seconds."""

    id: str
    expires_in: int = CODE_SECONDS


class Judged(msgspec.Struct, frozen=True):
    """A guess that was right. `spent` must be committed with what the proof was for: that is
    what makes it good for one use."""

    id: str
    account_id: str | None
    address: str
    payload: bytes
    spent: ChallengeSpentRow


class Verified(msgspec.Struct, frozen=True):
    """An address that was proven, and the token to go on with."""

    token: str
    purpose: OtpPurpose
    account_id: str | None
    address: str


class Redeemed(msgspec.Struct, frozen=True):
    """Whom a token proves. It stays good until `spent` is committed, in the same transaction as
    what it was for: of many at once, one commits, and the others get WrongCredentials."""

    account_id: str
    address: str
    spent: ChallengeSpentRow


async def begin(
    ports: Ports,
    purpose: Purpose,
    address: str,
    payload: bytes = b"",
    *,
    account_id: str | None = None,
    network: str | None = None,
    template: MailTemplate | None = None,
    context: Context | None = None,
) -> Begun:
    """Mail a code to this address. Takes as long, and answers the same, whoever has it.

    With `context` the answer is kept for its Idempotency-Key. `payload` waits, sealed.
    `account_id` is who asks to change to this address. `network` is where the request came
    from; without one (staff asks) it isn't counted. InvalidCommand for what is no address,
    TooManyAttempts.
    """
    address = claims.email(address)
    digests = ports.digests.claims(claims.EMAIL, address)
    holder = await ports.lookups.claim_holder(claims.EMAIL, digests)
    if network is not None:
        await otp_requested(ports, digest_of_address(ports, address), network, holder)
    code = f"{int.from_bytes(ports.entropy(8)) % 10**DIGITS:0{DIGITS}}"
    asker = account_id or holder
    row = _challenge_row(ports, purpose, Waiting(address, payload), code, asker, digests[0])
    letter = Mail(
        template or _MAILED[purpose],
        address,
        {"code": code, "minutes": str(CODE_SECONDS // 60)},
        account_id=asker,
    )
    begun = Begun(row.challenge_id)
    rows: list[Row] = [row, _mail_row(ports, purpose, letter, holder, row.made_at)]
    if context is not None and context.idempotency is not None:
        rows.append(context.idempotency.row(begun, begun.id, 0))  # version 0: of no event
    await ports.lookups.write(rows)
    return begun


def _challenge_row(
    ports: Ports,
    purpose: Purpose,
    waiting: Waiting,
    code: str,
    account_id: str | None,
    address_digest: bytes,
) -> ChallengeRow:
    """A challenge that begins now. Of its code a digest is kept; what waits is sealed."""
    now = ports.clock()
    id = new_id(ports, "reg" if purpose == "register" else "chl")
    sealed, master_key_id = ports.vault.seal_secret(msgspec.msgpack.encode(waiting), _bound_to(id))
    return ChallengeRow(
        challenge_id=id,
        purpose=purpose,
        address_digest=address_digest,
        account_id=account_id,
        code_digest=_code_digests(ports, id, code)[0],
        guesses_left=GUESSES,
        sealed=sealed,
        master_key_id=master_key_id,
        made_at=now,
        expires_at=now + timedelta(seconds=CODE_SECONDS),
    )


def _mail_row(
    ports: Ports, purpose: Purpose, letter: Mail, holder: str | None, now: datetime
) -> MailRow | MailForNobodyRow:
    """The mail of a challenge. There is one in every case, sealed with the same work, or the
    time that it takes would tell whether the address has a holder."""
    if purpose in _FOR_THE_FREE:
        # Whoever has the address learns that somebody typed it; who typed it learns nothing.
        # The code of this challenge is told to nobody then.
        if holder is not None:
            letter = Mail("address_taken", letter.to, account_id=holder)
        return mail_row(ports, letter, now)
    mail = mail_row(ports, letter, now)
    return mail if holder is not None else MailForNobodyRow(**msgspec.structs.asdict(mail))


async def judge(
    ports: Ports, challenge_id: str, purpose: Purpose, code: str, network: str | None = None
) -> Judged:
    """Whether this is the code. A wrong guess is counted, and the fifth is the last. WrongCode,
    whatever was wrong; TooManyAttempts of the network."""
    await may_guess(ports, network)
    challenge_id = _an_id(challenge_id)
    codes = _code_digests(ports, challenge_id, code)
    found = await ports.challenges.guess(challenge_id, (purpose,), codes, ports.clock())
    if found is None:
        await guessed_wrong(ports, network)
        raise WrongCode
    waiting = _open(ports, found.challenge_id, found.sealed, found.master_key_id)
    return Judged(
        found.challenge_id,
        found.account_id,
        waiting.address,
        waiting.payload,
        ChallengeSpentRow(found.challenge_id),
    )


async def verify(
    ports: Ports,
    challenge_id: str,
    code: str,
    purposes: Sequence[OtpPurpose] = OTP_PURPOSES,
    *,
    network: str | None = None,
) -> Verified:
    """Exchange the right code for a token. Of many at once one gets it. WrongCode;
    TooManyAttempts of the network."""
    await may_guess(ports, network)
    challenge_id = _an_id(challenge_id)
    token = "thv_" + urlsafe_b64encode(ports.entropy(32)).rstrip(b"=").decode()
    now = ports.clock()
    found = await ports.challenges.guess(
        challenge_id,
        purposes,
        _code_digests(ports, challenge_id, code),
        now,
        _token_digests(ports, token)[0],
        now + timedelta(seconds=TOKEN_SECONDS),
    )
    if found is None:
        await guessed_wrong(ports, network)
        raise WrongCode
    waiting = _open(ports, found.challenge_id, found.sealed, found.master_key_id)
    purpose = msgspec.convert(found.purpose, OtpPurpose)
    return Verified(token, purpose, found.account_id, waiting.address)


async def verify_newest(
    ports: Ports, address: str, purpose: OtpPurpose, code: str, *, network: str | None = None
) -> Verified:
    """The same for who knows the address and not the challenge's id: the newest counts, for two
    guesses. WrongCode, InvalidCommand, TooManyAttempts."""
    digests = ports.digests.claims(claims.EMAIL, claims.email(address))
    newest = await ports.challenges.newest(digests, purpose, ports.clock())
    subject = ports.digests.claims("otp-guess", newest or address)[0]
    if not (await hit(ports, "otp_guess", subject, GUESSES_BY_ADDRESS)).allowed:
        newest = None
    return await verify(ports, newest or _NOBODYS, code, (purpose,), network=network)


async def redeem(ports: Ports, token: str, purpose: OtpPurpose) -> Redeemed:
    """Whom this token proves, for this purpose. Nothing is spent before `Redeemed.spent` is
    committed, so a sign-in that lacks a second factor may come again with it.

    WrongCredentials for every token that is none, is over, was spent, is for another purpose,
    or proves an address that nobody has.
    """
    found = await ports.challenges.of_token(_token_digests(ports, token), purpose, ports.clock())
    if found is None or found.account_id is None:
        raise WrongCredentials
    address = _open(ports, found.challenge_id, found.sealed, found.master_key_id).address
    holder = await ports.lookups.claim_holder(
        claims.EMAIL, ports.digests.claims(claims.EMAIL, address)
    )
    if holder != found.account_id:  # the address has gone to somebody else since
        raise WrongCredentials
    return Redeemed(found.account_id, address, ChallengeSpentRow(found.challenge_id))


def _open(ports: Ports, id: str, sealed: bytes, master_key_id: str) -> Waiting:
    plain = ports.vault.open_secret(sealed, master_key_id, _bound_to(id))
    return msgspec.msgpack.decode(plain, type=Waiting)


def _an_id(text: str) -> str:
    """The id, or nobody's in the place of what can't be one: the same work, and no row."""
    return text if is_id("reg", text) or is_id("chl", text) else _NOBODYS


def _bound_to(challenge_id: str) -> str:
    return f"challenge:{challenge_id}"


def _code_digests(ports: Ports, challenge_id: str, code: str) -> list[bytes]:
    # Bound to the challenge: a code of one is none of another.
    plain = f"{challenge_id}:{code.strip()}".encode("utf-8", "replace").decode()
    return ports.digests.claims("challenge_code", plain)


def _token_digests(ports: Ports, token: str) -> list[bytes]:
    plain = token.encode("utf-8", "replace").decode()
    return ports.digests.claims("verification_token", plain)
