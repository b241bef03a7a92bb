"""The servers that `up` brings along: a real Postgres and a real NATS on one data folder.

    postgres = start_postgres(settings.data_dir, say)   # .url .process .stop() .restart()
    nats = start_nats(settings.data_dir, say)

Both are ready when the call returns, listen on loopback only, and die with this process, even when
it is killed with -9. Whatever stands in the way is a `StartError`: one sentence for the operator.
Call from the main thread: Linux ties the children's life to the thread that started them.
Standard library only, because the supervisor stays in memory as long as the servers run.
"""

from infra.embedded.child import ChildProcess, StartError
from infra.embedded.nats import RunningNats, start_nats
from infra.embedded.place import prepare_data_dir
from infra.embedded.postgres import RunningPostgres, start_postgres

__all__ = [
    "ChildProcess",
    "RunningNats",
    "RunningPostgres",
    "StartError",
    "prepare_data_dir",
    "start_nats",
    "start_postgres",
]
