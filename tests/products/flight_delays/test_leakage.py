"""What a feature may know, on real months: nothing of its own day, whatever else is built."""

from datetime import date, timedelta
from functools import partial

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from assets.flight_delays.features.builder import HISTORY_LAG_DAYS, build_features
from assets.flight_delays.features.leakage import leaking_columns, scramble
from tests.products.flight_delays.conftest import Inputs

DAYS = [date(2013, 1, 1), date(2013, 1, 31), date(2013, 2, 8)]


@pytest.mark.parametrize("day", DAYS, ids=str)
def test_no_feature_knows_its_own_day(inputs: Inputs, day: date) -> None:
    assert leaking_columns(build_features, *inputs, day=day) == []


@pytest.mark.parametrize("day", DAYS[1:], ids=str)
def test_nothing_newer_than_the_lag_is_known(inputs: Inputs, day: date) -> None:
    """Outcomes of the day before arrive in the morning, so they may change nothing either."""
    real = build_features(*inputs, day, day).collect()
    newest = day - timedelta(days=HISTORY_LAG_DAYS - 1)
    without = inputs._replace(flights=scramble(inputs.flights, newest))
    assert_frame_equal(real, build_features(*without, day, day).collect())
    older = inputs._replace(
        flights=scramble(inputs.flights, day - timedelta(days=HISTORY_LAG_DAYS))
    )
    assert not real.equals(build_features(*older, day, day).collect()), "history is really used"


@pytest.mark.parametrize("lag", range(HISTORY_LAG_DAYS))
def test_a_builder_that_looks_ahead_is_found_out(inputs: Inputs, lag: int) -> None:
    leaky = partial(build_features, history_lag_days=lag)
    found = leaking_columns(leaky, *inputs, day=DAYS[1])
    assert "carrier_excess_late_share_28d" in found
    assert "expected_tail_number" in found
    assert "wind_speed_mph" not in found


def test_a_range_equals_its_days_to_the_last_bit(inputs: Inputs) -> None:
    first, last = date(2013, 2, 5), date(2013, 2, 10)
    whole = build_features(*inputs, first, last).collect()
    shuffled = Inputs(*(frame.collect().sample(fraction=1, shuffle=True, seed=7).lazy()
                        for frame in inputs))  # fmt: skip
    alone = pl.concat(
        build_features(*shuffled, day, day).collect()
        for day in pl.date_range(first, last, eager=True)
    )
    assert_frame_equal(whole, alone, check_exact=True)


def test_every_scheduled_flight_has_one_row(inputs: Inputs) -> None:
    day = DAYS[2]
    built = build_features(*inputs, day, day).collect()
    scheduled = inputs.scheduled.filter(pl.col("flight_date") == day).collect()
    assert sorted(built["flight_id"]) == sorted(scheduled["flight_id"])


def test_history_by_hand(inputs: Inputs) -> None:
    """The network's late share over 28 days, counted here from the rows themselves."""
    day = DAYS[2]
    built = build_features(*inputs, day, day).collect()
    newest = day - timedelta(days=HISTORY_LAG_DAYS)
    known = inputs.flights.filter(
        pl.col("flight_date").is_between(newest - timedelta(days=27), newest),
        pl.col("is_late").is_not_null(),
    ).collect()
    # Drawn a little toward the prior, which weighs a few dozen of some 20,000 flights.
    share = built["network_late_share_28d"].unique().to_list()
    assert share == [pytest.approx(known["is_late"].mean(), abs=2e-3)]
