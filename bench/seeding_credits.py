"""Credits for benchmark accounts."""

import os
from collections.abc import Sequence

from application import credits
from application.deciding import SYSTEM, Context
from application.ports import Ports
from domain.credits import GrantCredits


async def grant(ports: Ports, account_ids: Sequence[str], amount: int) -> int:
    """So many hundredths to each of these accounts; the position that has all of them."""
    position = 0
    for account_id in account_ids:
        context = Context(principal=SYSTEM, command_id=f"bench-{os.urandom(8).hex()}")
        _, position = await credits.grant(ports, context, account_id, GrantCredits(amount=amount))
    return position
