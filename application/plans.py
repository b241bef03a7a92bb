"""Plans: what is published. The shipped ones are published by the first start."""

import asyncio

from application.deciding import PLAN, SYSTEM, Context, change, commit, fresh, load
from application.errors import VersionConflict
from application.ports import Ports
from domain import plans


async def publish_shipped(ports: Ports, command_id: str) -> list[str]:
    """Publish the shipped plans that have never been published; answers their names."""
    missing = [
        event
        for event in plans.SHIPPED
        if (await load(ports, PLAN, plans.stream(event.name))).state is None
    ]
    if not missing:
        return []
    now = ports.clock()
    changes = [
        change(fresh(PLAN, plans.stream(event.name)), [event], now, None) for event in missing
    ]
    try:
        await commit(ports, Context(principal=SYSTEM, command_id=command_id), now, changes)
    except VersionConflict:
        # Another process starts at the same moment, and was first: what it made is seen soon.
        for _ in range(100):
            if all(ports.directory.plan(event.name) for event in missing):
                break
            await asyncio.sleep(0.05)
        return []
    return [event.name for event in missing]
