"""Monitoring: what moved, and whether it moved further than chance or habit would.

Belongs here: drift between windows of rows. Does not belong here: which columns, windows and
metrics a product watches, and what is done about a finding.
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
