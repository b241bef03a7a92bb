"""Throttles of signing in and of codes (SECURITY 4), shared by all processes, in Postgres.

How a sign-in by password uses them (`application/signing_in.py`):

    attempt = await check_login(ports, digest_of_name(ports, name), network, account_id,
                                second_factor=bool(totp or recovery_code))
    # raises SignInsThrottled: nothing may be judged. Else judge, and then exactly one of these:
    raise await login_failed(ports, attempt)        # password or second factor was wrong
    await login_undone(ports, attempt)              # MFA_REQUIRED, Overloaded, account not active
    rows += login_succeeded(ports, attempt, now)    # in the commit that starts the session

Two rules for the caller. A `guarded` attempt opens only where a second factor of the account was
judged right as well, and every failure of it (no factor enrolled, wrong password, wrong code) is
answered by what `login_failed` returns, so that nothing is learned from which part it was. And
sign-ins that guess nothing (a `verification_token`, a passkey) don't come here before they are
judged: that is how a locked account stays open to its owner. They report `opened` afterwards.

A try is counted as failed when it begins, and taken back when it turns out well. So any number of
guesses at once is counted like one after the other, and a process that dies takes nothing with it.
"""

from datetime import datetime, timedelta
from functools import partial

from application.accounts import load_person
from application.deciding import SYSTEM, Context, change, commit, new_id, retrying
from application.errors import ApplicationError, SignInsThrottled, TooManyAttempts, WrongCredentials
from application.mail import Mail, mail_row
from application.ports import Ports
from application.rows import KnownNetworkRow, LockToldRow, Row, SignInsClearedRow
from application.throttle_ports import (
    HOUR_SECONDS,
    LockToTell,
    SignInBegun,
    SignInTry,
    Throttled,
    ThrottleName,
    ThrottleStanding,
)
from domain import claims
from domain.account_events import SignInsRefused
from domain.errors import InvalidCommand

TOLD_AT_ONCE = 100


class LoginTry:
    """A sign-in by password under way; made by `check_login`, ended by one of the others."""

    def __init__(self, attempt: SignInTry, begun: SignInBegun) -> None:
        self.attempt = attempt
        self.begun = begun

    @property
    def guarded(self) -> bool:
        """The password alone opens nothing now; with a second factor it does."""
        return self.begun.verdict == "guarded"


def digest_of_name(ports: Ports, name: str) -> bytes:
    """What the failures of this address or username are counted under, whoever has it.

    By the name that was given and not by the account, or locking an address would tell whose
    username is locked with it; however it was spelled, or each spelling would be tries anew.
    """
    try:
        _, text = claims.of_name(name)
    except InvalidCommand:  # then it is nobody's
        text = name.encode("utf-8", "replace").decode().strip().lower()[:400]
    return ports.digests.claims("sign-in", text)[0]


def digest_of_own(ports: Ports, account_id: str) -> bytes:
    """What the guesses of who is signed in to this account already are counted under: nobody
    else can count there."""
    return ports.digests.claims("sign-in-own", account_id)[0]


def digest_of_address(ports: Ports, email: str) -> bytes:
    """What codes to this address (as `domain.claims.email` gives it) are counted under."""
    return ports.digests.claims("otp", email)[0]


async def check_login(
    ports: Ports,
    name_digest: bytes,
    network: str,
    account_id: str | None,
    *,
    second_factor: bool = False,
) -> LoginTry:
    """Count a sign-in by password before it is judged. `second_factor`: one came with it.

    The same work for names that nobody has. Raises SignInsThrottled, StoreUnavailable.
    """
    attempt = _try(ports, name_digest, network, account_id, second_factor)
    begun = await ports.throttles.begin_sign_in(ports.policy.throttles, attempt, ports.clock())
    if begun.verdict != "open" and begun.verdict != "guarded":
        raise SignInsThrottled(begun.verdict, begun.limit, begun.wait_seconds)
    return LoginTry(attempt, begun)


async def login_failed(ports: Ports, login: LoginTry) -> ApplicationError:
    """It was wrong; answers what to raise: WrongCredentials, or what the guard says."""
    await ports.throttles.fail_sign_in(ports.policy.throttles, login.attempt, ports.clock())
    if login.guarded:
        return SignInsThrottled("locked", login.begun.limit, login.begun.wait_seconds)
    return WrongCredentials()


async def login_undone(ports: Ports, login: LoginTry) -> None:
    """It was not judged, or is not over: it counts as if it had not been."""
    if not login.guarded:
        await ports.throttles.undo_sign_in(ports.policy.throttles, login.begun.subject)


def login_succeeded(ports: Ports, login: LoginTry, now: datetime) -> list[Row]:
    """Rows for the commit that starts the session: the failures are over, and the account is
    known in this network."""
    attempt = login.attempt
    if attempt.account_id is None:
        raise ValueError("nobody signed in")
    return _opened(ports, attempt.account_id, attempt.known[0], now)


def opened(ports: Ports, account_id: str, network: str | None, now: datetime) -> list[Row]:
    """The same for a way in that was not counted: a code by mail, a passkey, and, without a
    network, a password that was reset."""
    digest = None if network is None else _known(ports, account_id, network)[0]
    return _opened(ports, account_id, digest, now)


