"""Forecasts: at the pace up to now, the rest is gone when it says, and not before."""

from hypothesis import given
from hypothesis import strategies as st

from domain.forecasts import Forecast, forecast

SECOND = 1_000_000
HOUR = 3600 * SECOND
NOW = 1_790_000_000 * SECOND
AMOUNTS = st.integers(0, 2**53 - 1)


def test_half_in_half_of_the_window_is_gone_at_its_end() -> None:
    found = forecast(50, 50, NOW - HOUR, NOW, NOW + HOUR + 1)
    assert found == Forecast(50.0, NOW + HOUR)


def test_what_lasts_until_the_reset_does_not_run_out() -> None:
    assert forecast(50, 50, NOW - HOUR, NOW, NOW + HOUR).exhausts_at_us is None
    assert forecast(50, 51, NOW - HOUR, NOW, NOW + HOUR).exhausts_at_us is None


def test_who_uses_nothing_never_runs_out() -> None:
    assert forecast(0, 10, NOW - HOUR, NOW, None) == Forecast(0.0, None)


def test_what_has_run_out_runs_out_now() -> None:
    assert forecast(0, 0, NOW - HOUR, NOW, NOW + HOUR).exhausts_at_us == NOW
    assert forecast(9, 0, NOW - HOUR, NOW, None).exhausts_at_us == NOW


def test_a_lifetime_runs_out_within_a_century_or_not_at_all() -> None:
    assert forecast(1, 24, NOW - HOUR, NOW, None).exhausts_at_us == NOW + 24 * HOUR
    assert forecast(1, 2**53, NOW - HOUR, NOW, None).exhausts_at_us is None


def test_a_window_that_began_this_instant_or_will_begin_counts_as_a_second() -> None:
    for since in (NOW, NOW + 5 * SECOND):
        assert forecast(1, 9, since, NOW, None) == Forecast(3600.0, NOW + 9 * SECOND)


@given(AMOUNTS, AMOUNTS, st.integers(0, 400 * 24 * HOUR), st.integers(1, 400 * 24 * HOUR))
def test_the_rest_lasts_as_long_as_the_pace_says(
    used: int, remaining: int, ago: int, left: int
) -> None:
    found = forecast(used, remaining, NOW - ago, NOW, NOW + left)
    assert found.pace_per_hour >= 0
    if found.exhausts_at_us is None:
        assert remaining * max(ago, SECOND) >= used * left or used == 0
    else:
        assert NOW <= found.exhausts_at_us < NOW + left
        lasts = found.exhausts_at_us - NOW
        assert lasts * used <= remaining * max(ago, SECOND) < (lasts + 1) * used or remaining == 0
