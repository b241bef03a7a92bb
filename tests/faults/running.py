"""A real `up` in a test: started as a user starts it, and always stopped."""

import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import psutil
import psycopg

from infra.embedded import start_postgres
from infra.embedded.place import prepare_data_dir

ROOT = Path(__file__).parents[2]
ADMIN = ("admin@example.com", "the first admin's password")
SERVICE_KEY = "a-service-key-of-the-settings-long-enough-to-be-no-joke"


class Up:
    """`python main.py up` on a folder of its own; leaving the block stops it."""

    def __init__(self, data_dir: Path, **settings: str) -> None:
        self.data_dir = data_dir
        self.log = data_dir.parent / f"{data_dir.name}.log"
        self._settings = settings

    def __enter__(self) -> "Up":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def environment(self) -> dict[str, str]:
        """What `up`, and any other command on the same folder, is started with."""
        clean = {name: value for name, value in os.environ.items() if "TOLLHOUSE" not in name}
        return {
            **clean,
            "TOLLHOUSE_ENVIRONMENT": "test",
            "TOLLHOUSE_DATA_DIR": str(self.data_dir),
            "TOLLHOUSE_HTTP_PORT": "0",
            # All of a test's people come from one address; limits have tests of their own.
            "TOLLHOUSE_RATE_LIMIT_PER_MINUTE": "0",
            "TOLLHOUSE_KEYS_PER_HOUR": "0",
            "TOLLHOUSE_OTP_PER_HOUR": "0",
            "TOLLHOUSE_OTP_PER_HOUR_ADDRESS": "0",
            "TOLLHOUSE_FAILED_LOGINS_PER_HOUR": "0",
            "TOLLHOUSE_GLOBAL_FAILED_LOGINS_PER_HOUR": "0",
            "TOLLHOUSE_LOCKOUT_AFTER": "0",
            "TOLLHOUSE_ADMIN_EMAIL": ADMIN[0],
            "TOLLHOUSE_ADMIN_PASSWORD": ADMIN[1],
            "TOLLHOUSE_SERVICE_KEY": SERVICE_KEY,
            "TOLLHOUSE_ARGON2_MEMORY_KIB": "7168",
            "TOLLHOUSE_ARGON2_TIME": "1",
            **{f"TOLLHOUSE_{name}": value for name, value in self._settings.items()},
        }

    def start(self, **settings: str) -> None:
        """Start it, and wait until it is ready."""
        self._settings |= settings
        if not self.data_dir.exists():
            _give_a_cluster(self.data_dir)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "main.py"), "up"],
                env=self.environment(),
                stdout=log,
                stderr=log,
                cwd=ROOT,
            )
        wait_for(self._ready, 60, self.words)

    def _ready(self) -> bool:
        assert self.process.poll() is None, self.words()
        try:
            return bool(self.facts["pid"] == self.process.pid)  # not those of one that was killed
        except (OSError, ValueError):
            return False

    def words(self) -> str:
        """What it has said."""
        return self.log.read_text(errors="replace")

    @property
    def facts(self) -> dict[str, Any]:
        """up.json as it is now."""
        found: dict[str, Any] = json.loads((self.data_dir / "up.json").read_text())
        return found

    def tree(self) -> list[psutil.Process]:
        """Every process that it has started, and itself."""
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]

    def postgres(self) -> psutil.Process:
        """The postmaster."""
        return next(
            each
            for each in psutil.Process(self.process.pid).children()
            if each.name() == "postgres"
        )

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Another command on the same folder."""
        return subprocess.run(
            [sys.executable, str(ROOT / "main.py"), *words],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=ROOT,
        )

    def client(self) -> httpx.Client:
        """A client of it, without a credential."""
        return httpx.Client(base_url=self.facts["http_url"], timeout=10)

    def database(self) -> psycopg.Connection:
        """Its database."""
        url = f"{self.facts['database_url']}?options=-csearch_path%3Dtollhouse"
        return psycopg.connect(url, autocommit=True)

    def stop(self, with_signal: int = signal.SIGTERM) -> int:
        """Stop it, and wait until it has ended; answers its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(with_signal)
        return self.process.wait(30)


def _give_a_cluster(data_dir: Path) -> None:
    """What the first start makes of Postgres is there already: a copy takes a tenth of the time."""
    made = _made_cluster()
    prepare_data_dir(data_dir)
    for part in ("postgres", "secrets"):
        subprocess.run(["cp", "-a", made / part, data_dir / part], check=True)
    (data_dir / "postgres/port").unlink()  # else all would begin with the same one


@cache
def _made_cluster() -> Path:
    """The data folder of a Postgres that was made, and stopped before anybody used it."""
    folder = Path(tempfile.mkdtemp(prefix="tollhouse-cluster-"))
    atexit.register(shutil.rmtree, folder)
    folder.chmod(0o755)  # Postgres's user has to enter it
    start_postgres(folder / "data", lambda line: None).stop()
    return folder / "data"


def wait_for(true: Any, seconds: float, explain: Any = lambda: "") -> None:
    """Return when it is true; fail after so many seconds."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, explain()
        time.sleep(0.02)


def all_gone(processes: list[psutil.Process], seconds: float = 30) -> None:
    """Fail unless all of these end in time."""
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    assert not alive, alive


def issue_key(client: httpx.Client, plan_account: str | None = None, **fields: Any) -> str:
    """A key of the admin's (whose plan has no limits); answers its secret."""
    token = client.post("/v1/auth/login", json={"email": ADMIN[0], "password": ADMIN[1]}).json()[
        "access_token"
    ]
    reply = client.post(
        "/v1/keys",
        json={"name": "test", "reason": "a test needs one", **fields},
        headers={"authorization": f"Bearer {token}"},
    )
    assert reply.status_code == 201, reply.text
    return str(reply.json()["key"])


def customer(client: httpx.Client, admin_token: str) -> str:
    """The id of a new account on a plan with room for more than a test needs."""
    headers = {"authorization": f"Bearer {admin_token}"}
    plan = {
        "name": "roomy",
        "tier": "pro",
        "title": "Roomy",
        "entitlements": {"keys": None, "operation_costs": {"api_call": "0.10"}},
    }
    if client.get("/v1/plans/roomy").status_code == 404:
        made = client.post("/v1/plans", json=plan, headers=headers)
        assert made.status_code == 201, made.text
    person = {
        "email": f"customer{time.time_ns()}@example.org",
        "password": "correct horse battery staple",
    }
    reply = client.post("/v1/auth/register", json=person)
    assert reply.status_code == 201, reply.text
    account_id: str = reply.json()["account"]["id"]
    assigned = client.put(
        f"/v1/accounts/{account_id}/plan",
        json={"plan": "roomy", "reason": "for a test"},
        headers=headers,
    )
    assert assigned.status_code == 200, assigned.text
    return account_id


def grant_credits(client: httpx.Client, account_id: str, amount: str) -> None:
    """Give the account so many credits."""
    reply = client.post(
        "/v1/credits/grants",
        json={"account_id": account_id, "amount": amount},
        headers={"X-Api-Key": SERVICE_KEY},
    )
    assert reply.status_code == 201, reply.text


def verify(client: httpx.Client, key: str) -> httpx.Response:
    """Verify a key as the service does."""
    return client.post("/v1/keys/verify", json={"key": key}, headers={"x-api-key": SERVICE_KEY})