async def otp_requested(
    ports: Ports, address_digest: bytes, network: str, account_id: str | None = None
) -> list[ThrottleStanding]:
    """Count a code that is asked for, whether or not anybody has the address.

    Raises TooManyAttempts when this network asked for too many to this address, or all networks
    together did. `address_digest` is from `digest_of_address`, `account_id` who has the address.
    The networks that this account is known in are counted together, apart from all others: no
    stranger elsewhere can use up what its owner may ask for. The same work where nobody has it.
    """
    throttles = ports.policy.throttles
    pair = ports.digests.claims("otp-network", f"{address_digest.hex()}:{network}")[0]
    apart = ports.digests.claims("otp-known", address_digest.hex())[0]
    together = address_digest
    if throttles.otp_per_hour_address:
        digests = _known(ports, account_id or f"nobody:{address_digest.hex()}", network)
        if await ports.throttles.knows(digests, ports.clock()):
            together = apart
    wanted = [
        Throttled("otp", pair, throttles.otp_per_hour),
        Throttled("otp_address", together, throttles.otp_per_hour_address),
    ]
    return await count(ports, wanted)


async def may_guess(ports: Ports, network: str | None) -> None:
    """Whether this network may present codes that were mailed; without one it isn't asked.

    Codes are short: a few guesses at each of very many addresses would be right now and then.
    Raises TooManyAttempts.
    """
    for each in await ports.throttles.peek(_wrong_codes(ports, network), ports.clock()):
        if not each.allowed:
            raise TooManyAttempts(each.name, each.limit, HOUR_SECONDS, each.resets_in)


async def guessed_wrong(ports: Ports, network: str | None) -> None:
    """Count a wrong code for its network."""
    if wanted := _wrong_codes(ports, network):
        await ports.throttles.hit(wanted, ports.clock())


def _wrong_codes(ports: Ports, network: str | None) -> list[Throttled]:
    limit = ports.policy.throttles.failed_logins_per_hour
    if network is None or not limit:
        return []
    return [Throttled("wrong_code", ports.digests.claims("code-network", network)[0], limit)]


async def count(ports: Ports, wanted: list[Throttled]) -> list[ThrottleStanding]:
    """Count one more of each; those with a limit of 0 are not counted. Raises TooManyAttempts."""
    limited = [each for each in wanted if each.limit]
    if not limited:
        return []
    standings = await ports.throttles.hit(limited, ports.clock())
    refused = [each for each in standings if not each.allowed]
    if refused:
        worst = max(refused, key=lambda each: each.resets_in)
        raise TooManyAttempts(worst.name, worst.limit, HOUR_SECONDS, worst.resets_in)
    return standings


async def hit(ports: Ports, name: ThrottleName, subject: bytes, limit: int) -> ThrottleStanding:
    """Count one more of this subject, and say how it stands. Raises nothing over the limit."""
    standings = await ports.throttles.hit([Throttled(name, subject, limit)], ports.clock())
    return standings[0]


async def tell_locks(ports: Ports) -> int:
    """Put locks of accounts into their history, each once, and tell the owners by mail; how many.

    Not done by the sign-in that failed: that takes the same time whether or not there is such an
    account. The housekeeper of `serve` calls this every few seconds.
    """
    told = await ports.throttles.locks_to_tell(ports.clock(), TOLD_AT_ONCE)
    trouble: list[Exception] = []
    for lock in told:
        try:
            await retrying(partial(_tell, ports, lock))
        except Exception as error:  # those behind it are told all the same
            trouble.append(error)
    if trouble:
        raise trouble[0]
    return len(told)


async def _tell(ports: Ports, lock: LockToTell) -> None:
    now = ports.clock()
    told = LockToldRow(lock.subject)
    stream, person = await load_person(ports, lock.account_id)
    if person.account.status == "erased":
        await ports.lookups.write([told])
        return
    event = SignInsRefused(failures=lock.failures, locked_until=lock.locked_until)
    context = Context(principal=SYSTEM, command_id=new_id(ports, "cmd"))
    rows: list[Row] = [told]
    if person.email:
        # One a day: whoever guesses must not be able to fill the owner's mailbox.
        once = f"locked:{lock.account_id}:{now.date()}"
        values = {"until": f"{lock.locked_until:%Y-%m-%d %H:%M} UTC"}
        mail = Mail("locked_out", person.email, values, lock.account_id, once)
        rows.append(mail_row(ports, mail, now))
    await commit(ports, context, now, [change(stream, [event], now, lock.account_id)], rows)


def _try(
    ports: Ports, name: bytes, network: str, account_id: str | None, second_factor: bool
) -> SignInTry:
    by_network = ports.digests.claims("sign-in-network", network)[0]
    alone = ports.digests.claims("sign-in-alone", f"{name.hex()}:{network}")[0]
    # Nobody's name takes the place of an id: the same work, and found nowhere.
    known = _known(ports, account_id or f"nobody:{name.hex()}", network)
    return SignInTry(account_id, name, by_network, alone, tuple(known), second_factor)


def _known(ports: Ports, account_id: str, network: str) -> list[bytes]:
    return ports.digests.claims("known-network", f"{account_id}:{network}")


def _opened(ports: Ports, account_id: str, known: bytes | None, now: datetime) -> list[Row]:
    rows: list[Row] = [SignInsClearedRow(account_id)]
    if known is not None:
        until = now + timedelta(days=ports.policy.throttles.known_network_days)
        rows.append(KnownNetworkRow(known, account_id, until))
    return rows
