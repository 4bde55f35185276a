"""Average run lengths in control: simulated, by Markov chains, and as published."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from analytics_platform.monitoring.spc import ChartSpec, average_run_length
from analytics_platform.monitoring.spc.judge import INFORMATIVE_PANELS, judge
from analytics_platform.monitoring.spc.limits import Limits
from tests.unit.monitoring.spc.points import series


def normal(x: np.ndarray | float) -> np.ndarray:
    return 0.5 * (1 + np.vectorize(math.erf)(np.asarray(x) / math.sqrt(2)))


def ewma_by_markov_chain(weight: float, width: float, states: int = 401) -> float:
    """Lucas and Saccucci (1990): the interval between the limits cut into states."""
    limit = width * math.sqrt(weight / (2 - weight))
    step = 2 * limit / states
    middle = -limit + (np.arange(states) + 0.5) * step
    upper = (middle[None, :] + step / 2 - (1 - weight) * middle[:, None]) / weight
    lower = (middle[None, :] - step / 2 - (1 - weight) * middle[:, None]) / weight
    stays = normal(upper) - normal(lower)
    lengths = np.linalg.solve(np.eye(states) - stays, np.ones(states))
    return float(lengths[states // 2])


def cusum_by_markov_chain(reference: float, limit: float, states: int = 401) -> float:
    """Brook and Evans (1972), of one side; two sides signal twice as often."""
    step = 2 * limit / (2 * states - 1)
    middle = np.arange(states) * step
    moves = middle[None, :] - middle[:, None] + reference
    stays = normal(moves + step / 2) - normal(moves - step / 2)
    stays[:, 0] = normal(step / 2 - middle + reference)
    return float(np.linalg.solve(np.eye(states) - stays, np.ones(states))[0]) / 2


def siegmund(reference: float, limit: float) -> float:
    """Siegmund's approximation, Montgomery equation 9.6, of both sides in control."""
    b, delta = limit + 1.166, -reference
    return (math.exp(-2 * delta * b) + 2 * delta * b - 1) / (2 * delta**2) / 2


SHEWHART = ChartSpec("individuals", rules="limits")
CUSUM = ChartSpec("cusum", cusum_reference=0.5, cusum_limit=5.0)


def ewma(width: float) -> ChartSpec:
    return ChartSpec("ewma", ewma_weight=0.1, width=width, ewma_steady=True)


@pytest.mark.parametrize(
    ("chart", "published"),
    [
        pytest.param(SHEWHART, 370.4, id="shewhart"),
        # Montgomery, table 9.11, after Lucas and Saccucci.
        pytest.param(ewma(2.814), 500.0, id="ewma-2.814"),
        # Montgomery, table 9.3, after Hawkins.
        pytest.param(CUSUM, 465.0, id="cusum"),
        # Champ and Woodall (1987), table 1: all four rules of Western Electric.
        pytest.param(ChartSpec("individuals", rules="western_electric"), 91.75, id="western"),
    ],
)
def test_run_lengths_are_those_published(chart: ChartSpec, published: float) -> None:
    found = average_run_length(chart, runs=10_000, seed=6)
    assert found.mean == pytest.approx(published, rel=0.05)
    # The simulation itself is sharp enough for such a bound.
    assert 3 * found.standard_error < 0.05 * published


def test_ewma_with_limits_of_2_7_runs_370_points_and_not_500() -> None:
    # Montgomery's example 9.2 says "about 500" of lambda 0.1 and L 2.7, where his own table 9.11
    # has 500 at L 2.814. A Markov chain and the simulation agree that 2.7 gives about 370.
    exact = ewma_by_markov_chain(0.1, 2.7)
    assert 360 < exact < 375
    assert average_run_length(ewma(2.7), runs=10_000, seed=6).mean == pytest.approx(exact, rel=0.05)


def test_markov_chains_agree_with_what_is_published() -> None:
    assert ewma_by_markov_chain(0.1, 2.814) == pytest.approx(500, rel=0.01)
    assert ewma_by_markov_chain(1.0, 3.0) == pytest.approx(370.4, rel=0.001)
    assert cusum_by_markov_chain(0.5, 5.0) == pytest.approx(465, rel=0.01)
    # Montgomery, table 9.3: 168 at h = 4.
    assert cusum_by_markov_chain(0.5, 4.0) == pytest.approx(168, rel=0.01)
    assert siegmund(0.5, 5.0) == pytest.approx(cusum_by_markov_chain(0.5, 5.0), rel=0.02)


@pytest.mark.parametrize(
    ("chart", "shift", "published"),
    [
        # Montgomery: 43.9 points for a shift of one sigma on a chart of individuals.
        pytest.param(SHEWHART, 1.0, 43.9, id="shewhart"),
        # Montgomery, table 9.3: 10.4 for k 0.5 and h 5; table 9.11: 10.3 for lambda 0.1.
        pytest.param(CUSUM, 1.0, 10.4, id="cusum"),
        pytest.param(ewma(2.814), 1.0, 10.3, id="ewma"),
    ],
)
def test_a_shift_is_found_as_soon_as_published(
    chart: ChartSpec, shift: float, published: float
) -> None:
    found = average_run_length(chart, shift=shift, runs=10_000, seed=6).mean
    assert found == pytest.approx(published, rel=0.05)


def test_a_head_start_finds_a_shift_sooner() -> None:
    # Lucas and Crosier (1982): 6.35 instead of 10.4 with half of h as the start.
    fast = ChartSpec("cusum", cusum_head_start=0.5)
    assert average_run_length(fast, shift=1.0, runs=10_000, seed=6).mean == pytest.approx(
        6.35, rel=0.05
    )


def test_the_moving_range_would_alarm_three_times_as_often_as_the_value() -> None:
    """Why it is shown and alarms nobody: 2 (1 - Phi(3.686 / sqrt 2)) = 1 in 109 by itself."""
    points = series(np.random.default_rng(4).standard_normal(100_000).tolist()).with_columns(
        period=pl.datetime(2024, 1, 1) + pl.duration(minutes=pl.int_range(pl.len()))
    )
    judged = judge(SHEWHART, Limits(centre=0.0, sigma=1.0), points).points
    rates = dict(judged.group_by("panel").agg(pl.col("is_out_of_control").mean()).rows())
    assert 1 / rates["value"] == pytest.approx(370, rel=0.15)
    assert 1 / rates["moving range"] == pytest.approx(109, rel=0.1)
    assert INFORMATIVE_PANELS == ("moving range",)
