"""Arrivals: what lies in the landing zone, what became of each file, and loading them.

Belongs here: finding files, the ledger, and the one transaction that loads rows, quarantine and
ledger together. Does not belong here: what a row must be (`contracts`) and when to load
(`planning`).
"""

from analytics_platform.arrivals.landing import ArrivedFile, LandingFolder, Source, scan
from analytics_platform.arrivals.ledger import summary, waiting
from analytics_platform.arrivals.load import (
    CHECKS,
    FileOutcome,
    LoadReport,
    load,
)

__all__ = [
    "CHECKS",
    "ArrivedFile",
    "FileOutcome",
    "LandingFolder",
    "LoadReport",
    "Source",
    "load",
    "scan",
    "summary",
    "waiting",
]
