"""What is merged with what: pure choices, and that they end."""

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from infra.lake.compaction import FAN_IN, SMALL_BYTES, choose
from infra.lake.manifest import File, path_of

TODAY = date(2026, 3, 2)


def a_file(first: int, last: int, level: int = 0, size: int = 1000, day: date = TODAY) -> File:
    return File(
        path=path_of("usage", day, first, last, level),
        kind="usage",
        date=day,
        first_position=first,
        last_position=last,
        level=level,
        rows=10,
        bytes=size,
        sha256="",
    )


def merged(run: list[File]) -> File:
    return a_file(
        run[0].first_position,
        run[-1].last_position,
        max(file.level for file in run) + 1,
        sum(file.bytes for file in run),
        run[0].date,
    )


def small(files: list[File]) -> list[File]:
    return sorted(
        (file for file in files if file.bytes < SMALL_BYTES),
        key=lambda file: (file.date, file.first_position),
    )


def test_sixteen_of_a_level_become_one_and_fifteen_wait() -> None:
    files = [a_file(n, n) for n in range(1, FAN_IN)]
    assert choose(files, TODAY) == []
    files.append(a_file(FAN_IN, FAN_IN))
    assert choose(files, TODAY) == files


def test_a_day_that_has_ended_becomes_one_file() -> None:
    files = [a_file(1, 5, level=1), a_file(6, 6), a_file(7, 7)]
    assert choose(files, TODAY) == []
    assert choose(files, TODAY + timedelta(days=1)) == files
    assert choose([merged(files)], TODAY + timedelta(days=1)) == []


def test_files_of_two_days_are_never_merged() -> None:
    yesterday = [a_file(1, 1, day=TODAY - timedelta(days=1))]
    assert choose(yesterday + [a_file(n, n) for n in range(2, 12)], TODAY) == []


def test_a_merge_has_a_name_of_its_own_and_a_batch_always_the_same() -> None:
    merges = {path_of("usage", TODAY, 1, 16, level=1) for _ in range(20)}
    assert len(merges) == 20
    assert len({path_of("usage", TODAY, 1, 16) for _ in range(2)} - merges) == 1


@given(st.lists(st.integers(100, 6_000_000), max_size=200), st.booleans())
def test_merging_ends_keeps_every_row_and_leaves_few_small_files(
    sizes: list[int], over: bool
) -> None:
    today = TODAY + timedelta(days=over)
    files: list[File] = []
    written = 0
    for position, size in enumerate(sizes, 1):
        files.append(a_file(position, position, size=size))
        while run := choose(small(files), today):
            assert len(run) > 1
            written += sum(file.bytes for file in run)
            paths = {file.path for file in files}
            files = [file for file in files if file not in run]
            files.append(merged(run))
            assert files[-1].path not in paths  # a name is never used for other rows
            assert files[-1].bytes <= FAN_IN * SMALL_BYTES
    covered = sorted((file.first_position, file.last_position) for file in files)
    assert sum(file.bytes for file in files) == sum(sizes)
    assert len({first for first, _ in covered}) == len(covered)
    left = small(files)
    if over:
        assert len(left) <= 1
    else:
        assert len(left) < FAN_IN * (1 + max((file.level for file in left), default=0))
        assert written <= 4 * sum(sizes)  # a row is written again a few times, not at every merge
