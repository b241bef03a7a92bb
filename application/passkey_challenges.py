"""Challenges of passkey ceremonies: made without a row, good for five minutes and for one use.

A challenge is random, says until when it is good, and is signed by us for one purpose (a MAC
under the pepper). So whoever asks for a thousand leaves nothing behind; only those that were
used are kept (`FactorStore.use_challenge`), until their time is over anyhow.
"""

import hmac
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from application.ports import Ports

Purpose = Literal["sign_in", "register"]

TTL_SECONDS = 300
_NONCE = 24
_TIME = 8
_KIND = "passkey_challenge"


class Challenge(NamedTuple):
    """A challenge of ours that is good now. `digest` is what remembers that it was used."""

    digest: bytes
    expires_at: datetime


def make(ports: Ports, purpose: Purpose, account_id: str = "") -> bytes:
    """A new challenge, for this account only where one is named."""
    until = int(ports.clock().timestamp()) + TTL_SECONDS
    body = ports.entropy(_NONCE) + until.to_bytes(_TIME, "big")
    return body + _macs(ports, body, purpose, account_id)[0]


def opened(ports: Ports, given: bytes, purpose: Purpose, account_id: str = "") -> Challenge | None:
    """The challenge, if we made it for this and its time is not over."""
    body, mac = given[: _NONCE + _TIME], given[_NONCE + _TIME :]
    if not any(hmac.compare_digest(each, mac) for each in _macs(ports, body, purpose, account_id)):
        return None
    until = int.from_bytes(body[_NONCE:], "big")
    if until < ports.clock().timestamp():
        return None
    return Challenge(body[:_NONCE], datetime.fromtimestamp(until, UTC))


def _macs(ports: Ports, body: bytes, purpose: Purpose, account_id: str) -> list[bytes]:
    return ports.digests.claims(_KIND, f"{purpose}:{account_id}:{body.hex()}")
