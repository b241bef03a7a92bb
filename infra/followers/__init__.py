"""Following the logs: one hold a follower, one checkpoint, one way to fail.

A follower is a `Job`: it is run with a `Hold`, which is one direct connection that has the
follower's advisory lock, reads its log from the checkpoint, and moves the checkpoint. When
anything breaks, the connection goes and the lock with it; `keep` takes the hold anew and the
job goes on from what was committed. So a job keeps nothing that must survive.

    hold.py         the lock, the reading, the checkpoint
    keeping.py      runs jobs for ever: backoff, poison, alarm
    read_models.py  the job that feeds a projection into Postgres tables
    rebuild.py      makes such tables anew beside the live ones, compares, switches
    standing.py     how far everybody is, for health and the command line
"""

from infra.followers.hold import Fenced as Fenced
from infra.followers.hold import Hold as Hold
from infra.followers.hold import Log as Log
from infra.followers.hold import Poison as Poison
from infra.followers.hold import Step as Step
from infra.followers.hold import taken as taken
from infra.followers.keeping import Job as Job
from infra.followers.keeping import keep as keep
