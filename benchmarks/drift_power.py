"""How often drift is found, by kind and size, and how often it is found where there is none.

Run it with `.venv/bin/python -m benchmarks.drift_power`; `--quick` for fewer windows. Days differ
from one another without any drift, as those of flights do: each column has a day's effect beside
the rows' own spread. The tests of the false-alarm budget take their data from here.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import duckdb
import numpy as np
import polars as pl

from analytics_platform.monitoring.drift import (
    UNIT,
    Calibration,
    DriftColumns,
    LeastEffects,
    Rows,
    Window,
    WindowDrift,
    score_windows,
)
from analytics_platform.monitoring.drift.thresholds import false_discovery_rates

CATEGORIES = np.array(list("abcdef"))
SHARES = np.array([0.3, 0.25, 0.2, 0.1, 0.1, 0.05])
SHIFTS = {
    "mean + 0.2 sd": "x0_mean",
    "variance x 1.5": "x0_variance",
    "a share of 30 % + 5 points": "c0_share",
    "5 % nulls": "x0_nulls",
}
NUMERIC, CATEGORICAL = 5, 5


@dataclass(frozen=True)
class Simulated:
    """Windows without drift, each with a reference, and their columns with drift beside.

    Attributes:
        frame: Rows with `UNIT`.
        windows: Windows of these units.
        columns: Columns without drift.
        ordinals: The day of each unit.
    """

    frame: pl.DataFrame
    windows: Sequence[Window]
    columns: DriftColumns
    ordinals: np.ndarray


def simulate(
    windows: int,
    *,
    reference_days: int,
    window_days: int,
    rows: int,
    generator: np.random.Generator,
    day_effect: float = 0.1,
    persistence: float = 0.0,
    shared_reference: bool = False,
    with_shifts: bool = False,
    numeric: int = NUMERIC,
    categorical: int = CATEGORICAL,
) -> Simulated:
    """Windows without drift.

    Args:
        windows: How many.
        reference_days: Days of each reference.
        window_days: Days of each window.
        rows: Rows of a day.
        generator: Of all that is random.
        day_effect: Standard deviation of a day's mean, where that of its rows is 1, and of the
            logarithm of a day's shares.
        persistence: The correlation of the effects of two days that follow one another.
        shared_reference: Whether all windows have the same reference.
        with_shifts: Whether columns with a drift in the windows are made, as `SHIFTS` names them.
        numeric: Columns of numbers.
        categorical: Columns of names.
    """
    each = window_days if shared_reference else reference_days + window_days
    days = windows * each + (reference_days if shared_reference else 0)
    units = np.repeat(np.arange(days), rows)
    is_reference = np.arange(days) < reference_days
    if not shared_reference:
        is_reference = np.arange(days) % each < reference_days
    columns: dict[str, np.ndarray] = {}
    for at in range(numeric):
        effects = day_effect * _persistent(days, persistence, generator)
        columns[f"x{at}"] = generator.normal(effects[units], 1.0)
    shares: dict[str, np.ndarray] = {}
    draws: dict[str, np.ndarray] = {}
    for at in range(categorical):
        effects = np.column_stack([_persistent(days, persistence, generator) for _ in CATEGORIES])
        weights = SHARES * np.exp(day_effect * effects)
        shares[f"c{at}"] = weights / weights.sum(axis=1, keepdims=True)
        draws[f"c{at}"] = generator.random(units.size)
        columns[f"c{at}"] = _chosen(shares[f"c{at}"], draws[f"c{at}"], units)
    if with_shifts:
        is_now = ~is_reference[units]
        columns["x0_mean"] = columns["x0"] + 0.2 * is_now
        columns["x0_variance"] = columns["x0"] * np.where(is_now, np.sqrt(1.5), 1.0)
        # Five points to the largest share, from the others by their size.
        moved = shares["c0"].copy()
        others = moved[:, 1:].sum(axis=1, keepdims=True)
        moved[:, 1:] *= (others - 0.05) / others
        moved[:, 0] += 0.05
        shifted = np.where(is_reference[:, None], shares["c0"], moved)
        columns["c0_share"] = _chosen(shifted, draws["c0"], units)
        is_null = is_now & (generator.random(units.size) < 0.05)
        columns["x0_nulls"] = np.where(is_null, np.nan, columns["x0"])
    made = []
    for at in range(windows):
        first = reference_days + at * each if shared_reference else at * each
        if shared_reference:
            before, now = np.arange(reference_days), np.arange(first, first + window_days)
        else:
            before = np.arange(first, first + reference_days)
            now = np.arange(first + reference_days, first + each)
        made.append(Window(f"window {at}", now, before, "reference"))
    return Simulated(
        pl.DataFrame(columns | {UNIT: units.astype(np.int32)}),
        made,
        DriftColumns([f"x{at}" for at in range(numeric)], [f"c{at}" for at in range(categorical)]),
        np.arange(days) + 7 * 100_000,
    )


def _persistent(days: int, persistence: float, generator: np.random.Generator) -> np.ndarray:
    """A standard normal value for each day, correlated with that of the day before."""
    steps = generator.standard_normal(days)
    if not persistence:
        return steps
    found = np.empty(days)
    found[0] = steps[0]
    for day in range(1, days):
        found[day] = persistence * found[day - 1] + np.sqrt(1 - persistence**2) * steps[day]
    return found


def _chosen(shares: np.ndarray, draws: np.ndarray, units: np.ndarray) -> np.ndarray:
    ends = np.cumsum(shares, axis=1)[units]
    ends[:, -1] = 1.0
    return CATEGORIES[(draws[:, None] > ends).sum(axis=1)]


def judged(
    simulated: Simulated,
    calibration: Calibration,
    effects: LeastEffects | None = None,
    columns: DriftColumns | None = None,
) -> list[WindowDrift]:
    """The windows scored as a run scores those of a table."""
    with closing(duckdb.connect()) as con:
        con.register("simulated", simulated.frame.to_arrow())
        rows = Rows(
            con, "SELECT * FROM simulated", range(simulated.ordinals.size), "simulated rows"
        )
        return score_windows(
            rows,
            simulated.windows,
            columns or simulated.columns,
            ordinals=simulated.ordinals,
            calibration=calibration,
            effects=effects,
        )


def power(
    windows: int, references: int, rows: int, calibration: Calibration, seed: int = 0
) -> dict[str, float]:
    """The share of windows in which each shift is found, one at a time among ten columns."""
    generator = np.random.default_rng(seed)
    found = dict.fromkeys(SHIFTS, 0)
    alarms = 0
    for _ in range(references):
        simulated = simulate(
            windows // references,
            reference_days=56,
            window_days=7,
            rows=rows,
            generator=generator,
            shared_reference=True,
            with_shifts=True,
        )
        columns = DriftColumns(
            [*simulated.columns.numeric, "x0_mean", "x0_variance", "x0_nulls"],
            [*simulated.columns.categorical, "c0_share"],
        )
        for drift in judged(simulated, calibration, columns=columns):
            alarms += _is_found(drift, None)
            for shift, column in SHIFTS.items():
                found[shift] += _is_found(drift, column)
    return {
        **{shift: count / windows for shift, count in found.items()},
        "nothing": alarms / windows,
    }


def _is_found(drift: WindowDrift, shifted: str | None) -> bool:
    """Whether a window names the shifted column, which stands in for the one it was made of."""
    replaced = shifted.partition("_")[0] if shifted else None
    tests = [
        row
        for row in drift.scores.iter_rows(named=True)
        if row["column"] == shifted or ("_" not in row["column"] and row["column"] != replaced)
    ]
    rates = false_discovery_rates([row["p_value"] for row in tests])
    return any(
        rate <= drift.budget
        and row["score"] >= row["least_effect"]
        and (shifted is None or row["column"] == shifted)
        for row, rate in zip(tests, rates, strict=True)
    )


def main() -> None:
    """Print the table that docs/drift.md quotes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20 windows instead of 200")
    quick = parser.parse_args().quick
    windows, references = (20, 2) if quick else (200, 10)
    print(
        f"Share of {windows} windows of 7 days in which a drift is found, by rows a day. Reference "
        "56 days,\nten columns, a day's effect of 0.1 sd, budget 1 %, least effects as by default."
    )
    sizes = (30, 100, 300, 900)
    print(f"{'drift':<28}" + "".join(f"{size:>8}" for size in sizes))
    tables = [power(windows, references, size, Calibration()) for size in sizes]
    for shift in [*SHIFTS, "nothing"]:
        print(f"{shift:<28}" + "".join(f"{table[shift]:>8.1%}" for table in tables))


if __name__ == "__main__":
    main()
