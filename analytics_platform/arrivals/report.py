"""What a load or a replay did, for the asset that ran it and for people.

Belongs here: the report's shape and how it is put together from the records. Does not belong here:
doing it (`load`, `replay`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from analytics_platform.arrivals.checks import HOLDS, checks_of
from analytics_platform.arrivals.landing import Source
from analytics_platform.contracts import ContractResult
from analytics_platform.lake import CheckRecord
from analytics_platform.lake.ledger import LedgerEntry


@dataclass(frozen=True)
class LoadReport:
    """What a load, or a replay, did.

    Attributes:
        written: The partitions that were written.
        files: What became of each file.
        errors: Why partitions were not written, or not from all their files.
        frame: The rows loaded.
        quarantined: How many rows were quarantined, or stayed so.
        counts: How many rows broke each rule.
        passed: Per check, whether it held on everything it looked at.
        details: Per check, what a person needs to find the cause.
    """

    written: Sequence[str]
    files: Sequence[LedgerEntry]
    errors: Sequence[str]
    frame: pl.DataFrame
    quarantined: int
    counts: Mapping[str, int]
    passed: Mapping[str, bool]
    details: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(
        cls,
        source: Source,
        written: Sequence[str],
        files: Sequence[LedgerEntry],
        errors: Sequence[str],
        result: ContractResult,
        checks: Sequence[CheckRecord],
    ) -> LoadReport:
        """The report of what was written, and of the source's checks on it."""
        names = list(checks_of(source))
        return cls(
            written,
            files,
            errors,
            result.good,
            result.bad.height,
            result.counts,
            passed={name: all(c.passed for c in checks if c.check == name) for name in names},
            details={name: _detail(checks, name, result) for name in names},
        )

    def of_status(self, status: str) -> list[LedgerEntry]:
        """The files of which the ledger was told this."""
        return [entry for entry in self.files if entry.status == status]


def _detail(checks: Sequence[CheckRecord], name: str, result: ContractResult) -> dict[str, Any]:
    of_name = [check for check in checks if check.check == name]
    failed = [check for check in of_name if not check.passed]
    detail: dict[str, Any] = {"partitions": len(of_name), "failed_partitions": len(failed)}
    if name == HOLDS:
        detail |= {f"rows that break {rule}": count for rule, count in result.counts.items()}
    if failed:
        detail["first_failed_partition"] = failed[0].partition
        detail |= failed[0].detail
    return detail
