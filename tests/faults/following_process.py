"""A process that follows for read models, for tests that kill it.

python -m tests.faults.following_process DATABASE_URL PAGE FAILPOINT NAME...
"""

import asyncio
import sys

from infra.failpoints import failpoint
from infra.followers import hold, keep, read_models
from infra.followers.read_models import ReadModelJob
from tests.infra.following import MODELS, taking


async def follow(url: str, setting: str, names: list[str]) -> None:
    """For ever, or up to the failpoint."""
    written = failpoint(setting, "followers.written")
    take = taking(url)
    await asyncio.gather(*(keep(ReadModelJob(MODELS[name], written), take) for name in names))


if __name__ == "__main__":
    _, url, page, setting, *names = sys.argv
    read_models.PAGE = int(page)
    hold.RETRY_LOCK_SECONDS = 0.02
    asyncio.run(follow(url, setting, names))
