"""Whether time tells who has an account: SECURITY 3.

Two kinds of people take turns at each door, one with an account and one without, in an order that
is drawn. What their answers took is compared by the AUC: the chance that an answer to somebody with
an account took longer than one to somebody without. 0.5 tells nothing.
"""

import http.client
import json
import random
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

import msgspec

from bench.ground import Ground, tollhouse
from bench.logins import shipped
from bench.machine import Cores
from bench.seeding import Seeded

LEAST, MOST = 0.45, 0.55
WARM_UP = 40
WRONG = "a wrong password, long enough"
# Counted, and never enough: where a limit is off, its counting is, too.
COUNTED = {
    f"TOLLHOUSE_{name}": "1000000"
    for name in (
        "FAILED_LOGINS_PER_HOUR",
        "GLOBAL_FAILED_LOGINS_PER_HOUR",
        "OTP_PER_HOUR",
        "OTP_PER_HOUR_ADDRESS",
        "RATE_LIMIT_PER_MINUTE",
    )
}


class Door(msgspec.Struct, frozen=True):
    """What a door answered, in median milliseconds, and how well time tells the two apart."""

    name: str
    samples: int
    known_ms: float
    unknown_ms: float
    auc: float
    statuses: list[int]

    @property
    def holds(self) -> bool:
        """The time tells nothing, and neither does the status."""
        return LEAST <= self.auc <= MOST and len(self.statuses) == 1


class Timing(msgspec.Struct, frozen=True):
    """All doors, and where they were measured."""

    machine: str
    doors: list[Door]


Body = Callable[[str], dict[str, str]]

DOORS: dict[str, tuple[str, Body]] = {
    "sign in": ("/v1/auth/login", lambda name: {"email": name, "password": WRONG}),
    "code to sign in": ("/v1/auth/otp", lambda name: {"email": name, "purpose": "sign_in"}),
    "code to reset": ("/v1/auth/otp", lambda name: {"email": name, "purpose": "reset_password"}),
    "guess a code": (
        "/v1/auth/otp/verify",
        lambda name: {"email": name, "purpose": "sign_in", "code": "000000"},
    ),
    "register": (
        "/v1/auth/register",
        lambda name: {"email": name, "password": "correct horse battery staple 7"},
    ),
}


def measure(
    on: Ground, people: Seeded, cores: Cores, samples: int, say: Callable[[str], None]
) -> list[Door]:
    """Every door with so many samples, half of each kind; verified addresses are required."""
    strict = shipped(on, TOLLHOUSE_REQUIRE_VERIFIED_EMAIL="true", **COUNTED)
    known = [f"{key.account_id}@bench.example" for key in people.keys]
    everywhere = cores.server | cores.postgres | cores.load
    length = len(known[0].partition("@")[0]) - len("acct_")
    # As long as the known ones, and nobody's. The same at each door: a code that was asked for at
    # one of them waits at the next, whoever it was for.
    unknown = [f"acct_{random.randbytes(length).hex()[:length]}@bench.example" for _ in known]
    found = []
    for number, (name, (path, body)) in enumerate(DOORS.items()):
        with tollhouse(strict, everywhere, f"timing {number}") as server:
            found.append(_measured(server.url, name, path, body, (known, unknown), samples))
        door = found[-1]
        say(f"{name}: AUC {door.auc:.3f}, {door.known_ms:.2f} and {door.unknown_ms:.2f} ms")
    return found


def _measured(
    url: str,
    name: str,
    path: str,
    body: Body,
    names: tuple[Sequence[str], Sequence[str]],
    samples: int,
) -> Door:
    parts = urlsplit(url)
    line = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    statuses: set[int] = set()
    took: tuple[list[float], list[float]] = ([], [])
    turns = [kind for kind in (0, 1) for _ in range(samples // 2)]
    random.shuffle(turns)
    nexts = [0, 0]
    for number, kind in enumerate([*(n % 2 for n in range(WARM_UP)), *turns]):
        sent = json.dumps(body(names[kind][nexts[kind] % len(names[kind])]))
        nexts[kind] += 1
        began = time.perf_counter()
        line.request("POST", path, sent, {"content-type": "application/json"})
        reply = line.getresponse()
        reply.read()
        passed = time.perf_counter() - began
        if number >= WARM_UP:
            took[kind].append(passed * 1000)
            statuses.add(reply.status)
    line.close()
    known, unknown = sorted(took[0]), sorted(took[1])
    middles = (known[len(known) // 2], unknown[len(unknown) // 2])
    return Door(name, samples, *middles, auc(known, unknown), sorted(statuses))


def auc(ones: Sequence[float], others: Sequence[float]) -> float:
    """The chance that one of `ones` is larger than one of `others`; equal ones count half."""
    ordered = sorted(others)
    wins = sum((bisect_left(ordered, one) + bisect_right(ordered, one)) / 2 for one in ones)
    return wins / (len(ones) * len(ordered))
