"""The summary that ends `ap run` and that `ap status` shows, read from the lake."""

from __future__ import annotations

import calendar
import datetime as dt
import json
from collections.abc import Sequence

import duckdb
import polars as pl
from rich.console import Console
from rich.table import Table

from analytics_platform.arrivals import ARRIVED
from analytics_platform.cli.products import find_product
from analytics_platform.cli.stage import Stage
from analytics_platform.cli.terminal import ap_command
from analytics_platform.lake import FileStore, Lake, ledger, records
from analytics_platform.lake.records import WHOLE
from analytics_platform.modeling import champion
from analytics_platform.modeling.registry import models_of, versions
from analytics_platform.monitoring.spc.judge import INFORMATIVE_PANELS
from analytics_platform.release import ReleaseLog
from analytics_platform.settings import get_settings

TO_BE_SEEN_TO = ["rejected", "unmatched", "out_of_range", "vanished"]
SHOWN = 10


def print_summary(product: str, console: Console, stages: Sequence[Stage]) -> None:
    """Print arrivals, rows, checks, models, drift, the release, and what to do next."""
    find_product(product)
    lake = Lake.from_settings(get_settings())
    if get_settings().environment != "local":
        _print(console, "Environment", get_settings().environment)
    with lake.reader() as con:
        _arrivals(con, product, console)
        _tables(con, product, console)
        _checks(con, product, console)
        _drift(con, product, console)
        _charts(con, product, console)
        hints = _hints(con, product)
    _models(lake, product, console)
    log = ReleaseLog(lake, FileStore(get_settings().files_path), product)
    _release(log, console)
    if stages:
        table = _table("stage", "seconds", right={1})
        for stage in stages:
            table.add_row(stage.title, f"{stage.seconds:.1f}" + ("" if stage.succeeded else " ✗"))
        _print(console, "Time", table)
    _next(log, hints, console)


def _table(*columns: str, right: set[int] | None = None) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for position, column in enumerate(columns):
        table.add_column(column, justify="right" if position in (right or set()) else "left")
    return table


def _print(console: Console, title: str, body: object) -> None:
    console.print()
    console.print(title, style="bold", highlight=False)
    console.print(body, highlight=False, soft_wrap=isinstance(body, str))


def _arrivals(con: duckdb.DuckDBPyConnection, product: str, console: Console) -> None:
    files = ledger.ledger(con, product)
    # A content that was refused and has been replaced since is history.
    files = files.filter(pl.col("is_current") | ~pl.col("status").is_in(TO_BE_SEEN_TO))
    counted = (
        files.group_by("source", "status")
        .agg(
            pl.len().alias("files"),
            pl.col("rows_in_file", "rows_loaded", "rows_quarantined").sum(),
        )
        .sort("source", "status")
    )
    table = _table("source", "files", "", "rows", "loaded", "quarantined", right={1, 3, 4, 5})
    for source, status, count, rows, loaded, quarantined in counted.iter_rows():
        said = (f"{rows:,}", f"{loaded:,}", f"{quarantined:,}") if status == "loaded" else ()
        table.add_row(source or "(none)", f"{count:,}", status.replace("_", " "), *said)
    _print(console, "Arrivals", table)
    aside = files.filter(pl.col("status").is_in(TO_BE_SEEN_TO))
    lines = [
        f"{status.replace('_', ' ')}: {_said(path, reason)}"
        for path, status, reason in aside.select("path", "status", "reason").iter_rows()
    ]
    never_came = records.latest_checks(con, product).filter(check=ARRIVED, passed=False)
    lines += [
        f"never came: {path}"
        for detail in never_came["detail"]
        for path in json.loads(detail).get("first", [])
    ]
    for line in lines[:SHOWN]:
        console.print(f"  {line}", style="red", markup=False, highlight=False, soft_wrap=True)
    if len(lines) > SHOWN:
        console.print(f"  … and {len(lines) - SHOWN} more: ap arrivals {product}", highlight=False)


def _said(path: str, reason: str) -> str:
    return reason if reason.startswith((path, f"Reading {path}")) else f"{path}: {reason}"


