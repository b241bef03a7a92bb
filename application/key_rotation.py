"""Rotation: another secret for the same key; and digesting the secrets of imported keys anew."""

import hmac

import msgspec

from application.api_keys import not_of_others_on_staff, visible
from application.deciding import (
    API_KEY,
    SYSTEM,
    Context,
    change,
    commit,
    load,
    new_id,
    retrying,
)
from application.ports import Ports
from application.rows import KeyDigestRow
from domain import key_format, key_lineage
from domain.api_keys import ApiKey
from domain.errors import NotPermitted, Taken
from domain.key_lineage import Secret

ROTATING = "keys.issue"
"""What a service needs to rotate: whoever rotates holds a secret that works, as from issuing."""


class RotatedApiKey(msgspec.Struct, frozen=True):
    """A key with its new secret: the only time that it is seen."""

    secret: str
    key: ApiKey


async def rotate(
    ports: Ports,
    context: Context,
    key_id: str,
    overlap_seconds: int = 0,
    reason: str | None = None,
) -> tuple[RotatedApiKey, int]:
    """Give a key another secret; the present one works on for so long. Answers the key with its
    new secret, and the position.

    Its digest stays findable, so that it is known as the old one later, too. Raises NotFound,
    NotPermitted, KeyRevoked, InvalidCommand.
    """

    async def attempt() -> tuple[RotatedApiKey, int]:
        stream = await load(ports, API_KEY, key_id)
        key = visible(context.principal, key_id, stream.state, ROTATING)
        not_of_others_on_staff(ports, context.principal, key.account_id)
        if key.kind == "service" and not context.principal.may("keys.service"):
            raise NotPermitted("keys.service")  # else a service could take another's rights
        prefix = key_format.prefix_of(key.hint) or ports.policy.key_prefix
        entropy = ports.entropy(key_format.SECRET_BYTES)
        secret = key_format.compose(prefix, key.environment, entropy)
        digest = ports.digests.key(secret)
        new = Secret(digest, ports.digests.pepper_id, key_format.hint(secret))
        now = ports.clock()
        events = key_lineage.rotate(key, new, overlap_seconds, now)
        changed = change(stream, events, now, key.account_id)
        result = RotatedApiKey(secret, changed.state)
        rows = [KeyDigestRow(digest, key_id)]
        position = await commit(ports, context, now, [changed], rows, result=result, reason=reason)
        return result, position

    return await retrying(attempt)


async def rehash(ports: Ports, key_id: str, secret: str) -> None:
    """Digest the secret of an imported key as we do our own, now that it was seen.

    Nothing happens where that is done already, or where it isn't this key's present secret.
    """

    async def attempt() -> None:
        stream = await load(ports, API_KEY, key_id)
        key = stream.state
        if key is None or key.algorithm is None:
            return
        foreign = ports.digests.foreign(secret, (key.algorithm,))
        if not any(hmac.compare_digest(key.digest, each) for each in foreign):
            return
        digest = ports.digests.key(secret)
        events = key_lineage.rehash(key, digest, ports.digests.pepper_id)
        if not events:
            return
        now = ports.clock()
        context = Context(principal=SYSTEM, command_id=new_id(ports, "cmd"))
        changed = change(stream, events, now, key.account_id)
        try:
            await commit(ports, context, now, [changed], [KeyDigestRow(digest, key_id)])
        except Taken:
            # Another process was faster with this one; or two keys have the same secret, and
            # this one stays as it was imported.
            return

    await retrying(attempt)
