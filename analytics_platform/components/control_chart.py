"""The `ControlChart` component: metrics over time with frozen limits and rules, as an asset.

One declaration holds several charts: one asset, one table, one report, one check. Limits are
estimated once and kept in the lake; the check speaks of new alarms only (docs/adr/0013).
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import dagster as dg
import duckdb
import polars as pl
from pydantic import Field

from analytics_platform.components.chart_metrics import (
    MetadataMetric,
    Pipeline,
    ReceiptMetric,
    failed_run_points,
    freshness_points,
    metadata_points,
    receipt_points,
    sql_points,
)
from analytics_platform.components.product_spec import (
    ProductSpec,
    check_result,
    file_link,
    file_record,
    frame_asset,
    product_of,
)
from analytics_platform.lake import FileRecord, FileStore, Lake, WriteRecord, chart_records, records
from analytics_platform.lake.chart_records import AcknowledgementRecord, LimitsRecord
from analytics_platform.lake.io_manager import LakeResource
from analytics_platform.lake.records import WHOLE
from analytics_platform.lake.sql import table_name
from analytics_platform.monitoring.spc import (
    Baseline,
    Charted,
    ChartSpec,
    Frozen,
    Kind,
    Seasonality,
    SpcError,
    estimate_again,
    run_chart,
)
from analytics_platform.monitoring.spc.chart import checked_points
from analytics_platform.monitoring.spc.judge import INFORMATIVE_PANELS
from analytics_platform.monitoring.spc.limits import Limits
from analytics_platform.monitoring.spc.phases import MONITORING
from analytics_platform.monitoring.spc.report import Section, covered, moment_text, report_page
from analytics_platform.release import ReleaseLog
from analytics_platform.settings import get_settings

PRODUCT_TAG = "ap/product"
OPS = "ops"
TABLE_SCHEMA: dict[str, Any] = {
    "chart": pl.String,
    "panel": pl.String,
    "period": pl.Datetime("us"),
    "value": pl.Float64,
    "centre": pl.Float64,
    "lower": pl.Float64,
    "upper": pl.Float64,
    "rules": pl.String,
    "is_out_of_control": pl.Boolean,
    "phase": pl.String,
}
MOST_LISTED = 20


class ChartBaseline(dg.Model, dg.Resolvable):
    """What the first limits are estimated on, and whether a rule estimates them anew.

    Attributes:
        first: The first day, ISO; with `last`.
        last: The last day, ISO, included.
        points: Instead of days: this many first points.
        reestimate_after: After so many points limits are estimated anew on them; only a person
            does that unless given.
    """

    first: str = ""
    last: str = ""
    points: int | None = None
    reestimate_after: int | None = None


class DeclaredChart(dg.Model, dg.Resolvable):
    """One control chart. Its metric is one of `sql`, `receipt`, `asset_metadata`, `pipeline`.

    Attributes:
        name: Short, for tables and links: lower-case letters, digits, underscores.
        title: What is charted, for people.
        unit: Its unit.
        kind: Which chart; `monitoring.spc` says what each takes.
        sql: A statement on the lake that gives `period`, `value` and, by kind, `n` and `spread`.
            Tables are the product's unless named with their schema.
        receipt: A measure of receipts.
        asset_metadata: A number in an asset's metadata.
        pipeline: `freshness_hours`, hours from arrival to release; `failed_runs`, by day.
        rules: `limits`, `western_electric`, `nelson`, or a list of their codes.
        seasonality: `weekly` or `none`.
        between: Of xbar charts: whether limits hold the variation between subgroups.
        width: Distance of the limits, in standard deviations.
        least_departure: The smallest departure from the centre that matters.
        minimum_points: The fewest points that limits are estimated on.
        most_excluded: The largest share of the baseline that may be left out as outliers.
        ewma_weight: Of EWMA: the newest point's weight.
        cusum_reference: Of CUSUM: k.
        cusum_limit: Of CUSUM: h.
        baseline: The declaration's unless given.
    """

    name: str
    title: str
    kind: Kind
    unit: str = ""
    sql: str | None = None
    receipt: ReceiptMetric | None = None
    asset_metadata: MetadataMetric | None = None
    pipeline: Pipeline | None = None
    rules: str | list[str] = "limits"
    seasonality: Seasonality = "none"
    between: bool = False
    width: float = 3.0
    least_departure: float = 0.0
    minimum_points: int = 20
    most_excluded: float = 0.25
    ewma_weight: float = 0.2
    cusum_reference: float = 0.5
    cusum_limit: float = 5.0
    baseline: ChartBaseline | None = None


class ControlChart(dg.Component, dg.Model, dg.Resolvable):
    """Control charts of a product's data or of its pipeline.

    Attributes:
        name: The asset's name, and the table's.
        description: What is watched and why.
        deps: The assets that the metrics read; the charts are drawn anew when they change.
        baseline: What limits are first estimated on.
        charts: The charts.
        action: Whether an alarm warns or blocks the release.
        alarm_periods: For how many periods an alarm stands, its own among them.
        of_pipeline: Whether the charts are of runs rather than data: their points are kept beside
            the platform's own records, and belong to no release.
    """

    name: str
    description: str
    charts: list[DeclaredChart]
    deps: list[str] = Field(default_factory=list)
    baseline: ChartBaseline | None = None
    action: Literal["warn", "block"] = "warn"
    alarm_periods: int = 3
    of_pipeline: bool = False

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The charts as an asset with its table, its report and its check.

        Raises:
            SpcError: If a chart is declared wrongly; names it.
        """
        product = product_of(context.path)
        charts = checked_charts(self)
        return dg.Definitions(assets=[_build_asset(self, product, charts)])


