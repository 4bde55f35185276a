"""Drift: how far a window of rows has moved from a reference, and whether further than it would.

Each room has one purpose: `declared` what a person sets, `rows` reading, `profiles` a column unit
by unit, `scores` the measures, `windows` which units are compared, `thresholds` what a score means,
`watch` the order of work, `causes` and `contributions` why, `report` and `evidently_page` the page,
`frames` all of it on two frames. Does not belong here: which columns and windows a product watches,
where scores and reports are kept, and a metric over time (a control chart's matter).
"""

from analytics_platform.monitoring.drift.causes import Cause, CauseFinder, Part
from analytics_platform.monitoring.drift.contributions import (
    BASE,
    PredictionChange,
    prediction_change,
)
from analytics_platform.monitoring.drift.declared import (
    SCORES_SCHEMA,
    Blocks,
    Calibration,
    DriftColumns,
    DriftError,
    LeastEffects,
)
from analytics_platform.monitoring.drift.frames import DriftResult, drift_report
from analytics_platform.monitoring.drift.report import render
from analytics_platform.monitoring.drift.rows import UNIT, Rows
from analytics_platform.monitoring.drift.watch import WindowDrift, score_windows
from analytics_platform.monitoring.drift.windows import Length, Window, last_day, window_between

__all__ = [
    "BASE",
    "SCORES_SCHEMA",
    "UNIT",
    "Blocks",
    "Calibration",
    "Cause",
    "CauseFinder",
    "DriftColumns",
    "DriftError",
    "DriftResult",
    "LeastEffects",
    "Length",
    "Part",
    "PredictionChange",
    "Rows",
    "Window",
    "WindowDrift",
    "drift_report",
    "last_day",
    "prediction_change",
    "render",
    "score_windows",
    "window_between",
]