def _tables(con: duckdb.DuckDBPyConnection, product: str, console: Console) -> None:
    table = _table("table", "rows", "partitions", right={1, 2})
    rows = con.execute(
        """
        WITH newest AS (
            SELECT * FROM lake.ops.writes WHERE product = ?
            QUALIFY row_number() OVER (
                PARTITION BY asset, "partition" ORDER BY snapshot_id DESC, written_at DESC) = 1)
        SELECT asset, sum("rows")::BIGINT, count(*) FILTER ("partition" <> ''), min(written_at)
        FROM newest GROUP BY asset ORDER BY min(written_at), asset
        """,
        [product],
    ).fetchall()
    for asset, count, partitions, _written in rows:
        if count is not None:
            table.add_row(asset, f"{count:,}", f"{partitions:,}" if partitions else "")
    _print(console, "Tables", table)


def _checks(con: duckdb.DuckDBPyConnection, product: str, console: Console) -> None:
    latest = records.latest_checks(con, product)
    checks: dict[tuple[str, str], tuple[bool, bool]] = {}
    for row in latest.iter_rows(named=True):
        key = (row["asset"], row["check"])
        passed, _ = checks.get(key, (True, True))
        checks[key] = (passed and row["passed"], row["blocking"])
    failed = [key for key, (passed, blocking) in checks.items() if not passed and blocking]
    warned = [key for key, (passed, blocking) in checks.items() if not passed and not blocking]
    _print(
        console,
        "Checks",
        f"{len(checks) - len(failed) - len(warned)} passed, {len(failed)} failed, "
        f"{len(warned)} warned",
    )
    for asset, check in failed:
        console.print(f"  failed: {asset} · {check}", style="red", highlight=False)
    for asset, check in warned:
        console.print(f"  warned: {asset} · {check}", style="yellow", highlight=False)


def _drift(con: duckdb.DuckDBPyConnection, product: str, console: Console) -> None:
    lines: list[str] = []
    for name in _tables_of(con, product, "drift_"):
        table = f'lake."{product}"."{name}"'
        windows, drifted_windows = con.execute(
            "SELECT count(DISTINCT (window_start, window_number)), "
            "count(DISTINCT (window_start, window_number)) FILTER (is_drifted) "
            f"FROM {table}"
        ).fetchone() or (0, 0)
        newest = con.execute(
            f"""
            WITH columns AS (
                SELECT window_start, window_end, "column", bool_or(is_drifted) AS is_drifted,
                       max(score / threshold) AS times
                FROM (FROM {table} QUALIFY
                      rank() OVER (ORDER BY window_start DESC, window_number DESC) = 1)
                GROUP BY ALL)
            SELECT window_start::VARCHAR, window_end::VARCHAR, count(*),
                   count(*) FILTER (is_drifted),
                   string_agg("column", ', ' ORDER BY times DESC) FILTER (is_drifted)
            FROM columns GROUP BY ALL
            """
        ).fetchone()
        if newest is not None:
            first, last, columns, drifted, names = newest
            lines.append(
                f"{name}: {drifted_windows} of {windows} windows have a drifted column; in the "
                f"newest ({first} to {last}) {drifted} of {columns}"
                + (f": {names}" if names else "")
            )
    if lines:
        _print(console, "Drift", "\n".join(lines))


def _charts(con: duckdb.DuckDBPyConnection, product: str, console: Console) -> None:
    lines: list[str] = []
    for name in _tables_of(con, product, "chart_"):
        charts, points, out = con.execute(
            "SELECT count(DISTINCT chart), count(*), count(*) FILTER (is_out_of_control) "
            f'FROM lake."{product}"."{name}" WHERE NOT list_contains(?, panel)',
            [list(INFORMATIVE_PANELS)],
        ).fetchone() or (0, 0, 0)
        if not points:
            continue
        newest = con.execute(
            f"""
            SELECT DISTINCT chart FROM (
                FROM lake."{product}"."{name}"
                QUALIFY rank() OVER (PARTITION BY chart ORDER BY period DESC) = 1)
            WHERE is_out_of_control AND NOT list_contains(?, panel) ORDER BY chart
            """,
            [list(INFORMATIVE_PANELS)],
        ).fetchall()
        lines.append(
            f"{name}: {out:,} of {points:,} points of {charts} chart{'s' if charts > 1 else ''} "
            "are out of control; "
            + (f"the newest of {', '.join(chart for (chart,) in newest)}" if newest else "none now")
        )
    if lines:
        _print(console, "Control charts", "\n".join(lines))