class ChartConfig(dg.Config):
    """What a person may ask of a run.

    Attributes:
        reestimate: Charts whose limits are estimated anew, on `first` to `last`; they hold for what
            comes after.
        first: The first day, ISO.
        last: The last day, ISO, included.
        acknowledge: Charts whose alarms so far are known and no longer fail the check; patterns and
            running sums begin anew after them.
        reason: Why, which is kept.
    """

    reestimate: list[str] = Field(default_factory=list)
    first: str = ""
    last: str = ""
    acknowledge: list[str] = Field(default_factory=list)
    reason: str = ""


@dataclass(frozen=True)
class CheckedChart:
    """A declared chart, checked.

    Attributes:
        declared: The declaration.
        spec: The chart.
        baseline: Its baseline.
        declaration: A hash of what its limits follow from.
    """

    declared: DeclaredChart
    spec: ChartSpec
    baseline: Baseline
    declaration: str

    @property
    def name(self) -> str:
        """The chart's name."""
        return self.declared.name

    @property
    def says(self) -> str:
        """How it is charted, in words."""
        declared, baseline = self.declared, self.baseline
        rules = declared.rules if isinstance(declared.rules, str) else ", ".join(declared.rules)
        parts = [
            f"kind {declared.kind}",
            f"rules {rules}",
            f"baseline {baseline.first} to {baseline.last}"
            if baseline.points is None
            else f"baseline of the first {baseline.points} points",
        ]
        if baseline.reestimate_after:
            parts.append(f"estimated anew after {baseline.reestimate_after} points")
        if declared.seasonality != "none":
            parts.append(f"season {declared.seasonality}")
        if declared.least_departure:
            parts.append(f"limits at least {declared.least_departure:g} {declared.unit} away")
        return "; ".join(parts)


@dataclass(frozen=True)
class _Point:
    """A point as it was drawn before: its value, and the codes of the patterns it completed."""

    value: float | None
    codes: frozenset[str]


@dataclass(frozen=True)
class _Drawn:
    """A chart after a run: what was judged, or why nothing was."""

    chart: CheckedChart
    charted: Charted | None
    problem: str = ""

    @property
    def points(self) -> pl.DataFrame:
        if self.charted is None:
            return pl.DataFrame(schema=TABLE_SCHEMA)
        return self.charted.judgement.points.select(
            pl.lit(self.chart.name).alias("chart"),
            "panel",
            "period",
            "value",
            "centre",
            "lower",
            "upper",
            pl.col("rules").list.join(", "),
            "is_out_of_control",
            "phase",
        )


@dataclass(frozen=True)
class _Alarm:
    """A signal that fails the check."""

    chart: CheckedChart
    row: Mapping[str, Any]

    @property
    def point(self) -> str:
        """The chart and the period of the point that completes the pattern."""
        return f"{self.chart.name} {moment_text(self.row['period'])}"

    def __str__(self) -> str:
        row = self.row
        return (
            f"{self.chart.declared.title} ({self.chart.name}), {row['panel']}, "
            f"{moment_text(row['period'])}: {row['value']:.5g} {self.chart.declared.unit}".rstrip()
            + f". {row['rule']} ({covered(row['covers'])})"
        )


