"""Registration by people themselves: at once, or only after their address was proven.

Where proof is required, a registration waits, sealed, as a challenge. It reserves nothing: the
account is made, and its address and username are judged, when the code comes back.
"""

import msgspec

from application import accounts, challenges
from application.accounts import RegisterAccount, Registered, words_of_command
from application.challenges import Begun
from application.deciding import Context
from application.errors import WrongCode, WrongCredentials
from application.password_rules import require_acceptable
from application.ports import Ports
from application.throttling import digest_of_address, otp_requested
from domain import claims, profiles
from domain.profiles import Profile


class Pending(msgspec.Struct, frozen=True):
    """What waits for the proof of its address; the password is hashed already."""

    hash: str
    username: str | None
    profile: Profile


async def register(
    ports: Ports, context: Context, command: RegisterAccount, network: str
) -> tuple[Registered | Begun, int]:
    """Make an account, or, where addresses must be proven, begin to; with the position.

    Begun is the answer whether or not somebody has the address: whoever has it gets a mail.
    Raises InvalidCommand, TooManyAttempts, Overloaded, and, where nothing is to be proven, Taken.
    """
    if not ports.policy.require_verified_email:
        return await accounts.register(ports, context, command)
    return await begin(ports, context, command, network), ports.directory.position


async def begin(ports: Ports, context: Context, command: RegisterAccount, network: str) -> Begun:
    """Mail a code to the address, and keep the rest, sealed, until it comes back."""
    address = claims.email(command.email)
    username = None if command.username is None else claims.username(command.username)
    profile = profiles.checked(command.profile)
    if command.password is None:
        raise ValueError("people register with a password")
    # Before the work of judging and hashing, which is the same whoever has the address.
    holder = await ports.lookups.claim_holder(
        claims.EMAIL, ports.digests.claims(claims.EMAIL, address)
    )
    await otp_requested(ports, digest_of_address(ports, address), network, holder)
    await require_acceptable(ports, command.password, words_of_command(command))
    hash = await ports.passwords.hash(command.password)
    payload = msgspec.msgpack.encode(Pending(hash, username, profile))
    return await challenges.begin(ports, "register", address, payload, context=context)


async def confirm(
    ports: Ports,
    context: Context,
    registration_id: str,
    code: str,
    username: str | None = None,
    network: str | None = None,
) -> tuple[Registered, int]:
    """Make the account of a registration that waits; answers it and the position.

    `username` is in the place of the one that was asked for: what was free then may be taken
    now, and a code that was right stays right after Taken. Raises WrongCode, Taken,
    InvalidCommand, TooManyAttempts of the network.
    """
    judged = await challenges.judge(ports, registration_id, "register", code, network)
    pending = msgspec.msgpack.decode(judged.payload, type=Pending)
    command = RegisterAccount(
        email=judged.address,
        password=None,
        username=pending.username if username is None else username,
        profile=pending.profile,
        email_verified=True,
    )
    try:
        return await accounts.make_account(
            ports, context, command, hash=pending.hash, rows=[judged.spent]
        )
    except WrongCredentials:  # another request with this code was first
        raise WrongCode from None
