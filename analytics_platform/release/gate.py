"""The gate: whether every blocking check holds on the very data that would be released.

The gate judges what is in the lake. An asset that was never written is absent, and a reader cannot
read it; a partition that was written counts as verified only by a check that saw that write or a
later state and held. A check that was skipped, broke or is older than its data does not hold.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import duckdb
import polars as pl

from analytics_platform.lake import outside, records
from analytics_platform.lake.catalog import reads_of_views
from analytics_platform.lake.records import WHOLE


@dataclass(frozen=True)
class Problem:
    """One reason why the gate does not open.

    Attributes:
        asset: The asset held back.
        check: The check that does not hold; empty where none is to blame.
        partitions: The partitions it does not hold on; `WHOLE` for an asset without any.
        reason: Failed, did not run, older than its data, or changed outside a run.
        detail: What the check found, as JSON, of the first partition.
        mend: What a person would do about it, a command where there is one.
    """

    asset: str
    check: str
    partitions: tuple[str, ...]
    reason: str
    detail: str = ""
    mend: str = ""

    def __str__(self) -> str:
        """One line that names asset, check, partitions, reason and what would mend it."""
        where = ""
        if self.partitions and self.partitions[0] != WHOLE:
            where = f" [{self.partitions[0]}" + (
                f" and {len(self.partitions) - 1} more]" if len(self.partitions) > 1 else "]"
            )
        subject = f"{self.asset} · {self.check}" if self.check else self.asset
        return (
            f"{subject}{where}: {self.reason}"
            + (f" {self.detail}" if self.detail else "")
            + (f". Mend: {self.mend}" if self.mend else "")
        )


@dataclass(frozen=True)
class Verdict:
    """What the gate found.

    Attributes:
        held: The number of (check, partition) pairs that hold.
        problems: Why it stays shut; empty when it opens.
        absent: Assets of the product that were never written.
    """

    held: int
    problems: tuple[Problem, ...]
    absent: tuple[str, ...]

    @property
    def opens(self) -> bool:
        """Whether every blocking check holds, and there is something to release."""
        return not self.problems

    def lines(self) -> tuple[str, ...]:
        """The problems, a line each."""
        return tuple(str(problem) for problem in self.problems)


def judge(
    con: duckdb.DuckDBPyConnection,
    product: str,
    required: Mapping[str, Sequence[str]],
    *,
    can_revert: bool = True,
) -> Verdict:
    """Judge the state that a connection reads.

    Args:
        con: A connection to the lake, possibly inside a transaction.
        product: The product to be released.
        required: Every asset of the product with the names of its blocking checks.
        can_revert: Whether there is a release to put a partition back to, so that a problem may
            be mended by that.
    """
    writes: dict[str, dict[str, int]] = {}
    for write in records.latest_writes(con, product).iter_rows(named=True):
        writes.setdefault(write["asset"], {})[write["partition"]] = write["snapshot_id"]
    results = results_of(records.latest_checks(con, product))
    problems: list[Problem] = []
    held = 0
    for asset, checks in required.items():
        for check in checks:
            of_check = results.get((asset, check), {})
            broken: dict[tuple[str, bool], list[str]] = {}
            details: dict[tuple[str, bool], str] = {}
            # A file that could not be read has a failed check and no write.
            for partition in sorted(writes.get(asset, {}).keys() | of_check.keys() - {WHOLE}):
                written = writes.get(asset, {}).get(partition, -1)
                reason, detail, of_whole = why_not(of_check, partition, written)
                if reason is None:
                    held += 1
                else:
                    broken.setdefault((reason, of_whole), []).append(partition)
                    details.setdefault((reason, of_whole), detail)
            problems += [
                Problem(
                    asset,
                    check,
                    tuple(partitions),
                    reason,
                    details[reason, of_whole],
                    _mend(product, asset, reason, partitions, of_whole, can_revert=can_revert),
                )
                for (reason, of_whole), partitions in broken.items()
            ]
    problems += _read_anew(con, product, required, writes, results, problems)
    problems += _changed_outside(con, product, required, can_revert=can_revert)
    absent = tuple(asset for asset in required if asset not in writes)
    if not writes:
        problems.append(
            Problem(
                product,
                "",
                (),
                "nothing was ever written, so there is nothing to release",
                mend=f"deliver files, then `ap run {product}`",
            )
        )
    return Verdict(held, tuple(problems), absent)


@dataclass(frozen=True)
class CheckResult:
    """The newest result of a check on a partition.

    Attributes:
        seen: The snapshot that it looked at.
        evaluated_at: When it ran.
        passed: Whether it held.
        detail: What it found, as JSON.
    """

    seen: int
    evaluated_at: dt.datetime
    passed: bool
    detail: str


def results_of(checks: pl.DataFrame) -> dict[tuple[str, str], dict[str, CheckResult]]:
    """Results as `records.latest_checks` gives them: per asset and check, by partition."""
    results: dict[tuple[str, str], dict[str, CheckResult]] = {}
    for row in checks.iter_rows(named=True):
        results.setdefault((row["asset"], row["check"]), {})[row["partition"]] = CheckResult(
            row["snapshot_id"], row["evaluated_at"], row["passed"], row["detail"]
        )
    return results


def why_not(
    of_check: Mapping[str, CheckResult], partition: str, written: int = -1
) -> tuple[str | None, str, bool]:
    """Why a check does not hold on a partition, what it found, and whether it saw the whole table.

    The reason is None where it holds.

    Args:
        of_check: The results of the check.
        partition: The partition.
        written: The snapshot that it must have seen.
    """
    candidates = [(of_check[key], key == WHOLE) for key in {partition, WHOLE} if key in of_check]
    if not candidates:
        return NOT_RUN, "", False
    # Of two that saw the same state at the same moment, the one that failed counts.
    newest, of_whole = max(
        candidates, key=lambda one: (one[0].seen, one[0].evaluated_at, not one[0].passed)
    )
    if newest.seen < written:
        return OLDER, "", False
    if not newest.passed:
        return FAILED, newest.detail, of_whole
    return None, "", of_whole


def _read_anew(
    con: duckdb.DuckDBPyConnection,
    product: str,
    required: Mapping[str, Sequence[str]],
    writes: Mapping[str, Mapping[str, int]],
    results: Mapping[tuple[str, str], Mapping[str, CheckResult]],
    found: Sequence[Problem],
) -> list[Problem]:
    """Views of which a check looked before something that they read was written.

    A view shows what stands in other tables, so its rows change without a write of its own. Where
    what it reads has a problem itself, that is the one to mend.
    """
    wrong = {(one.asset, partition) for one in found for partition in one.partitions or (WHOLE,)}
    problems: list[Problem] = []
    for view, reads in reads_of_views(con, "lake", product).items():
        changed: dict[str, int] = {}
        for partition, own in sorted(writes.get(view, {}).items()):
            read = max((_newest(writes.get(of, {}), partition) for of in reads), default=-1)
            is_known = any({(of, partition), (of, WHOLE)} & wrong for of in {view, *reads})
            if read > own and not is_known:
                changed[partition] = read
        for check in required.get(view, ()):
            of_check = results.get((view, check), {})
            older = [at for at, read in changed.items() if why_not(of_check, at, read)[0] == OLDER]
            if older:
                mend = f"`{materialize_command(product, view, older)}`"
                problems.append(Problem(view, check, tuple(older), OLDER, mend=mend))
    return problems


def _newest(writes: Mapping[str, int], partition: str) -> int:
    """When the rows of a partition were last written; of a whole table, when any was."""
    if partition == WHOLE:
        return max(writes.values(), default=-1)
    return max(writes.get(partition, -1), writes.get(WHOLE, -1))


FAILED, NOT_RUN, OLDER = "failed", "did not run", "is older than the data"


def _mend(
    product: str,
    asset: str,
    reason: str,
    partitions: Sequence[str],
    of_whole: bool,
    *,
    can_revert: bool,
) -> str:
    """The command that would mend a problem, or the ways out where it takes a person."""
    again = materialize_command(product, asset, partitions)
    if reason != FAILED:
        return f"`{again}`"
    if of_whole:
        # It says nothing of single partitions, so putting some of them back may not mend it.
        return f"correct the data or the code, then `ap run {product}` or `{again}`"
    mend = f"correct the file and `ap run {product}`"
    if not can_revert:
        return mend
    back = revert_command(product, partitions)
    return f"{mend}, or put it back to its released state: `{back}`"


def revert_command(product: str, partitions: Sequence[str]) -> str:
    """The command that puts partitions back to what was released; names the first three."""
    back = " ".join(f"--partition {partition}" for partition in partitions[:3])
    more = " …" if len(partitions) > 3 else ""
    return f"ap release revert {product} {back}{more}"


def materialize_command(product: str, asset: str, partitions: Sequence[str]) -> str:
    """The command that makes an asset's partitions again, from the first to the last."""
    command = f"ap materialize {product} {asset}"
    if not partitions or partitions[0] == WHOLE:
        return command
    if len(partitions) == 1:
        return f"{command} --partition {partitions[0]}"
    return f"{command} --partition {partitions[0]} --through {partitions[-1]}"