def checked_charts(declared: ControlChart) -> list[CheckedChart]:
    """The charts of a declaration, checked.

    Raises:
        SpcError: If one is declared wrongly; names it.
    """
    names = [chart.name for chart in declared.charts]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        raise SpcError(
            f"Declaring {declared.name}: expected charts with names of their own, found "
            f"{', '.join(twice) + ' twice' if twice else 'no chart'}."
        )
    if declared.alarm_periods < 1:
        raise SpcError(
            f"Declaring {declared.name}: expected `alarm_periods` of at least 1, found "
            f"{declared.alarm_periods}."
        )
    found: list[CheckedChart] = []
    for chart in declared.charts:
        try:
            found.append(_chart(declared, chart))
        except SpcError as error:
            raise SpcError(f"Chart {chart.name} of {declared.name}: {error}") from error
    return found


def _chart(declared: ControlChart, chart: DeclaredChart) -> CheckedChart:
    metrics = {
        "sql": chart.sql,
        "receipt": chart.receipt.model_dump() if chart.receipt else None,
        "asset_metadata": chart.asset_metadata.model_dump() if chart.asset_metadata else None,
        "pipeline": chart.pipeline,
    }
    given = {name: metric for name, metric in metrics.items() if metric is not None}
    if len(given) != 1:
        raise SpcError(
            f"expected one metric of {', '.join(metrics)}; found {', '.join(given) or 'none'}."
        )
    stated = chart.baseline or declared.baseline
    if stated is None:
        raise SpcError("expected a `baseline`, of the chart or of the declaration; found none.")
    baseline = Baseline(**stated.model_dump())
    for name in ("points", "reestimate_after"):
        size = getattr(baseline, name)
        if size is not None and size < chart.minimum_points:
            raise SpcError(
                f"expected a baseline with `{name}` of at least `minimum_points`, which is "
                f"{chart.minimum_points}; found {size}: limits would never be estimated."
            )
    shared = {
        name: getattr(chart, name)
        for name in ChartSpec.__dataclass_fields__
        if name in DeclaredChart.model_fields
    }
    # What limits follow from. Rules may be changed without moving them.
    follows = {name: shared[name] for name in _LIMITS_FOLLOW_FROM} | given | stated.model_dump()
    declaration = hashlib.sha256(json.dumps(follows, sort_keys=True).encode()).hexdigest()[:16]
    return CheckedChart(chart, ChartSpec(**shared), baseline, declaration)


_LIMITS_FOLLOW_FROM = (
    "kind",
    "seasonality",
    "between",
    "width",
    "minimum_points",
    "most_excluded",
)


