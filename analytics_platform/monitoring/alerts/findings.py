"""What is wrong by the lake's own records: checks that fail, points out of control, lost arrivals.

Belongs here: from the newest result of each check to findings. Does not belong here: failed runs
and refused releases, which `components.alerts` reads where they are recorded.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from urllib.parse import quote, urlencode

import duckdb
import polars as pl

from analytics_platform.lake import records
from analytics_platform.lake.records import WHOLE
from analytics_platform.monitoring.alerts.decide import Finding, Identity, Kind
from analytics_platform.monitoring.alerts.message import one_line

IN_CONTROL = "in_control"
"""The name of a control chart's check."""

_SHOWN = 3


def asset_link(ui: str, product: str, asset: str, check: str | None = None) -> str:
    """The UI's page of an asset, or of one of its checks (Dagster 1.13).

    Args:
        ui: The UI's address.
        product: The product.
        asset: The asset.
        check: The check to open.
    """
    page = f"{ui.rstrip('/')}/assets/{quote(product, safe='')}/{quote(asset, safe='')}"
    if check is None:
        return page
    return f"{page}?{urlencode({'view': 'checks', 'checkDetail': check})}"


def run_link(ui: str, run_id: str) -> str:
    """The UI's page of a run (Dagster 1.13)."""
    return f"{ui.rstrip('/')}/runs/{quote(run_id, safe='')}"


def check_findings(
    con: duckdb.DuckDBPyConnection,
    product: str,
    ui: str,
    known: Collection[tuple[str, str]],
    of_arrivals: Collection[str],
) -> list[Finding]:
    """What the newest results of a product's checks say is wrong.

    A blocking check is wrong while any partition that stands fails it, since that holds back the
    release. One that warns is wrong while the newest partition fails it: an old day that will
    never pass is history. A control chart names the point that is out by its partition or, where
    one result speaks for many, by the list `points` of its detail.

    Args:
        con: A connection to the lake.
        product: The product.
        ui: The UI's address, for links.
        known: The assets and names of the checks there are: what was recorded of one that is no
            more is history, too.
        of_arrivals: The names of the checks whose detail lists files.
    """
    latest = records.latest_checks(con, product)
    removed = records.removed_partitions(con, product)
    found: list[Finding] = []
    for (asset, check), results in latest.group_by("asset", "check", maintain_order=True):
        if (asset, check) not in known:
            continue
        gone = list(removed.get(str(asset), {}))
        standing = results.filter(~pl.col("partition").is_in(gone))
        finding = _finding(product, str(asset), str(check), standing, ui, of_arrivals)
        if finding is not None:
            found.append(finding)
    return found


def _finding(
    product: str,
    asset: str,
    check: str,
    results: pl.DataFrame,
    ui: str,
    of_arrivals: Collection[str],
) -> Finding | None:
    failing = results.filter(~pl.col("passed")).sort("partition", descending=True)
    if failing.is_empty():
        return None
    newest = results.sort("partition").row(-1, named=True)
    if newest["passed"] and not newest["blocking"]:
        return None
    worst = failing.row(0, named=True)
    detail = json.loads(worst["detail"] or "{}")
    partitions = [name for name in failing["partition"] if name != WHOLE]
    kind: Kind = "check"
    news: frozenset[str] = frozenset()
    if check in of_arrivals:
        names = sorted(map(str, detail.get("first", [])))
        files = detail.get("files", len(names))
        summary = f"{files} files: {_listed(names, files)}"
        # A record names a thousand at the most; of the others only their number can be news.
        unnamed = {f"{files} files"} if files > len(names) else set[str]()
        kind, news = "arrival", frozenset(names) | unnamed
    else:
        if check == IN_CONTROL:
            kind, news = "chart", frozenset(map(str, detail.get("points", [worst["partition"]])))
        elif newest["blocking"]:
            news = frozenset(partitions)
        shown = partitions if newest["blocking"] else partitions[:1]
        summary = "; ".join(filter(None, [_listed(shown, len(shown)), _said(detail)])) or "failed"
    return Finding(
        Identity(product, kind, f"{asset}.{check}"),
        "error" if newest["blocking"] else "warning",
        one_line(summary),
        asset_link(ui, product, asset, check),
        news,
    )


def _listed(names: list[str], of: int) -> str:
    more = f" and {of - _SHOWN} more" if of > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _said(detail: dict[str, object]) -> str:
    told = {name: value for name, value in detail.items() if value not in (None, "", [], {})}
    return ", ".join(
        f"{name.replace('_', ' ')}: "
        + ("; ".join(map(str, value)) if isinstance(value, list) else str(value))
        for name, value in told.items()
    )
