"""Drift between two frames, for a notebook or a script: one call, a table and a page.

Belongs here: making units of the rows of frames. Does not belong here: windows of a table in the
lake, which are the component's (`components.drift_monitor`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import duckdb
import numpy as np
import polars as pl

from analytics_platform.monitoring.drift.causes import Cause, CauseFinder
from analytics_platform.monitoring.drift.declared import (
    Calibration,
    DriftColumns,
    DriftError,
    LeastEffects,
)
from analytics_platform.monitoring.drift.report import render
from analytics_platform.monitoring.drift.rows import UNIT, Rows
from analytics_platform.monitoring.drift.watch import SAMPLE_ROWS, score_windows
from analytics_platform.monitoring.drift.windows import Window

PARTS = 20
"""Into so many parts the current rows are dealt where no day says what goes together."""


@dataclass(frozen=True)
class DriftResult:
    """What a comparison of two frames found.

    Attributes:
        html: The report as one page that needs nothing from the net. The same frames give the same
            bytes.
        scores: One row per test; columns of `SCORES_SCHEMA`.
        drifted: The drifted columns, the furthest over its threshold first.
        causes: What moved them.
    """

    html: str
    scores: pl.DataFrame
    drifted: list[str]
    causes: list[Cause]


def drift_report(
    reference: pl.DataFrame,
    current: pl.DataFrame,
    columns: DriftColumns,
    *,
    time_column: str | None = None,
    segments: Sequence[str] = (),
    title: str = "Data drift",
    reference_name: str = "reference",
    current_name: str = "current",
    calibration: Calibration | None = None,
    effects: LeastEffects | None = None,
    sample_rows: int = SAMPLE_ROWS,
) -> DriftResult:
    """How far `current` has moved from `reference`, and a page to look at.

    Args:
        reference: Rows to compare with; holds all columns named here.
        current: Rows to judge; holds them too.
        columns: The columns to compare. A date or time is refused: it drifts by itself.
        time_column: The date column; rows of a day are kept together. Without it rows are taken for
            independent of one another and dealt into equal parts.
        segments: Columns by which the cause of a drift is looked for.
        title: The heading of the report.
        reference_name: What the report and errors call the reference.
        current_name: What they call the current rows.
        calibration: How sure to be.
        effects: The least scores that matter.
        sample_rows: About how many values of a column the page shows of each side.

    Raises:
        DriftError: If a frame is empty, lacks a column or holds a type that cannot be scored.
    """
    calibration = calibration or Calibration()
    needed = list(dict.fromkeys([*columns.kinds, *segments]))
    sides = ((reference_name, reference), (current_name, current))
    for name, frame in sides:
        for column in [*needed, *([time_column] if time_column else [])]:
            if column not in frame.columns:
                raise DriftError(
                    f"Scoring drift of column {column!r}: expected it in the window {name!r}, "
                    f"found only {frame.columns}."
                )
        if frame.is_empty():
            raise DriftError(
                f"Scoring drift: expected rows in the window {name!r}, found none. "
                "Check that its data has arrived, or skip the window."
            )
    if time_column is None:
        dealt = _dealt(reference.height, current.height, calibration.seed)
        days = None
    else:
        dealt, days = _by_day(reference[time_column], current[time_column])
    rows_of = [
        frame.select(needed).with_columns(pl.Series(UNIT, units, pl.Int32))
        for (_, frame), units in zip(sides, dealt, strict=True)
    ]
    before, now = (np.unique(units) for units in dealt)
    window = Window(current_name, now, before, reference_name)
    with closing(duckdb.connect()) as con:
        con.execute("SET TimeZone = 'UTC'")
        con.register("compared", pl.concat(rows_of, how="vertical_relaxed").to_arrow())
        rows = Rows(con, "SELECT * FROM compared", range(int(now[-1]) + 1), f"{title!r}")
        (drift,) = score_windows(
            rows,
            [window],
            columns,
            ordinals=days,
            calibration=calibration,
            effects=effects,
            sample_rows=sample_rows,
        )
        dates = None if days is None else [dt.date.fromordinal(int(day)) for day in days]
        finder = CauseFinder(
            rows, segments, dates, maximum_categories=calibration.maximum_categories
        )
        causes = finder.causes(drift)
    html = render(drift, title, causes=causes, blocks=calibration.blocks)
    return DriftResult(html, drift.scores, drift.drifted, causes)


def _by_day(reference: pl.Series, current: pl.Series) -> tuple[list[np.ndarray], np.ndarray]:
    """The unit of each row of both sides, and the day of each unit as a number.

    A day that both sides hold is two units: it is not the same rows.
    """
    units: list[np.ndarray] = []
    ordinals: list[int] = []
    for side in (reference, current):
        dates = side.cast(pl.Date)
        days = dates.drop_nulls().unique().sort().to_list()
        if dates.null_count():
            raise DriftError(
                f"Scoring drift: expected a date in every row's {side.name!r}, found "
                f"{dates.null_count()} without one."
            )
        at = {day: position + len(ordinals) for position, day in enumerate(days)}
        units.append(dates.replace_strict(at, return_dtype=pl.Int32).to_numpy())
        ordinals += [day.toordinal() for day in days]
    return units, np.array(ordinals, np.int64)


def _dealt(reference: int, current: int, seed: int) -> list[np.ndarray]:
    """Equal parts of the rows, dealt at random: what order they came in says nothing."""
    size = max(1, current // PARTS)
    generator = np.random.default_rng(seed)
    first, units = 0, []
    for rows in (reference, current):
        parts = max(1, rows // size)
        units.append((first + generator.permutation(rows) % parts).astype(np.int32))
        first += parts
    return units