def _build_asset(
    declared: ControlChart, product: ProductSpec, charts: Sequence[CheckedChart]
) -> dg.AssetsDefinition:
    blocks = declared.action == "block"
    listed = "\n".join(
        f"- **{chart.declared.title}** (`{chart.name}`): {chart.says}" for chart in charts
    )
    spec = product.asset_spec(
        declared.name,
        description=f"{declared.description}\n\n{listed}",
        kinds={"polars", "ducklake"},
        deps=[product.key(name) for name in declared.deps],
        row_key=() if declared.of_pipeline else ("chart", "panel", "period"),
        metadata={"dagster/table_name": "lake.ops.chart_points"} if declared.of_pipeline else None,
    )
    in_control = dg.AssetCheckSpec(
        "in_control",
        asset=spec.key,
        blocking=blocks,
        description=f"{'Blocks' if blocks else 'Warns'} when a chart's newest "
        f"{declared.alarm_periods} periods, or any that came or was corrected since the last "
        "drawing, break a rule, and when a chart cannot be judged; names chart, period, value and "
        "rule.",
    )

    def draw(
        context: dg.AssetExecutionContext, lake: Lake, config: ChartConfig
    ) -> tuple[list[_Drawn], list[_Alarm]]:
        _require_known(declared, charts, config)
        with lake.reader(snapshot=lake.snapshot()) as con:
            before = _drawn_before(con, product.name, declared)
            known = _known_limits(con, product.name, declared.name)
            acknowledged = chart_records.acknowledged(con, product.name, declared.name)
            acknowledging = _acknowledging(declared, config, before)
            for name, through in acknowledging.items():
                acknowledged.setdefault(name, []).append(through)
            drawn = [
                _draw(con, context, lake, product, chart, config,
                      known.get(chart.name, ()), acknowledged.get(chart.name, ()))
                for chart in charts
            ]  # fmt: skip
        _record(lake, context, product, declared, drawn, acknowledging, config.reason)
        alarms = [
            alarm
            for one in drawn
            for alarm in _alarms(
                one,
                before.get(one.chart.name, {}),
                acknowledged.get(one.chart.name, ()),
                declared.alarm_periods,
            )
        ]
        return drawn, alarms

    def checked(
        context: dg.AssetExecutionContext,
        lake: Lake,
        drawn: Sequence[_Drawn],
        alarms: Sequence[_Alarm],
    ) -> dg.AssetCheckResult:
        judged = [one for one in drawn if one.charted is not None and one.charted.frozen]
        broken = [f"{one.chart.name}: {one.problem}" for one in drawn if one.charted is None]
        return check_result(
            lake,
            context,
            spec.key,
            in_control.name,
            passed=not alarms and not broken,
            blocking=blocks,
            metadata={
                "charts_judged": len(judged),
                "charts_not_judged": ", ".join(one.chart.name for one in drawn if one not in judged)
                or "none",
                "alarms": len(alarms),
                **({"broken": broken} if broken else {}),
                **(
                    {
                        "out_of_control": [str(alarm) for alarm in alarms[:MOST_LISTED]],
                        # What an alert has told already is told by these.
                        "points": sorted({alarm.point for alarm in alarms}),
                    }
                    if alarms
                    else {}
                ),
            },
        )

    if declared.of_pipeline:

        @dg.multi_asset(
            name=spec.key.to_python_identifier(), specs=[spec], check_specs=[in_control]
        )
        def of_pipeline(
            context: dg.AssetExecutionContext, lake: LakeResource, config: ChartConfig
        ) -> Iterator[Any]:
            drawn, alarms = draw(context, lake.lake, config)
            table = pl.concat(one.points for one in drawn)
            metadata, files = _pictures(product, declared, drawn)
            # A release pins what its product's records name, and no run can be made again.
            files = [
                replace(one, product=OPS, asset=f"{product.name}.{one.asset}") for one in files
            ]
            with lake.lake.transaction(f"write points of {declared.name}") as transaction:
                con = transaction.connection
                chart_records.replace_points(con, product.name, declared.name, table)
                transaction.record_writes(
                    [
                        WriteRecord(
                            product.name, declared.name, WHOLE, context.run.run_id, table.height
                        )
                    ]
                )
                transaction.record_files(files)
            yield dg.MaterializeResult(asset_key=spec.key, metadata=metadata)
            yield checked(context, lake.lake, drawn, alarms)

        return of_pipeline

    @frame_asset(spec, [in_control])
    def of_data(
        context: dg.AssetExecutionContext, lake: LakeResource, config: ChartConfig
    ) -> Iterator[Any]:
        drawn, alarms = draw(context, lake.lake, config)
        metadata, files = _pictures(product, declared, drawn)
        with lake.lake.transaction(f"record report of {declared.name}") as transaction:
            transaction.record_files(files)
        yield dg.MaterializeResult(
            asset_key=spec.key, value=pl.concat(one.points for one in drawn), metadata=metadata
        )
        yield checked(context, lake.lake, drawn, alarms)

    return of_data


def _require_known(
    declared: ControlChart, charts: Sequence[CheckedChart], config: ChartConfig
) -> None:
    """Refuse a request that names no chart, no days or no reason."""
    asked = [*config.reestimate, *config.acknowledge]
    unknown = sorted(set(asked) - {chart.name for chart in charts})
    problem = ""
    if unknown:
        problem = f"it has no chart {', '.join(unknown)}; its charts are " + ", ".join(
            chart.name for chart in charts
        )
    elif asked and not config.reason.strip():
        problem = "expected a `reason`, which is kept; found none"
    elif config.reestimate and not (config.first and config.last):
        problem = "expected `first` and `last`, the days to estimate on; found none"
    if problem:
        raise dg.Failure(f"Running {declared.name} as asked: {problem}.", allow_retries=False)


