"""The access gate: nothing for accounts in their first state, little for the others."""

import tracemalloc
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.ids import compose
from projections.access_gate import SLACK_SECONDS, Access, AccessGate
from tests.exploring import examples
from tests.factories import AT

BOUND = 64


def ids(prefix: str, count: int) -> list[str]:
    return [
        compose(prefix, 1_770_000_000_000 + n, (n * 7919).to_bytes(10, "big")) for n in range(count)
    ]


def test_an_account_that_is_not_in_its_first_state_takes_at_most_64_bytes() -> None:
    names = ids("acct", 12_000)
    tracemalloc.start()
    gate = AccessGate()
    before = tracemalloc.get_traced_memory()[0]
    for name in names:
        gate.keep(name, 0, "active")
    assert tracemalloc.get_traced_memory()[0] - before < 10_000  # the loop's own
    for name in names:
        gate.keep(name, 3, "suspended")
    taken = (tracemalloc.get_traced_memory()[0] - before) / len(names)
    tracemalloc.stop()
    assert taken <= BOUND, taken
    assert len(gate) == len(names)
    assert all((gate.epoch(name), gate.access(name)) == (3, "suspended") for name in names[::97])


STATES = st.tuples(
    st.integers(0, 5),
    st.integers(0, 2**33),
    st.sampled_from(["active", "suspended", "closed", "erased", "unreadable"]),
)


@settings(max_examples=examples(60))
@given(st.lists(STATES, max_size=40))
def test_it_says_what_it_was_told_last(told: list[tuple[int, int, Access]]) -> None:
    names = [*ids("acct", 4), "acct_of_another_shape", "operator"]
    gate = AccessGate()
    expected: dict[str, tuple[int, str]] = {}
    for number, epoch, access in told:
        gate.keep(names[number], epoch, access)
        expected[names[number]] = epoch, access
    for name in names:
        assert (gate.epoch(name), gate.access(name)) == expected.get(name, (0, "active"))


def test_the_end_of_a_session_is_known_for_as_long_as_its_tokens_could_live() -> None:
    gate = AccessGate()
    gate.keep_for(900)
    first, second, third = ids("sess", 3)
    gate.end(first, AT)
    gate.end(second, AT + timedelta(seconds=900 + SLACK_SECONDS))
    assert gate.is_over(first)
    gate.end(third, AT + timedelta(seconds=901 + SLACK_SECONDS))
    assert [gate.is_over(each) for each in (first, second, third)] == [False, True, True]


def test_what_can_t_be_read_lets_nobody_in() -> None:
    gate = AccessGate()
    (account,), (session,) = ids("acct", 1), ids("sess", 1)
    gate.keep(account, 2, "active")
    gate.distrust(account)
    gate.distrust(session)
    assert (gate.epoch(account), gate.access(account)) == (2, "unreadable")
    assert gate.is_over(session)
