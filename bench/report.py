"""Tables for people."""

from rich.console import Console
from rich.table import Table

from bench.accounts import MOST_MS, Listed
from bench.exact import AT_ONCE, LEFT, TIMES, Exact
from bench.scale import MOST_BYTES, Scale
from bench.scale import MOST_SECONDS as SOON_SECONDS
from bench.small import MOST_MIB, MOST_SECONDS, Small
from bench.speed import HOT, SPREAD, Speed
from bench.streams import Drained, Streams


def show_speed(console: Console, speed: Speed) -> None:
    """Every case in a line, and what Postgres counted."""
    table = Table("case", "conn.", "requests/s (min..max)", "x typed", "p50 ms", "p99 ms")
    table.add_column("CPU µs/req")
    table.add_column("PSS MiB")
    table.add_column("failed")
    for number, row in enumerate(speed.rows):
        table.add_row(
            row.case,
            str(row.connections),
            f"{row.per_second:,.0f} ({row.per_second_min:,.0f}..{row.per_second_max:,.0f})",
            f"{row.ratio_to_typed:.2f}",
            f"{row.p50_ms:.2f}",
            f"{row.p99_ms:.2f}",
            f"{row.cpu_us_per_request:.0f}",
            f"{row.pss_mib:.0f}",
            str(row.failed),
            end_section=number % 4 == 3,
        )
    console.print(table)
    for case, answers in speed.checked.items():
        console.print(f"checked apart: {case}: {answers}")
    by = {(row.case, row.connections): row for row in speed.rows}
    for connections, aim in ((32, 1.2), (128, 1.8)):
        ratio, quiet = (
            by[SPREAD, connections].ratio_to_typed,
            by[SPREAD, connections].quiet_ratio,
        )
        hot = by[HOT, connections].per_second / by[SPREAD, connections].per_second
        console.print(
            f"at {connections}: {ratio:.2f} x typed (aim {aim}: {_word(ratio >= aim)}),"
            f" hot key {hot:.2f} x spread;"
            f" {by[SPREAD, connections].quiet_rounds} rounds began on a quiet machine"
            + (f", in those {quiet:.2f} x" if quiet is not None else "")
        )
    p99 = by[SPREAD, 32].p99_ms
    console.print(f"p99 at 32: {p99:.2f} ms (aim: below 10 ms: {_word(p99 < 10)})")
    agree = speed.counted == speed.logged and not speed.counters_disagreeing
    console.print(
        f"counted {speed.counted:,}, in the usage log as VALID {speed.logged:,},"
        f" counters that disagree with the log: {speed.counters_disagreeing}",
        style="green" if agree else "red",
    )


def show_exact(console: Console, found: list[Exact]) -> None:
    """One line for each number of processes."""
    for each in found:
        console.print(
            f"{AT_ONCE} at once on {LEFT} left, {each.processes} serve process(es),"
            f" {TIMES} times: valid {_range(each.valid)}, denied {_range(each.denied)},"
            f" counted after {_range(each.counted)} of {2 * LEFT}: {_word(each.holds)}",
            style="green" if each.holds else "red",
        )


def show_small(console: Console, found: Small) -> None:
    """Memory by process, and the times of the starts."""
    table = Table("process", "PSS MiB")
    for name, size in found.pss_mib.items():
        table.add_row(name, f"{size:.1f}")
    total = found.total_mib
    table.add_row(f"all (aim: below {MOST_MIB})", f"{total:.1f} {_word(total < MOST_MIB)}")
    console.print(table)
    console.print(
        f"ready on a new folder: {_times(found.first_seconds)}\n"
        f"ready again on existing data: {_times(found.again_seconds)}"
        f" (aim: below {MOST_SECONDS}: {_word(found.again < MOST_SECONDS)})"
    )


def show_accounts(console: Console, found: Listed) -> None:
    """Pages of the list of accounts."""
    console.print(f"{found.accounts:,} accounts; aim: p99 below {MOST_MS:.0f} ms at any depth")
    table = Table("pages", "requests", "items", "p50 ms", "p99 ms", "slowest ms", "aim")
    for each in found.pages:
        table.add_row(
            each.case,
            f"{each.requests:,}",
            f"{each.items:,}",
            f"{each.p50_ms:.1f}",
            f"{each.p99_ms:.1f}",
            f"{each.slowest_ms:.1f}",
            _word(each.p99_ms < MOST_MS),
        )
    console.print(table)