def _draw(
    con: duckdb.DuckDBPyConnection,
    context: dg.AssetExecutionContext,
    lake: Lake,
    product: ProductSpec,
    chart: CheckedChart,
    config: ChartConfig,
    known: Sequence[tuple[str, Frozen]],
    acknowledged: Sequence[Any],
) -> _Drawn:
    """Read a chart's points and judge them."""
    frozen = [one for declaration, one in known if declaration == chart.declaration]
    points = _points(con, context, lake, product, chart.declared)
    checked_points(chart.spec, points)
    asked: list[Frozen] = []
    if chart.name in config.reestimate:
        try:
            asked = [estimate_again(chart.spec, points, config.first, config.last, config.reason)]
        except SpcError as error:
            # Nothing is drawn: the chart as it stands is worth more than one without limits.
            raise dg.Failure(
                f"Estimating {chart.name} anew, as asked: {error}", allow_retries=False
            ) from error
    since = {one.since for one in asked}
    kept = [one for one in frozen if one.since not in since]
    try:
        charted = run_chart(chart.spec, chart.baseline, points, [*kept, *asked], acknowledged)
    except SpcError as error:
        context.log.warning(f"{chart.name} is not judged: {error}")
        return _Drawn(chart, None, str(error))
    for note in charted.notes:
        context.log.info(f"{chart.name}: {note}")
    charted = replace(charted, estimated=(*asked, *charted.estimated))
    return _Drawn(chart, charted, "" if charted.frozen else charted.notes[0])


def _points(
    con: duckdb.DuckDBPyConnection,
    context: dg.AssetExecutionContext,
    lake: Lake,
    product: ProductSpec,
    declared: DeclaredChart,
) -> pl.DataFrame:
    if declared.sql is not None:
        return sql_points(con, product.name, declared.sql)
    if declared.receipt is not None:
        return receipt_points(con, product.name, declared.receipt)
    if declared.asset_metadata is not None:
        metric = declared.asset_metadata
        return metadata_points(context.instance, product.key(metric.asset), metric.entry)
    if declared.pipeline == "failed_runs":
        return failed_run_points(context.instance, {PRODUCT_TAG: product.name})
    log = ReleaseLog(lake, FileStore(get_settings().files_path), product.name)
    return freshness_points(con, log)


def _known_limits(
    con: duckdb.DuckDBPyConnection, product: str, asset: str
) -> dict[str, list[tuple[str, Frozen]]]:
    """Per chart: the limits that were kept, with the hash of the declaration they are of."""
    known: dict[str, list[tuple[str, Frozen]]] = {}
    for row in chart_records.limits_of(con, product, asset).iter_rows(named=True):
        frozen = Frozen(row["since"], Limits.of_document(row["limits"]), row["reason"])
        known.setdefault(row["chart"], []).append((row["declaration"], frozen))
    return known


def _drawn_before(
    con: duckdb.DuckDBPyConnection, product: str, declared: ControlChart
) -> dict[str, dict[tuple[str, Any], _Point]]:
    """Per chart: the points that the table held before this run, by panel and period."""
    schema, table = (OPS, "chart_points") if declared.of_pipeline else (product, declared.name)
    if not records.has_table(con, table, schema=schema):
        return {}
    where, given = "", list[str]()
    if declared.of_pipeline:
        where, given = "WHERE product = ? AND asset = ?", [product, declared.name]
    rows = con.execute(
        "SELECT chart, panel, period, value, rules, is_out_of_control "
        f"FROM {table_name(schema, table)} {where}",
        given,
    ).fetchall()
    found: dict[str, dict[tuple[str, Any], _Point]] = {}
    for chart, panel, period, value, rules, out in rows:
        codes = frozenset(rules.split(", ")) if out else frozenset[str]()
        found.setdefault(chart, {})[panel, period] = _Point(value, codes)
    return found