def _tables_of(con: duckdb.DuckDBPyConnection, product: str, prefix: str) -> list[str]:
    found = con.execute(
        """
        SELECT table_name FROM duckdb_tables() WHERE database_name = 'lake'
        AND schema_name = ? AND starts_with(table_name, ?) ORDER BY table_name
        """,
        [product, prefix],
    ).fetchall()
    return [name for (name,) in found]


def _models(lake: Lake, product: str, console: Console) -> None:
    for name in models_of(lake, product):
        with lake.reader() as con:
            newest = versions(con, product, name)[0]
            version = champion(con, product, name)
        if newest.refused_by:
            refused = ", ".join(gate.name for gate in newest.refused_by)
            _print(console, f"Model {name}", f"version {newest.version} was refused by {refused}")
        if version is None:
            continue
        model, baselines = version.metrics["holdout"], version.metrics["baselines"]
        table = _table("", "model", "95 % interval",
                       *baselines, right=set(range(1, 3 + len(baselines))))  # fmt: skip
        for metric, label in (
            ("roc_auc", "ROC AUC"),
            ("average_precision", "average precision"),
            ("brier", "Brier score"),
            ("log_loss", "log loss"),
            ("expected_calibration_error", "calibration error"),
        ):
            low, high = version.metrics["intervals"][metric]
            others = (f"{values[metric]:.4f}" for values in baselines.values())
            table.add_row(label, f"{model[metric]:.4f}", f"{low:.4f} to {high:.4f}", *others)
        title = f"Model {name}, champion is version {version.version}, on hold-out "
        _print(console, title + version.metrics["window"], table)


def _release(log: ReleaseLog, console: Console) -> None:
    newest = log.newest()
    if newest is None or newest.serving is None:
        text = "none yet"
    else:
        serving = newest.serving
        text = (
            f"release {serving.number} of {serving.moment:%Y-%m-%d %H:%M} UTC, "
            f"snapshot {serving.snapshot}, {serving.held:,} checks held"
        )
    _print(console, "Release", text)
    if newest is not None and newest.kind == "refusal":
        console.print("  The newest state was refused:", style="red")
        for line in newest.problems[:10]:
            console.print(f"  - {line}", style="red", markup=False, highlight=False, soft_wrap=True)
    elif newest is not None and newest.on_hold:
        console.print(
            f"  Rolled back and on hold until `ap release resume {log.product}`", style="yellow"
        )


def _next(log: ReleaseLog, hints: Sequence[str], console: Console) -> None:
    newest = log.newest()
    if newest is None or newest.serving is None:
        hints = (f"{ap_command()} run {log.product}", "make ui")
    _print(console, "Next", "\n".join(f"  {hint}" for hint in hints))


def _hints(con: duckdb.DuckDBPyConnection, product: str) -> list[str]:
    """What a person may do with a release: read it, look at it, deliver the next month."""
    ap = ap_command()
    tables = _tables_of(con, product, "mart_") or _tables_of(con, product, "")
    hints = [f'{ap} sql {product} "select * from {name} limit 5"' for name in tables[:1]]
    hints.append("make ui   # the asset graph, checks and reports on http://127.0.0.1:3000")
    spec = find_product(product)
    days = ledger.ledger(con, product).filter(pl.col("partition") != WHOLE)["partition"]
    if spec.delivery is not None and days.len():
        first = dt.date.fromisoformat(max(days)) + dt.timedelta(days=1)
        month_end = first.replace(day=calendar.monthrange(first.year, first.month)[1])
        last = min(month_end, spec.end_day - dt.timedelta(days=1))
        if first <= last:
            hints.append(f"{ap} deliver {product} --from {first} --through {last}")
            hints.append(f"{ap} run {product}")
    return hints
