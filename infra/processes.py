"""Which processes there are, and `up`, which runs all of them on one data folder."""

import os
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from infra.embedded import ChildProcess, start_nats, start_postgres
from infra.settings import Settings
from infra.supervisor import Supervisor, answers, bind, http_url


def up(settings: Settings, program: Path, say: Callable[[str], None]) -> None:
    """Postgres, NATS, serve and work on one data folder, until Ctrl-C; nothing is left behind.

    An engine whose address is set is not started. `program` is the file that is run for the
    processes of ours.
    """
    with (
        Supervisor(settings.data_dir, say) as supervisor,
        bind(settings.http_host, settings.http_port) as listener,
    ):
        nats_url, url = settings.nats_url, settings.database_url
        more_urls: dict[str, str] = {}
        taking_url = nats_url
        if url is None:
            postgres = start_postgres(settings.data_dir, say)
            supervisor.add(postgres.process)
            url = postgres.url
            say("Postgres is ready")
        if nats_url is None:
            nats = start_nats(settings.data_dir, say)
            supervisor.add(nats.process)
            nats_url, taking_url = nats.url, nats.commands_url
            more_urls = {"nats_reader_url": nats.reader_url, "nats_caller_url": nats.caller_url}
            say("NATS is ready")
        environment = {
            **os.environ,
            "TOLLHOUSE_DATA_DIR": str(settings.data_dir),
            "TOLLHOUSE_DATABASE_URL": url,
            "TOLLHOUSE_NATS_URL": nats_url,
        }
        # Serve processes publish nothing but answers, so they get a user who can't do more.
        taking = {**environment, "TOLLHOUSE_NATS_URL": taking_url or nats_url}
        processes = serving(settings, program, listener, taking, first=True)
        supervisor.add(*processes)
        supervisor.wait_until(lambda: answers(listener))
        work = ChildProcess("work", [sys.executable, program, "work"], env=environment)
        supervisor.add(work)
        supervisor.announce(http_url(listener), nats_url, url, processes, more_urls)
        say(f"Tollhouse is ready: {http_url(listener)}  (reference: {http_url(listener)}/docs)")
        supervisor.run()
        say("stopping")


def serve_many(settings: Settings, program: Path, say: Callable[[str], None]) -> None:
    """As many serve processes as the settings say, on one socket, until a signal."""
    with (
        Supervisor(settings.data_dir, say) as supervisor,
        bind(settings.http_host, settings.http_port) as shared,
    ):
        supervisor.add(*serving(settings, program, shared, os.environ, first=False))
        supervisor.run()


def serving(
    settings: Settings,
    program: Path,
    listener: socket.socket,
    environment: Mapping[str, str],
    *,
    first: bool,
) -> list[ChildProcess]:
    """The serve processes on this socket, not started yet."""
    descriptor = listener.fileno()
    words = ["serve", "--fd", str(descriptor), *(["--first"] if first else [])]
    return [
        ChildProcess(
            f"serve {number}",
            [sys.executable, program, *words],
            env=environment,
            pass_fds=[descriptor],
        )
        for number in range(1, settings.serve_processes + 1)
    ]