def _alarms(
    drawn: _Drawn,
    before: Mapping[tuple[str, Any], _Point],
    acknowledged: Sequence[Any],
    alarm_periods: int,
) -> Iterator[_Alarm]:
    """The signals that fail the check.

    A signal does so in the newest periods, however often it is judged, until a person acknowledges
    it; an older one only where it is news: a point of its pattern came, or was corrected, since the
    chart was last drawn. What a first drawing, or another rule, finds in the past is history.
    """
    if drawn.charted is None:
        return
    judgement = drawn.charted.judgement
    periods = judgement.points.filter(pl.col("value").is_not_null())["period"].unique().sort()
    if not len(periods):
        return
    newest = periods[-min(alarm_periods, len(periods))]
    known = max(acknowledged, default=None)
    values = {
        (panel, period): value
        for panel, period, value in judgement.points.select("panel", "period", "value").iter_rows()
    }
    signals = judgement.signals.filter(
        pl.col("phase") == MONITORING, ~pl.col("panel").is_in(INFORMATIVE_PANELS)
    )
    for row in signals.iter_rows(named=True):
        places = [(row["panel"], period) for period in row["covers"]]
        at = before.get((row["panel"], row["period"]))
        is_news = bool(before) and (
            (at is None or row["code"] not in at.codes)
            and any(_is_changed(before.get(place), values[place]) for place in places)
        )
        stands = row["period"] >= newest and (known is None or row["period"] > known)
        if is_news or stands:
            yield _Alarm(drawn.chart, row)


def _is_changed(before: _Point | None, value: float | None) -> bool:
    """Whether a point came or was corrected; a sum in another order rounds otherwise."""
    if before is None or before.value is None or value is None:
        return before is None or before.value is not value
    return not math.isclose(before.value, value, rel_tol=1e-9, abs_tol=1e-12)


def _acknowledging(
    declared: ControlChart,
    config: ChartConfig,
    before: Mapping[str, Mapping[tuple[str, Any], _Point]],
) -> dict[str, Any]:
    """Per chart that a person acknowledges: the newest period that they could have seen."""
    unseen = [name for name in config.acknowledge if not before.get(name)]
    if unseen:
        raise dg.Failure(
            f"Running {declared.name} as asked: of {', '.join(unseen)} nothing was drawn yet that "
            "could be acknowledged. Materialize it first.",
            allow_retries=False,
        )
    return {name: max(period for _, period in before[name]) for name in config.acknowledge}


def _record(
    lake: Lake,
    context: dg.AssetExecutionContext,
    product: ProductSpec,
    declared: ControlChart,
    drawn: Sequence[_Drawn],
    acknowledging: Mapping[str, Any],
    reason: str,
) -> None:
    """Keep the limits that were estimated and what a person said."""
    run_id = context.run.run_id
    limits = [
        LimitsRecord(
            product.name,
            declared.name,
            one.chart.name,
            one.chart.declaration,
            frozen.since,
            frozen.limits.document(),
            frozen.reason,
            run_id,
        )
        for one in drawn
        if one.charted is not None
        for frozen in one.charted.estimated
    ]
    known = [
        AcknowledgementRecord(product.name, declared.name, name, through, reason, run_id)
        for name, through in acknowledging.items()
    ]
    if not limits and not known:
        return
    with lake.transaction(f"keep limits of {declared.name}") as transaction:
        con = transaction.connection
        chart_records.insert_limits(con, limits, transaction.snapshot_id)
        chart_records.insert_acknowledgements(con, known, transaction.snapshot_id)


def _pictures(
    product: ProductSpec, declared: ControlChart, drawn: Sequence[_Drawn]
) -> tuple[dict[str, Any], list[FileRecord]]:
    """The pictures and the report, stored: the metadata that shows them, and their records."""
    from analytics_platform.monitoring.spc.plot import chart_picture

    store = FileStore(get_settings().files_path)
    metadata: dict[str, Any] = {}
    files: list[FileRecord] = []
    sections: list[Section] = []
    for one in drawn:
        chart = one.chart.declared
        picture = None
        if one.charted is not None and one.charted.judgement.points.height:
            picture = chart_picture(one.charted, title=chart.title, unit=chart.unit)
            stored = store.put(picture, f"{declared.name}_{chart.name}.svg")
            files.append(file_record(product, declared.name, WHOLE, stored))
            metadata[chart.name] = file_link(stored.sha256, stored.name)
        else:
            metadata[chart.name] = one.problem or "there are no points yet"
        sections.append(
            Section(chart.name, chart.title, one.chart.says, one.charted, picture, one.problem)
        )
    page = report_page(f"{product.title}: {declared.name}", declared.description, sections)
    report = store.put(page.encode(), f"{declared.name}.html")
    files.append(file_record(product, declared.name, WHOLE, report))
    return {"report": dg.MetadataValue.url(store.ui_path(report)), **metadata}, files
