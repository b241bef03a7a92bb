"""The lake jobs in a process of their own, which a fault test kills.

    python -m tests.faults.lake_process DATABASE_URL DATA_DIR FAILPOINT

Ends by itself, with 0, once the snapshot shows both logs to their ends.
"""

import asyncio
import sys
from pathlib import Path

from infra.failpoints import failpoint
from infra.lake import compaction
from tests.infra.lake_logs import caught_up, following, jobs_of


async def main(url: str, data_dir: Path, setting: str) -> None:
    written, planned, placed, merged = (
        failpoint(setting, f"lake.{name}") for name in ("written", "planned", "placed", "merged")
    )
    jobs = jobs_of(url, data_dir, written=written, planned=planned, placed=placed, merged=merged)
    done = caught_up(url, data_dir)

    async def ended() -> bool:
        # A test that dies while merging has to get there; nothing else says when it has.
        return not setting.startswith("lake.merged") and await done()

    await following(url, jobs, ended, 30)


if __name__ == "__main__":
    compaction.LOOK_SECONDS = 0.2
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
