"""Traffic in the background of a fault: verifications and commands, and what was acknowledged."""

import json
import threading
import time
from collections import Counter
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from types import TracebackType

from tests.faults.running import (
    ADMIN,
    SERVICE_KEY,
    Up,
    customer,
    grant_credits,
    issue_key,
    wait_for,
)

CLIENTS = 4


class Traffic:
    """A few clients that verify one metered key, every other time for an operation that costs
    credits; one that makes keys, and one that sets credits aside and captures part of them.

    `valid` are the verifications that were answered VALID, by key id, and `asked` how many were
    asked in all; `commands` the positions that were answered, with the stream that each is of.
    """

    def __init__(self, up: Up, limit: int = 1_000_000) -> None:
        self._up = up
        with up.client() as client:
            body = {"email": ADMIN[0], "password": ADMIN[1]}
            self._token = client.post("/v1/auth/login", json=body).json()["access_token"]
            self._account = customer(client, self._token)
            grant_credits(client, self._account, "100000.00")
            self._secret = issue_key(
                client,
                account_id=self._account,
                quota={"limit": limit, "period": "lifetime"},
            )
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._verify) for _ in range(CLIENTS)]
        self._threads.append(threading.Thread(target=self._issue))
        self._threads.append(threading.Thread(target=self._hold))
        self._lock = threading.Lock()
        self.valid: Counter[str] = Counter()
        self.asked = 0
        self.commands: dict[int, str] = {}

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        self.more()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def more(self, verifications: int = 50, seconds: float = 30) -> None:
        """Wait until so many more were answered VALID, and a command was."""
        before, commands = self.valid.total(), len(self.commands)
        wait_for(
            lambda: self.valid.total() >= before + verifications and len(self.commands) > commands,
            seconds,
            self._up.words,
        )

    def _verify(self) -> None:
        headers = {"X-Api-Key": SERVICE_KEY}
        while not self._over.is_set():
            with self._lock:
                self.asked += 1
            body = {"key": self._secret}
            if self.asked % 2:
                body["operation"] = "api_call"
            found = self._post("/v1/keys/verify", body, headers)
            if found is not None and found[1].get("code") == "VALID":
                with self._lock:
                    self.valid[found[1]["key_id"]] += 1

    def _issue(self) -> None:
        headers = {"Authorization": f"Bearer {self._token}"}
        while not self._over.is_set():
            found = self._post("/v1/keys", {"name": "traffic"}, headers)
            if found is not None and "id" in found[1]:
                self.commands[found[0]] = found[1]["id"]
            time.sleep(0.02)

    def _hold(self) -> None:
        headers = {"X-Api-Key": SERVICE_KEY}
        while not self._over.is_set():
            body = {"account_id": self._account, "amount": "1.00"}
            held = self._post("/v1/credits/holds", body, headers)
            if held is not None and "id" in held[1]:
                path = f"/v1/credits/holds/{held[1]['id']}/capture"
                self._post(path, {"amount": "0.40"}, headers)
            time.sleep(0.02)

    def _post(
        self, path: str, body: dict[str, str], headers: dict[str, str]
    ) -> tuple[int, dict[str, str]] | None:
        """The position and the body of an answer; None if there is none."""
        address = self._up.facts["http_url"].removeprefix("http://")
        connection = HTTPConnection(address, timeout=20)
        with suppress(OSError, HTTPException):
            try:
                whole = {"Content-Type": "application/json", **headers}
                connection.request("POST", path, json.dumps(body), whole)
                reply = connection.getresponse()
                position = (reply.headers.get("Tollhouse-Position") or ":0").rpartition(":")[2]
                return int(position), json.loads(reply.read())
            finally:
                connection.close()
        return None
