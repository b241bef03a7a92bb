"""Tables of `peers` for people."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from bench.peers_boundary import Boundary
from bench.peers_cases import BARE, HOT, ONE_COUNTER, THREE_COUNTERS
from bench.peers_exact import AT_ONCE, LEFT
from bench.peers_flood import CLIENTS, Flood
from bench.peers_measure import Peers
from bench.peers_speed import CONNECTIONS, Row

BETTER_AUTH = "better-auth"
TIMES_BETTER_AUTH = {32: 15, 128: 25}
P99_MS = 8.0
FLOOD_RATIO = 2.0


def show(console: Console, found: Peers) -> None:
    """Every case in a line, then the aims, then 64 at once."""
    rows = found.rows
    console.print("CPU in µs per request: of the server's processes, and of Postgres's (PG)")
    table = Table("case", "conn.", "requests/s (min..max)", "p50 ms", "p99 ms")
    for head in ("CPU", "PG", "MiB", "failed"):
        table.add_column(head)
    for column in table.columns:
        column.no_wrap = True
    cases = len(rows) // len(CONNECTIONS)
    for number, row in enumerate(rows):
        table.add_row(
            row.case,
            str(row.connections),
            f"{row.per_second:,.0f} ({row.per_second_min:,.0f}..{row.per_second_max:,.0f})",
            f"{row.p50_ms:.2f}",
            f"{row.p99_ms:.2f}",
            f"{row.cpu_us_per_request:.0f}",
            f"{row.postgres_us_per_request:.0f}",
            f"{row.pss_mib:.0f}",
            str(row.failed),
            end_section=(number + 1) % cases == 0,
        )
    console.print(table)
    for claim, holds in aims(rows):
        console.print(("yes  " if holds else "no   ") + claim)
    for each in found.exact:
        low, high = min(each.valid), max(each.valid)
        console.print(
            f"{AT_ONCE} at once on {LEFT} left, {len(each.valid)} times: {each.case}:"
            f" {low if low == high else f'{low}..{high}'} valid"
            + (f", {each.broken} broken off" if each.broken else ""),
            style="green" if each.holds else "red",
        )


def aims(rows: Sequence[Row]) -> list[tuple[str, bool]]:
    """What issue 4 aims at, and whether this run reached it."""
    by = {(row.case, row.connections): row for row in rows}
    found = []
    for connections in CONNECTIONS:
        one, hot = by[ONE_COUNTER, connections], by[HOT, connections]
        three = by[THREE_COUNTERS, connections]
        if (BETTER_AUTH, connections) in by:
            # A machine that is very busy may not let it answer at all.
            times = one.per_second / max(by[BETTER_AUTH, connections].per_second, 0.1)
            aim = TIMES_BETTER_AUTH[connections]
            found.append((f"{times:.1f} x better-auth at {connections} (aim {aim})", times >= aim))
        share = three.per_second / one.per_second
        found.append(
            (
                f"three counters: {share:.2f} x one counter at {connections} (aim 0.5)",
                share >= 0.5,
            )
        )
        ratio = hot.per_second / one.per_second
        found.append((f"hot key: {ratio:.2f} x spread keys at {connections} (aim 1)", ratio >= 1))
    p99 = by[ONE_COUNTER, 32].p99_ms
    found.append((f"p99 at 32: {p99:.2f} ms (aim: below {P99_MS:.0f})", p99 < P99_MS))
    of_bare = by[ONE_COUNTER, 128].per_second / by[BARE, 128].per_second
    found.append((f"{of_bare:.2f} of a bare ASGI app at 128 (aim 0.5)", of_bare >= 0.5))
    return found


def exact(found: Peers) -> bool:
    """Whether Tollhouse let through what it may, and its counters agree with its log."""
    mine = [each for each in found.exact if each.case == ONE_COUNTER]
    across = found.boundary
    at_rest = across is None or not (across.rows_written_at_rest or across.failed)
    return all(each.holds for each in mine) and not found.counters_disagreeing and at_rest


def show_besides(console: Console, found: Peers) -> None:
    """What was measured apart, and who was left out."""
    if found.flood is not None:
        show_flood(console, found.flood)
    if found.boundary is not None:
        show_boundary(console, found.boundary)
    console.print(
        f"counters that disagree with the usage log: {found.counters_disagreeing}",
        style="red" if found.counters_disagreeing else "green",
    )
    for sentence in found.missing:
        console.print(sentence, style="yellow")


def show_flood(console: Console, flood: Flood) -> None:
    """The two p99, and what became of the logins."""
    holds = flood.ratio <= FLOOD_RATIO
    said = ", ".join(f"{count:,} x {status}" for status, count in sorted(flood.logins.items()))
    console.print(
        f"{'yes ' if holds else 'no  '} {CLIENTS} sign in at once: verify p99"
        f" {_ms(flood.flood_p99_ms)} ms, idle {_ms(flood.idle_p99_ms)} ms:"
        f" {flood.ratio:.2f} x (aim: within {FLOOD_RATIO:.0f});"
        f" {_rate(flood.flood_per_second)} requests/s, idle {_rate(flood.idle_per_second)};"
        f" logins answered: {said or 'none'}"
    )


def show_boundary(console: Console, found: Boundary) -> None:
    """Before and across, and the rows that nobody's request wrote."""
    console.print(
        f"{found.keys:,} keys at the end of a minute: verify p99 {_ms(found.across_p99_ms)} ms"
        f" across it, {_ms(found.before_p99_ms)} before; most {_ms(found.across_max_ms)} and"
        f" {_ms(found.before_max_ms)} ms; {found.failed} failed"
    )
    holds = found.rows_written_at_rest == 0
    console.print(
        f"{'yes ' if holds else 'NO  '} at rest the boundary wrote"
        f" {found.rows_written_at_rest} counters",
        style="green" if holds else "red",
    )


def _ms(figures: Sequence[float]) -> str:
    return "/".join(f"{figure:.1f}" for figure in figures)


def _rate(figures: Sequence[float]) -> str:
    return "/".join(f"{figure:,.0f}" for figure in figures)
