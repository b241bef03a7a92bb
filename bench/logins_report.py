"""What `logins` and `security-timing` found, for people."""

from rich.console import Console
from rich.table import Table

from bench.logins import LEAST_SHARE, MOST_RATIO, Logins
from bench.security_timing import LEAST, MOST, Door


def show_logins(console: Console, found: Logins) -> None:
    """Rates, their share of what can be hashed, and verification beside it."""
    rates = " ".join(f"{each:.1f}" for each in found.logins_per_second)
    hashes = " ".join(f"{each:.1f}" for each in found.hashes_per_second)
    console.print(f"hashes a second: {hashes}\nsign-ins a second: {rates}")
    console.print(f"answered: {found.answered}; p50 {found.p50_ms:.0f}, p99 {found.p99_ms:.0f} ms")
    console.print(
        f"beside the hash: serve {found.server_ms:.2f} ms, Postgres {found.postgres_ms:.2f} ms each"
    )
    good = found.share >= LEAST_SHARE
    console.print(
        f"{found.share:.0%} of what the cores hash (aim: {LEAST_SHARE:.0%}: {_word(good)})",
        style="green" if good else "red",
    )
    if found.flood is not None:
        calm = found.flood.ratio <= MOST_RATIO
        idle = " ".join(f"{each:.2f}" for each in found.flood.idle_p99_ms)
        flooded = " ".join(f"{each:.2f}" for each in found.flood.flood_p99_ms)
        console.print(
            f"verify p99: idle {idle} ms, while 500 sign in {flooded} ms: {found.flood.ratio:.2f} x"
            f" (aim: {MOST_RATIO:g}: {_word(calm)}); they were answered {found.flood.logins}",
            style="green" if calm else "red",
        )


def show_timing(console: Console, doors: list[Door]) -> None:
    """Each door in a line."""
    table = Table("door", "samples", "known ms", "nobody ms", f"AUC ({LEAST} to {MOST})", "status")
    for door in doors:
        table.add_row(
            door.name,
            str(door.samples),
            f"{door.known_ms:.2f}",
            f"{door.unknown_ms:.2f}",
            f"{door.auc:.3f} {_word(door.holds)}",
            " ".join(map(str, door.statuses)),
        )
    console.print(table)


def _word(holds: bool) -> str:
    return "reached" if holds else "missed"