def show_scale(console: Console, found: Scale) -> None:
    """Memory, starts, and what the first question about a key costs."""
    whole = not found.partial
    size = f" (aim: at most {MOST_BYTES:.0f}: {_word(found.bytes_per_key <= MOST_BYTES)})"
    start = sorted(found.start_seconds)[len(found.start_seconds) // 2]
    soon = f" (aim: at most {SOON_SECONDS:.0f} s: {_word(start <= SOON_SECONDS)})"
    console.print(
        f"{found.keys:,} keys with a quota each, {found.accounts:,} accounts, "
        + ("all in memory" if whole else f"{found.partial:,} of them in memory")
        + f"\nserve: {found.empty_mib:.0f} MiB without keys, {found.full_mib:.0f} at rest with"
        f" them, {found.used_mib:.0f} after all that was asked:"
        f" {found.bytes_per_key:.0f} bytes a key{size if whole else ''}\n"
        f"ready: {_times(found.start_seconds)}{soon if whole else ''},"
        f" with {min(found.start_cpu_seconds):.1f} CPU s of serve"
    )
    table = Table("asked about", "valid", "requests/s", "p50 ms", "p99 ms")
    for name, each in (
        ("keys for the first time", found.first),
        ("the same again", found.again),
        ("keys that don't exist", found.unknown),
    ):
        table.add_row(
            name,
            f"{each.valid:,} of {each.asked:,}",
            f"{each.per_second:,.0f}",
            f"{each.p50_ms:.1f}",
            f"{each.p99_ms:.1f}",
        )
    console.print(table)


def show_streams(console: Console, found: Streams) -> None:
    """Each follower from its backlog; then what all of them do beside verification."""
    if found.backlog:
        table = Table("follower, alone", "events/s", "rows/s", "CPU s", "PSS MiB", "aim")
        for each in found.backlog:
            least, rate = _streams_aim(each)
            table.add_row(
                each.follower,
                f"{each.events / each.seconds:,.0f}",
                f"{each.rows / each.seconds:,.0f}",
                f"{each.cpu_seconds:.1f}",
                f"{each.pss_mib:.0f}",
                "none" if least == 0 else f"{least:,}: {_word(rate >= least)}",
            )
        console.print(table)
    live = found.live
    if live is None:
        return
    console.print(
        f"verifications/s without work {_rates(live.per_second_without)},"
        f" with {_rates(live.per_second_with)}: lowered by {live.lowered:.0%}"
        f" (aim: below 20 %: {_word(live.lowered < 0.2)})"
    )
    for name, latency, aim in (
        ("JetStream", live.jetstream, 0.1),
        ("the published snapshot", live.snapshot, 10.0),
    ):
        console.print(
            f"commit to {name}, {latency.flushes:,} flushes of a minute: p50 {latency.p50:.3f} s,"
            f" p99 {latency.p99:.3f} s, most {latency.most:.3f} s"
            f" (aim: p99 below {aim} s: {_word(latency.p99 < aim)})"
        )
    console.print(
        f"work: {live.work_cpu:.0%} of a core, {live.work_pss_mib:.0f} MiB PSS at most"
        f" (aim: below 300: {_word(live.work_pss_mib < 300)})"
    )


def _streams_aim(each: Drained) -> tuple[int, float]:
    if each.follower == "key_uses":
        return 0, 0.0
    if each.follower == "lake_usage":
        return 100_000, each.rows / each.seconds
    aim = 2_000 if each.rows > each.events else 20_000
    # Publishing is a write to another server's disk, an event at a time.
    aim = 5_000 if each.follower == "publish_events" else aim
    return aim, each.events / each.seconds


def _rates(rates: list[float]) -> str:
    middle = sorted(rates)[len(rates) // 2]
    return f"{middle:,.0f} ({min(rates):,.0f}..{max(rates):,.0f})"


def _times(seconds: list[float]) -> str:
    middle = sorted(seconds)[len(seconds) // 2]
    return f"{middle:.2f} s (median of {len(seconds)}; {min(seconds):.2f}..{max(seconds):.2f})"


def _range(numbers: list[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low}..{high}"


def _word(holds: bool) -> str:
    return "yes" if holds else "no"
