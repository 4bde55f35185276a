"""What the lake remembers of control charts: limits, acknowledged alarms, points of the pipeline.

Limits are events that are only added to, so that who reads a chart can tell which limits held when,
and why they were estimated. Belongs here: these `ops` tables and their shapes. Does not belong
here: what limits are (`monitoring.spc`) and when they are due (the `ControlChart` component).

The tables are made when they are first written to: a lake may be older than its charts.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import polars as pl

from analytics_platform.lake import records

TABLES = {
    "chart_limits": """
        product VARCHAR, asset VARCHAR, chart VARCHAR, declaration VARCHAR, since VARCHAR,
        limits VARCHAR, reason VARCHAR, run_id VARCHAR, snapshot_id BIGINT,
        estimated_at TIMESTAMP""",
    "chart_acknowledgements": """
        product VARCHAR, asset VARCHAR, chart VARCHAR, through TIMESTAMP, reason VARCHAR,
        run_id VARCHAR, snapshot_id BIGINT, acknowledged_at TIMESTAMP""",
    "chart_points": """
        product VARCHAR, asset VARCHAR, chart VARCHAR, panel VARCHAR, period TIMESTAMP,
        "value" DOUBLE, centre DOUBLE, lower DOUBLE, upper DOUBLE, rules VARCHAR,
        is_out_of_control BOOLEAN, phase VARCHAR""",
}


@dataclass(frozen=True)
class LimitsRecord:
    """Limits of a chart, estimated once and then kept.

    Attributes:
        product: The product.
        asset: The asset that declares the chart.
        chart: The chart's name.
        declaration: A hash of what the limits depend on; another declaration has limits of its own.
        since: The first moment that they hold for, ISO.
        limits: The limits, as JSON.
        reason: Why they were estimated.
        run_id: Dagster's run.
    """

    product: str
    asset: str
    chart: str
    declaration: str
    since: str
    limits: str
    reason: str
    run_id: str


@dataclass(frozen=True)
class AcknowledgementRecord:
    """A person's word that the alarms of a chart up to a moment are known.

    Attributes:
        product: The product.
        asset: The asset that declares the chart.
        chart: The chart's name.
        through: The last period whose alarms are known.
        reason: What the person said.
        run_id: Dagster's run.
    """

    product: str
    asset: str
    chart: str
    through: dt.datetime
    reason: str
    run_id: str


def create_tables(con: duckdb.DuckDBPyConnection) -> None:
    """Make the tables that are not there, inside the caller's transaction."""
    for name, columns in TABLES.items():
        con.execute(f"CREATE TABLE IF NOT EXISTS lake.ops.{name} ({columns})")


def insert_limits(
    con: duckdb.DuckDBPyConnection, limits: Sequence[LimitsRecord], snapshot_id: int
) -> None:
    """Append limits, as of the snapshot that makes them visible."""
    create_tables(con)
    moment = records.now()
    records.insert(
        con,
        "chart_limits",
        [{**vars(one), "snapshot_id": snapshot_id, "estimated_at": moment} for one in limits],
    )


def insert_acknowledgements(
    con: duckdb.DuckDBPyConnection, known: Sequence[AcknowledgementRecord], snapshot_id: int
) -> None:
    """Append acknowledgements, as of the snapshot that makes them visible."""
    create_tables(con)
    moment = records.now()
    records.insert(
        con,
        "chart_acknowledgements",
        [{**vars(one), "snapshot_id": snapshot_id, "acknowledged_at": moment} for one in known],
    )


def limits_of(con: duckdb.DuckDBPyConnection, product: str, asset: str) -> pl.DataFrame:
    """The limits in force of an asset's charts; of two for the same moment the newer.

    Columns: chart, declaration, since, limits, reason.
    """
    if not records.has_table(con, "chart_limits"):
        return pl.DataFrame(
            schema=dict.fromkeys(("chart", "declaration", "since", "limits", "reason"), pl.String())
        )
    return con.execute(
        """
        SELECT chart, declaration, since, limits, reason FROM lake.ops.chart_limits
        WHERE product = ? AND asset = ?
        QUALIFY row_number() OVER (PARTITION BY chart, declaration, since
                                   ORDER BY snapshot_id DESC, estimated_at DESC) = 1
        ORDER BY chart, since
        """,
        [product, asset],
    ).pl()


def acknowledged(
    con: duckdb.DuckDBPyConnection, product: str, asset: str
) -> dict[str, list[dt.datetime]]:
    """Per chart of an asset, the periods through which a person knew its alarms, in order."""
    found: dict[str, list[dt.datetime]] = {}
    if records.has_table(con, "chart_acknowledgements"):
        rows = con.execute(
            "SELECT DISTINCT chart, through FROM lake.ops.chart_acknowledgements "
            "WHERE product = ? AND asset = ? ORDER BY chart, through",
            [product, asset],
        ).fetchall()
        for chart, through in rows:
            found.setdefault(chart, []).append(through)
    return found


def replace_points(
    con: duckdb.DuckDBPyConnection, product: str, asset: str, points: pl.DataFrame
) -> None:
    """Replace the judged points of an asset whose charts are of the pipeline."""
    create_tables(con)
    con.execute(
        "DELETE FROM lake.ops.chart_points WHERE product = ? AND asset = ?", [product, asset]
    )
    records.insert(
        con,
        "chart_points",
        points.with_columns(product=pl.lit(product), asset=pl.lit(asset)).to_dicts(),
    )