def _changed_outside(
    con: duckdb.DuckDBPyConnection, product: str, assets: Collection[str], *, can_revert: bool
) -> list[Problem]:
    """What changed outside any recorded run, and was not made again since.

    This is what a run killed between dbt's commit and its record leaves, or a person's own SQL.
    """
    problems = []
    for change in outside.unrecorded_changes(con, product):
        if change.is_gone and change.asset not in assets:
            continue  # what is no longer declared may go
        known = change.asset in assets or change.recorded >= 0
        did = "was dropped" if change.is_gone else "changed"
        again = materialize_command(product, change.asset, ())
        problems.append(
            Problem(
                change.asset,
                "",
                (),
                f"table {change.table} {did} at snapshot {change.changed}, outside any recorded "
                "run",
                mend=f"`{again}`" if known else f"drop it: no asset of {product} makes it",
            )
        )
    newest: dict[str, dict[str, int]] = {}
    standing: dict[str, set[str]] = {}
    for change in records.latest_changes(con, product).iter_rows(named=True):
        asset, partition = change["asset"], change["partition"]
        newest.setdefault(asset, {})[partition] = change["snapshot_id"]
        if change["kind"] != "removed":
            standing.setdefault(asset, set()).add(partition)
    hidden: dict[str, dict[str, int]] = {}
    for change in outside.kept(con, product):
        asset, then = change.asset, change.snapshot_id
        if asset not in assets:
            continue
        since = newest.get(asset, {})
        for partition in (
            standing.get(asset, ()) if change.partition is None else [change.partition]
        ):
            # A table that is written whole was written with every partition that it had.
            if max(since.get(partition, -1), since.get(WHOLE, -1)) < then:
                hidden.setdefault(asset, {})[partition] = then
    for asset, partitions in hidden.items():
        days = sorted(partitions)
        mend = f"`{materialize_command(product, asset, days)}`"
        if can_revert and days != [WHOLE]:
            mend += f", or put back what was released: `{revert_command(product, days)}`"
        problems.append(
            Problem(
                asset,
                "",
                tuple(days),
                f"changed at snapshot {max(partitions.values())} outside any recorded run, and "
                "was not made again since",
                mend=mend,
            )
        )
    return problems
