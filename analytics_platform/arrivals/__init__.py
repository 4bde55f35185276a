"""Arrivals: what lies in the landing zone, what becomes of each file, and loading them.

Belongs here: looking at the landing zone, deciding of each file, and the one transaction that
loads rows, quarantine and ledger together, or judges quarantined rows again. Does not belong here:
what a row must be (`contracts`), the ledger's tables (`lake.ledger`) and when to load (`planning`).
"""

from analytics_platform.arrivals.address import landing_zone
from analytics_platform.arrivals.checks import Check, checks_of
from analytics_platform.arrivals.decide import BEING_WRITTEN
from analytics_platform.arrivals.expected import (
    ACCOUNTED,
    ARRIVED,
    files_left_aside,
    missing_files,
)
from analytics_platform.arrivals.landing import LandingFolder, Source, UsualVolume
from analytics_platform.arrivals.load import load
from analytics_platform.arrivals.observe import Look, fingerprint, look, write_down
from analytics_platform.arrivals.quarantine import (
    quarantined_counts,
    quarantined_rows,
    quarantining_sources,
)
from analytics_platform.arrivals.replay import replay
from analytics_platform.arrivals.report import LoadReport
from analytics_platform.arrivals.zone import LandingZone, SeenFile

__all__ = [
    "ACCOUNTED",
    "ARRIVED",
    "BEING_WRITTEN",
    "Check",
    "LandingFolder",
    "LandingZone",
    "LoadReport",
    "Look",
    "SeenFile",
    "Source",
    "UsualVolume",
    "checks_of",
    "files_left_aside",
    "fingerprint",
    "landing_zone",
    "load",
    "look",
    "missing_files",
    "quarantined_counts",
    "quarantined_rows",
    "quarantining_sources",
    "replay",
    "write_down",
]
