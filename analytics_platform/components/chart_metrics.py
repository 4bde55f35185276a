"""Where the points of a control chart come from: SQL on the lake, receipts, Dagster, the releases.

Belongs here: reading a metric as a frame of `period`, `value` and, where there is one, `n` and
`spread`. Does not belong here: judging it (`monitoring.spc`).
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

import dagster as dg
import duckdb
import polars as pl

from analytics_platform.lake.records import has_table
from analytics_platform.lake.sql import identifier
from analytics_platform.release import ReleaseLog

Measure = Literal[
    "wall_seconds",
    "cpu_seconds",
    "peak_memory_bytes",
    "rows_in",
    "rows_out",
    "bytes_in",
    "bytes_out",
]
Pipeline = Literal["freshness_hours", "failed_runs"]

RECEIPTS = "receipts"
MOST_MATERIALIZATIONS = 1000
EMPTY = pl.DataFrame(
    schema={"period": pl.Datetime("us"), "value": pl.Float64, "n": pl.Float64, "spread": pl.Float64}
)


class ReceiptMetric(dg.Model, dg.Resolvable):
    """A measure of receipts: what materialisations cost.

    Attributes:
        measure: Which measure.
        asset: The asset; all assets of the product unless given, summed by run.
        per_partition: Whether to divide by the partitions that were made, so that a first load of
            a year and a day's work can be compared.
    """

    measure: Measure
    asset: str | None = None
    per_partition: bool = False


class MetadataMetric(dg.Model, dg.Resolvable):
    """A number that an asset gives as metadata of its materialisations.

    Attributes:
        asset: The asset.
        entry: The name of the entry.
    """

    asset: str
    entry: str


def sql_points(con: duckdb.DuckDBPyConnection, product: str, sql: str) -> pl.DataFrame:
    """The points that a statement gives.

    Args:
        con: A connection to the lake; its default schema becomes the product's.
        product: The product; `{product}` in the statement stands for it.
        sql: The statement.
    """
    con.execute(f"USE lake.{identifier(product)}")
    # By several threads a mean is summed in an order of chance: a release made again would have
    # other last digits.
    con.execute("SET threads = 1")
    try:
        return con.execute(sql.replace("{product}", product)).pl()
    finally:
        con.execute("RESET threads")


def receipt_points(
    con: duckdb.DuckDBPyConnection, product: str, metric: ReceiptMetric
) -> pl.DataFrame:
    """A point for each run that made the asset, or any asset; none before the first receipt."""
    if not has_table(con, RECEIPTS):
        return EMPTY
    measure = f"sum({identifier(metric.measure)})"
    value = f"{measure} / max(greatest(partitions, 1))" if metric.per_partition else measure
    return con.execute(
        f"""
        SELECT min(started_at) AS period, ({value})::DOUBLE AS value
        FROM lake.ops.receipts
        WHERE product = ? AND succeeded AND (?::VARCHAR IS NULL OR asset = ?)
        GROUP BY run_id HAVING count({identifier(metric.measure)}) > 0 ORDER BY 1
        """,
        [product, metric.asset, metric.asset],
    ).pl()


def metadata_points(instance: dg.DagsterInstance, key: dg.AssetKey, entry: str) -> pl.DataFrame:
    """A point for each of an asset's newest materialisations that have the entry as a number."""
    found: list[dict[str, Any]] = []
    records = instance.fetch_materializations(key, limit=MOST_MATERIALIZATIONS).records
    for record in records:
        given = record.asset_materialization
        value = given.metadata[entry].value if given and entry in given.metadata else None
        if isinstance(value, (int, float)):
            found.append({"period": _utc(record.timestamp), "value": float(value)})
    # A run over many partitions gives a materialisation for each, in one moment.
    return pl.DataFrame(found, schema=EMPTY.schema).unique("period", keep="last").sort("period")


def failed_run_points(instance: dg.DagsterInstance, tags: dict[str, str]) -> pl.DataFrame:
    """Per day (UTC): the product's runs that failed, of those that ended."""
    ended = {dg.DagsterRunStatus.SUCCESS: 0.0, dg.DagsterRunStatus.FAILURE: 1.0}
    records = instance.get_run_records(dg.RunsFilter(tags=tags, statuses=list(ended)))
    rows = [
        {
            "period": record.create_timestamp.astimezone(dt.UTC).replace(tzinfo=None),
            "value": ended[record.dagster_run.status],
        }
        for record in records
    ]
    return (
        pl.DataFrame(rows, schema={"period": pl.Datetime("us"), "value": pl.Float64})
        .group_by(pl.col("period").dt.truncate("1d"))
        .agg(pl.col("value").sum(), n=pl.len())
        .sort("period")
    )


def freshness_points(con: duckdb.DuckDBPyConnection, log: ReleaseLog) -> pl.DataFrame:
    """Per release: hours from the arrival of the file that waited longest to the release.

    A file arrived when it was first seen, and is released with the first release whose snapshot
    holds it.
    """
    releases = [
        {"released_at": release.moment, "snapshot": release.snapshot} for release in log.releases()
    ]
    frame = pl.DataFrame(releases, schema={"released_at": pl.Datetime("us"), "snapshot": pl.Int64})
    con.register("releases", frame.to_arrow())
    try:
        return con.execute(
            """
            WITH loaded AS (
                SELECT path, snapshot_id, recorded_at FROM lake.ops.arrivals
                WHERE product = ? AND status = 'loaded'),
            seen AS (
                SELECT path, recorded_at FROM lake.ops.arrivals
                WHERE product = ? AND status = 'waiting'),
            arrived AS (
                SELECT l.snapshot_id, coalesce(s.recorded_at, l.recorded_at) AS arrived_at
                FROM loaded l ASOF LEFT JOIN seen s
                  ON l.path = s.path AND l.recorded_at >= s.recorded_at),
            released AS (
                SELECT a.arrived_at, min_by(r.released_at, r.snapshot) AS released_at
                FROM arrived a JOIN releases r ON r.snapshot >= a.snapshot_id
                GROUP BY a.arrived_at, a.snapshot_id)
            SELECT released_at AS period,
                   max(epoch(released_at) - epoch(arrived_at)) / 3600 AS value
            FROM released GROUP BY released_at ORDER BY 1
            """,
            [log.product, log.product],
        ).pl()
    finally:
        con.unregister("releases")


def _utc(timestamp: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(timestamp, dt.UTC).replace(tzinfo=None)
