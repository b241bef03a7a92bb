"""What `peers` measures: Tollhouse with one and with three counters, and its rivals."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from application.ports import Ports
from bench.ground import Ground, Server, serving, tollhouse
from bench.machine import Cores
from bench.peers import READY_PATH
from bench.peers_speed import Case
from bench.rivals import starting
from bench.rivals.installing import RivalMissing
from bench.rivals.starting import Rival
from bench.seeding import seed
from bench.seeding_credits import grant
from domain.quotas import Quota
from house import opened
from infra.embedded import StartError

LEFT = 50
TIMES = 10
CATCH_UP_SECONDS = 60
ACCOUNTS, KEYS_EACH = 200, 50
MUCH = 1_000_000_000
OPERATION = "api_call"
ONE_COUNTER, HOT = "Tollhouse, one counter", "Tollhouse, hot key"
THREE_COUNTERS = "Tollhouse, three counters"
BARE = "bare ASGI app"
# Of this plan an account has no quota, so that its keys' own is the only counter.
PLAN_WITHOUT_QUOTA = "internal"
RIVALS: Sequence[Callable[[], Rival]] = (starting.fastapi, starting.better_auth, starting.drf)


class Contest(NamedTuple):
    """The cases, and for each server that counts the keys that have 50 uses left."""

    cases: list[Case]
    left: dict[str, tuple[Server, list[str]]]
    in_words: dict[str, str]
    missing: list[str]


class TollhouseKeys(NamedTuple):
    """Secrets of 10,000 keys with one counter, of 10,000 with three, and of those with 50 left."""

    one: list[str]
    three: list[str]
    left: list[str]


async def tollhouse_keys(on: Ground) -> TollhouseKeys:
    """200 accounts with 50 keys each, twice: without and with a quota and credits of their own."""
    # Lifetimes, not days: a run over midnight would find its counters begun anew.
    much, little = Quota(MUCH, "lifetime"), Quota(LEFT, "lifetime")
    async with opened(on.settings, on.database_url, verifying=False) as house:
        ports: Ports = house.ports
        one = await seed(ports, ACCOUNTS, KEYS_EACH, much, PLAN_WITHOUT_QUOTA)
        three = await seed(ports, ACCOUNTS, KEYS_EACH, much)
        left = await seed(ports, TIMES, 1, little, PLAN_WITHOUT_QUOTA)
        if not await ports.directory.catch_up(left.position, CATCH_UP_SECONDS):
            raise StartError("The directory did not catch up with the seeded keys.")
        await grant(ports, sorted({key.account_id for key in three.keys}), MUCH)
    return TollhouseKeys(*([key.secret for key in made.keys] for made in (one, three, left)))


@contextlib.contextmanager
def contest(
    on: Ground, keys: TollhouseKeys, cores: Cores, say: Callable[[str], None]
) -> Iterator[Contest]:
    """All servers, ready. A rival that can't be had is named and left out."""
    found = Contest([], {}, {}, [])
    with contextlib.ExitStack() as stack:
        real = stack.enter_context(tollhouse(on, cores.server))
        spread = _file(on, "one", keys.one)
        hot = _file(on, "hot", keys.one[:1])
        found.cases.append(Case(ONE_COUNTER, real, spread))
        found.cases.append(Case(HOT, real, hot))
        found.cases.append(Case(THREE_COUNTERS, real, _file(on, "three", keys.three), OPERATION))
        found.left[ONE_COUNTER] = (real, keys.left)
        found.in_words.update(_TOLLHOUSE_IN_WORDS)
        for make in RIVALS:
            amounts = [MUCH] * (ACCOUNTS * KEYS_EACH) + [LEFT] * TIMES
            try:
                rival = make()
                run = stack.enter_context(starting.running(rival, on, cores.server, amounts))
            except (RivalMissing, StartError) as missing:
                say(str(missing))
                found.missing.append(str(missing))
                continue
            secrets = _file(on, rival.name, run.secrets[:-TIMES])
            found.cases.append(Case(rival.name, run.server, secrets))
            found.left[rival.name] = (run.server, run.secrets[-TIMES:])
            found.in_words[rival.name] = rival.words
        peer = serving("bare", ["-m", "bench.peers", "bare"], on, cores.server, READY_PATH)
        found.cases.append(Case(BARE, stack.enter_context(peer), spread))
        found.in_words[BARE] = "prepared bytes from Tollhouse's own HTTP server: its ceiling"
        yield found


_TOLLHOUSE_IN_WORDS = {
    ONE_COUNTER: "caller check, the key's quota; 10,000 keys in turn",
    HOT: "the same, one key",
    THREE_COUNTERS: "the key's quota, its account's (50 keys share one) and the account's credits",
}


def _file(on: Ground, name: str, secrets: Sequence[str]) -> Path:
    path = on.folder / f"{name.replace(' ', '-')}.keys"
    # Neighbours in the file are of different accounts.
    path.write_text("".join(f"{secret}\n" for secret in sorted(secrets)))
    return path
