"""Monitoring: what moved, and whether it moved further than chance or habit would.

Belongs here: drift between windows of rows (`drift`), a metric over time (`spc`), what a step cost
(`receipts`), and who is told (`alerts`). Does not belong here: which columns, windows and metrics a
product watches.
"""

from analytics_platform.monitoring.drift import (
    SCORES_SCHEMA,
    Calibration,
    DriftColumns,
    DriftError,
    DriftResult,
    LeastEffects,
    drift_report,
)

__all__ = [
    "SCORES_SCHEMA",
    "Calibration",
    "DriftColumns",
    "DriftError",
    "DriftResult",
    "LeastEffects",
    "drift_report",
]
