"""`python -m bench peers`: one interleaved run of Tollhouse and its rivals."""

import asyncio
import platform
from collections.abc import Callable
from pathlib import Path

import msgspec

from bench import peers_boundary, peers_flood
from bench.counts import counts
from bench.ground import Ground
from bench.machine import Cores, described
from bench.peers_boundary import Boundary
from bench.peers_cases import BARE, Contest, TollhouseKeys, contest, tollhouse_keys
from bench.peers_exact import AtOnce, at_once
from bench.peers_flood import Flood
from bench.peers_picture import picture
from bench.peers_speed import Round, Row, checked, interleaved, rows

OURS = "Tollhouse"


class Peers(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a run found; `in_words` says what each case is."""

    machine: str
    cores: str
    busy_before: float
    in_words: dict[str, str]
    missing: list[str]
    checked: dict[str, str]
    rows: list[Row]
    rounds: list[Round]
    exact: list[AtOnce]
    counters_disagreeing: int
    flood: Flood | None = None
    boundary: Boundary | None = None


def measure(
    on: Ground, cores: Cores, rounds: int, seconds: float, busy: float, say: Callable[[str], None]
) -> tuple[Peers, TollhouseKeys]:
    """Set everybody up, check their answers, measure in turns, then 64 at once on 50 left."""
    keys = asyncio.run(tollhouse_keys(on))
    with contest(on, keys, cores, say) as found:
        said = {case.name: checked(case, cores) for case in found.cases}
        measured = interleaved(on, found.cases, cores, rounds, seconds, say)
        exact = _exact(found)
    return (
        Peers(
            machine=described(),
            cores=cores.sentence(),
            busy_before=busy,
            in_words=found.in_words,
            missing=found.missing,
            checked=said,
            rows=rows(measured, found.cases),
            rounds=measured,
            exact=exact,
            counters_disagreeing=counts(on.database_url).disagreeing,
        ),
        keys,
    )


def besides(
    on: Ground,
    cores: Cores,
    keys: TollhouseKeys,
    seconds: float,
    wanted: tuple[bool, bool],
    say: Callable[[str], None],
) -> tuple[Flood | None, Boundary | None]:
    """The login flood and the quota boundary, where they are wanted."""
    flood = boundary = None
    if wanted[0]:
        spread = on.folder / "flood.keys"
        spread.write_text("".join(f"{secret}\n" for secret in sorted(keys.one)))
        flood = peers_flood.measure(on, spread, cores, max(seconds, 5), say)
    if wanted[1]:
        boundary = peers_boundary.measure(on, cores, say)
    return flood, boundary


def draw(found: Peers, path: Path) -> None:
    """The picture of this run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    quiet = min(row.quiet_rounds for row in found.rows)
    number = len(found.rounds) // max(len(found.rows), 1)
    line = (
        f"{found.machine}, {platform.system()}; {number} rounds, {quiet} begun on a quiet machine;"
        " just bench peers"
    )
    path.write_text(picture(found.rows, line, OURS, BARE))


def _exact(found: Contest) -> list[AtOnce]:
    return [
        asyncio.run(at_once(name, server, secrets))
        for name, (server, secrets) in found.left.items()
    ]
