"""The `DriftMonitor` component: windows of a table compared with a reference, as an asset.

YAML says which table, windows, reference and columns, and how often the monitor may err; the
monitoring room says what is drift (`monitoring.drift`). Belongs here: reading the declaration and
the lake, and telling Dagster. Does not belong here: measures, thresholds and the page.
"""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any, Literal

import dagster as dg
import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from analytics_platform.components.product_spec import (
    NEEDS_DAYS,
    ProductSpec,
    check_result,
    file_record,
    frame_asset,
    product_of,
    run_partitions,
)
from analytics_platform.lake import FileRecord, FileStore, Lake, StoredFile, ledger
from analytics_platform.lake.io_manager import LakeResource
from analytics_platform.lake.records import WHOLE
from analytics_platform.lake.sql import identifier, table_name
from analytics_platform.modeling import champion
from analytics_platform.modeling.trainer import Explains, resolve
from analytics_platform.monitoring.drift import (
    SCORES_SCHEMA,
    UNIT,
    Blocks,
    Calibration,
    CauseFinder,
    DriftColumns,
    DriftError,
    LeastEffects,
    Length,
    PredictionChange,
    Rows,
    Window,
    WindowDrift,
    last_day,
    prediction_change,
    render,
    score_windows,
    window_between,
)
from analytics_platform.monitoring.drift.windows import not_judged_because
from analytics_platform.settings import get_settings

START, END, NUMBER = "window_start", "window_end", "window_number"
EXPLAINED_ROWS = 1_500
"""About how many rows of each side a change of the predictions is computed on."""

_EPOCH = dt.date(1970, 1, 1)
_TABLE_SCHEMA = pl.Schema(
    {
        START: pl.Date,
        END: pl.Date,
        # Tells windows of rows apart that begin on the same day; 0 for others.
        NUMBER: pl.Int64,
        **SCORES_SCHEMA,
        "reference": pl.String,
        "report_sha256": pl.String,
        "report_name": pl.String,
    }
)


class DriftReference(dg.Model, dg.Resolvable):
    """What each window is compared with: exactly one of three.

    Attributes:
        first: The first day of a fixed reference, ISO; with `last`.
        last: The last day, ISO, included.
        trailing_days: So many days before each window.
        training_set_of: The days that the champion of this model learned from.
    """

    first: str | None = None
    last: str | None = None
    trailing_days: int | None = None
    training_set_of: str | None = None


class DriftEffects(dg.Model, dg.Resolvable):
    """The least scores that matter.

    Attributes:
        numeric: In standard deviations of the reference.
        categorical: As a Jensen-Shannon distance.
        null_share: As a difference of shares.
        columns: Of single columns, instead of those of their kind.
    """

    numeric: float = LeastEffects().numeric
    categorical: float = LeastEffects().categorical
    null_share: float = LeastEffects().null_share
    columns: dict[str, float] | None = None


class Explain(dg.Model, dg.Resolvable):
    """The model whose predictions a report explains.

    Attributes:
        predictions_of: The model's name.
        features: The table that the model sees.
        key: The column that identifies a row of it.
    """

    predictions_of: str
    features: str
    key: str


class DriftMonitor(dg.Component, dg.Model, dg.Resolvable):
    """Windows of one table against a reference: scores, a report, and a check.

    Attributes:
        name: The asset and table of scores; begins with `drift_`.
        description: What is watched and why.
        table: The daily table.
        time_column: Its date column; rows without a date are left out.
        where: A condition in SQL on its columns; rows for which it does not hold are left out.
        window: `day`, `week` (Monday to Sunday), `month`, or `rows`. A day is compared with the
            days of its weekday in the reference.
        window_rows: Rows of a window of `rows`.
        row_order: The columns that, after the date, put the rows of a window of `rows` in order.
        reference: What a window is compared with.
        blocks: What goes together when chance is measured: the rows of a `day`, or those of a whole
            `window`, where its days resemble one another, as they do with weather and season.
        numeric: Numeric columns to compare.
        categorical: Columns with few values to compare.
        segments: Columns by which the cause of a drift is looked for.
        false_alarm_budget: The share of windows without any drift that may name a column; where
            some have drifted, the expected share of false ones among those named.
        least_effects: The least scores that matter.
        action: Whether a drifted newest window warns, or blocks the release.
        reports: Reports of windows that drifted and of a run's newest window, or of `all`.
        explain: The model whose predictions the report explains, if any.
    """

    name: str
    description: str
    table: str
    time_column: str
    reference: DriftReference
    where: str | None = None
    window: Literal["day", "week", "month", "rows"] = "week"
    window_rows: int | None = None
    row_order: Sequence[str] = ()
    blocks: Blocks = "day"
    numeric: Sequence[str] = ()
    categorical: Sequence[str] = ()
    segments: Sequence[str] = ()
    false_alarm_budget: float = Calibration().false_alarm_budget
    least_effects: DriftEffects = DriftEffects()
    action: Literal["warn", "block"] = "warn"
    reports: Literal["drifted", "all"] = "drifted"
    explain: Explain | None = None

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The table of scores with its reports as an asset, and its check."""
        _require_sound(self)
        return dg.Definitions(assets=[_build_asset(self, product_of(context.path))])


def _require_sound(declared: DriftMonitor) -> None:
    """Refuse a declaration that contradicts itself, or by which nothing would ever be judged.

    Raises:
        ValueError: If it does.
    """
    declaring = f"Declaring the drift monitor {declared.name}"
    if not declared.name.startswith("drift_"):
        raise ValueError(
            f"{declaring}: expected a name that begins with drift_, by which its table is found."
        )
    if (declared.window == "rows") != (declared.window_rows is not None):
        raise ValueError(
            f"{declaring}: expected window_rows with a window of rows and with no other, found "
            f"{declared.window} and {declared.window_rows}."
        )
    if declared.window_rows is not None and declared.window_rows < 1:
        raise ValueError(
            f"{declaring}: expected window_rows of at least 1, found {declared.window_rows}."
        )
    try:
        kinds = _columns(declared).kinds
        _calibration(declared)
    except DriftError as error:
        # Their own checks say what was expected and found.
        raise ValueError(f"{declaring}: {error}") from error
    least = declared.least_effects
    of_columns = least.columns or {}
    unknown = sorted(set(of_columns) - set(kinds))
    if unknown:
        raise ValueError(
            f"{declaring}: expected least_effects.columns among {list(kinds)}, found {unknown}."
        )
    effects = {
        "numeric": least.numeric,
        "categorical": least.categorical,
        "null_share": least.null_share,
        **{f"columns.{name}": score for name, score in of_columns.items()},
    }
    for name, score in effects.items():
        if not score >= 0:
            raise ValueError(
                f"{declaring}: expected least_effects.{name} of at least 0, found {score}."
            )
    _require_reference(declared, declaring)


def _require_reference(declared: DriftMonitor, declaring: str) -> None:
    reference = declared.reference
    given = [
        reference.first is not None and reference.last is not None,
        reference.trailing_days is not None,
        reference.training_set_of is not None,
    ]
    if sum(given) != 1 or (reference.first is None) != (reference.last is None):
        raise ValueError(
            f"{declaring}: expected one reference (first and last, trailing_days, or "
            f"training_set_of), found {reference}."
        )
    needed = _days_needed(declared)
    enough = (
        f"at least {needed} days, which a window of {declared.window} and blocks: "
        f"{declared.blocks} need to be judged"
    )
    if reference.trailing_days is not None and reference.trailing_days < needed:
        raise ValueError(
            f"{declaring}: expected reference.trailing_days of {enough}, found "
            f"{reference.trailing_days}."
        )
    if reference.first is None or reference.last is None:
        return
    first = _day_of("first", reference.first, declaring)
    last = _day_of("last", reference.last, declaring)
    if first > last:
        raise ValueError(
            f"{declaring}: expected reference.first on or before reference.last, found {first} "
            f"and {last}."
        )
    days = (last - first).days + 1
    if days < needed:
        raise ValueError(
            f"{declaring}: expected reference.first to reference.last to be {enough}, found "
            f"{days} ({first} to {last})."
        )


def _day_of(field: str, given: str, declaring: str) -> dt.date:
    try:
        day = dt.date.fromisoformat(given)
    except ValueError as error:
        raise ValueError(
            f"{declaring}: expected a day of the calendar as YYYY-MM-DD in reference.{field}, "
            f"found {given!r} ({error})."
        ) from error
    if str(day) != given:
        # Python also reads weeks (2013-W01-1) and days without hyphens.
        raise ValueError(
            f"{declaring}: expected a day as YYYY-MM-DD in reference.{field}, found {given!r}; "
            f"write {day}."
        )
    return day


def _days_needed(declared: DriftMonitor) -> int:
    """The days that a reference without gaps needs for the longest window to be judged."""
    if declared.window == "rows":
        # How many windows a day holds is known at run time.
        return 1
    length = {"day": 1, "week": 7, "month": 31}[declared.window]

    def is_enough(days: int) -> bool:
        ordinals = np.arange(days + length)
        window = Window("", ordinals[days:], ordinals[:days], "")
        budget = declared.false_alarm_budget
        return not_judged_because(window, ordinals, declared.blocks, budget) is None

    return next(days for days in count(1) if is_enough(days))


def _columns(declared: DriftMonitor) -> DriftColumns:
    return DriftColumns(numeric=declared.numeric, categorical=declared.categorical)


def _calibration(declared: DriftMonitor) -> Calibration:
    return Calibration(declared.false_alarm_budget, declared.blocks)


def _in_words(declared: DriftMonitor) -> str:
    reference = declared.reference
    if reference.training_set_of is not None:
        words = f"the days that {reference.training_set_of} learned from"
    elif reference.trailing_days is not None:
        words = f"the {reference.trailing_days} days before it"
    else:
        words = f"{reference.first} to {reference.last}"
    return f"{words} (those of its weekday)" if declared.window == "day" else words


def _build_asset(declared: DriftMonitor, product: ProductSpec) -> dg.AssetsDefinition:
    length = f"{declared.window_rows} rows" if declared.window == "rows" else declared.window
    reference = declared.reference
    partitions = {"day": product.daily, "week": product.weekly, "month": product.monthly}
    explain = declared.explain
    read = {declared.table}
    if reference.training_set_of is not None:
        read.add(reference.training_set_of)
    if explain is not None:
        read |= {explain.predictions_of, explain.features}
    fixed = reference.first is not None
    spec = product.asset_spec(
        declared.name,
        description=f"{declared.description}\n\nEach {length} of `{declared.table}` against "
        f"{_in_words(declared)}: scores and p-values of every column in this table, and a report "
        "as a file, linked from the materialisation. Of windows without drift at most "
        f"{declared.false_alarm_budget:.2%} name a column.",
        kinds={"evidently", "ducklake"},
        deps=[product.key(name) for name in sorted(read)],
        partition_column=None if declared.window == "rows" else START,
        row_key=[START, NUMBER, "column", "method"],
        partitions_def=partitions.get(declared.window),
        metadata={NEEDS_DAYS: f"{reference.first}/{reference.last}"} if fixed else {},
    )
    stays = dg.AssetCheckSpec(
        "no_column_drifted",
        asset=spec.key,
        blocking=declared.action == "block",
        description=f"{'Protects from' if declared.action == 'block' else 'Warns before'} data "
        f"that is no longer what it was: in the newest {length} no column has drifted from "
        f"{_in_words(declared)}.",
    )

    @frame_asset(spec, [stays])
    def drift(context: dg.AssetExecutionContext, lake: LakeResource) -> Iterator[Any]:
        store = FileStore(get_settings().files_path)
        first, last = _reference_days(lake.lake, product, reference)
        with lake.lake.reader() as con:
            table = _Table(con, product, declared)
            if table.undated:
                context.log.warning(
                    f"{declared.name}: {table.undated:,} rows of {table.rows.name} are left out, "
                    f"because their {declared.time_column} holds no date"
                )
            if declared.window == "rows":
                windows = table.windows_of_rows(first, last)
                if not windows:
                    context.log.info(
                        f"{declared.name}: nothing is judged, because none of the windows of "
                        f"{declared.window_rows:,} rows is full yet: {table.rows.name} has "
                        f"{table.dated:,} rows to look at"
                    )
            else:
                keys = run_partitions(context, spec.partitions_def)
                windows = table.windows_of_days(keys, first, last)
            judged, skipped = _judgeable(windows, table.ordinals, declared)
            for window, why in skipped:
                context.log.info(f"{declared.name} of {window.name} is not judged: {why}")
            found = score_windows(
                table.rows,
                [window for _, window in judged],
                _columns(declared),
                ordinals=table.ordinals,
                calibration=_calibration(declared),
                effects=_effects(declared),
            )
            files = _files_by_day(con, product) if table.days is not None else {}
            finder = CauseFinder(table.rows, declared.segments, table.days, files)
            explainer = _Explainer(con, store, product, declared)
            frames: list[pl.DataFrame] = []
            reports: list[FileRecord] = []
            for position, ((key, _), result) in enumerate(zip(judged, found, strict=True)):
                # The window as it was compared, which may leave days of its reference out.
                window = result.window
                start, end = table.span(window.current)
                sha256 = name = None
                metadata: dict[str, Any] = _in_numbers(result)
                is_shown = declared.reports == "all" or result.drifted
                if is_shown or position == len(judged) - 1:
                    causes = finder.causes(result)
                    change = explainer.explain(table, window)
                    html = render(
                        result,
                        f"{product.title}: {declared.table}, {length} of {start}",
                        causes=causes,
                        change=change,
                        blocks=declared.blocks,
                    )
                    report = store.put(html.encode(), f"{declared.name}_{key or start}.html")
                    sha256, name = report.sha256, report.name
                    reports.append(file_record(product, declared.name, key, report))
                    metadata["report"] = dg.MetadataValue.url(store.ui_path(report))
                    metadata["causes"] = dg.MetadataValue.json(
                        {
                            "columns": [cause.plain() for cause in causes],
                            "predictions": change.plain() if change else None,
                        }
                    )
                number = int(window.current[0]) if table.days is None else 0
                frames.append(_table_rows(result, start, end, number, sha256, name))
                if spec.partitions_def is not None:
                    context.add_asset_metadata(metadata, asset_key=spec.key, partition_key=key)
                context.log.info(f"{window.name}: {', '.join(result.drifted) or 'no drift'}")
        if reports:
            with lake.lake.transaction(f"record reports of {declared.name}") as transaction:
                transaction.record_files(reports)
        frame = pl.concat([pl.DataFrame(schema=_TABLE_SCHEMA), *frames])
        yield dg.MaterializeResult(asset_key=spec.key, value=frame)
        passed, metadata = _newest(lake.lake, store, product, declared)
        yield check_result(
            lake.lake,
            context,
            spec.key,
            stays.name,
            passed=passed,
            # The newest window speaks for the table: an older one that drifted is history.
            partitions=[WHOLE],
            blocking=stays.blocking,
            metadata=metadata
            | {"windows_judged": len(found), "windows_with_drift": sum(map(_has_drift, found))},
        )

    return drift


def _has_drift(drift: WindowDrift) -> bool:
    return bool(drift.drifted)


def _effects(declared: DriftMonitor) -> LeastEffects:
    least = declared.least_effects
    return LeastEffects(least.numeric, least.categorical, least.null_share, least.columns or {})


def _reference_days(
    lake: Lake, product: ProductSpec, reference: DriftReference
) -> tuple[dt.date, dt.date] | tuple[None, None]:
    """The first and last day of a reference that is the same for all windows."""
    if reference.training_set_of is not None:
        with lake.reader() as con:
            version = champion(con, product.name, reference.training_set_of)
        if version is None:
            raise dg.Failure(
                f"{reference.training_set_of} has no champion yet, so there is no training set to "
                f"compare with; materialise {reference.training_set_of} first.",
                allow_retries=False,
            )
        first, last = version.trained_on.split("/")
        return dt.date.fromisoformat(first), dt.date.fromisoformat(last)
    if reference.first is not None and reference.last is not None:
        return dt.date.fromisoformat(reference.first), dt.date.fromisoformat(reference.last)
    return None, None


class _Table:
    """The watched table in its units: days, or equal numbers of rows."""

    def __init__(
        self, con: duckdb.DuckDBPyConnection, product: ProductSpec, declared: DriftMonitor
    ) -> None:
        self.con = con
        self._declared = declared
        day = f"{identifier(declared.time_column)}::DATE"
        source = f"SELECT * FROM {table_name(product.name, declared.table)}"
        if declared.where:
            source += f" WHERE ({declared.where})"
        # A row without a date, or of an infinite one, is of no window.
        self.dated, self.undated = con.execute(
            f"SELECT count(*) FILTER (is_dated), count(*) FILTER (NOT is_dated) "
            f"FROM (SELECT coalesce(isfinite({day}), false) AS is_dated FROM ({source}))"
        ).fetchall()[0]
        if self.undated:
            source = f"SELECT * FROM ({source}) WHERE isfinite({day})"
        if declared.window == "rows":
            order = ", ".join(identifier(name) for name in declared.row_order)
            by = identifier(declared.time_column) + (f", {order}" if order else "")
            source = (
                f"SELECT *, ((row_number() OVER (ORDER BY {by}) - 1) // {declared.window_rows})"
                f"::INTEGER AS {UNIT}, {day} AS day_ FROM ({source})"
            )
            found = con.execute(
                f"SELECT {UNIT}, min(day_), max(day_), count(*) FROM ({source}) GROUP BY ALL "
                f"HAVING count(*) = {declared.window_rows} ORDER BY 1"
            ).fetchall()
            self.days = None
            self.ordinals = None
            self._spans = [(row[1], row[2]) for row in found]
        else:
            source = f"SELECT *, ({day} - DATE '1970-01-01')::INTEGER AS {UNIT} FROM ({source})"
            found = con.execute(f"SELECT DISTINCT {UNIT} FROM ({source}) ORDER BY 1").fetchall()
            self.days = [_EPOCH + dt.timedelta(days=row[0]) for row in found]
            self.ordinals = np.array([day.toordinal() for day in self.days], np.int64)
            self._spans = [(day, day) for day in self.days]
        name = f"{product.name}.{declared.table}"
        self.rows = Rows(con, source, [row[0] for row in found], name)

    def span(self, units: Any) -> tuple[dt.date, dt.date]:
        """The first and the last day of some units."""
        return self._spans[units[0]][0], self._spans[units[-1]][1]

    def windows_of_days(
        self, keys: Sequence[str], first: dt.date | None, last: dt.date | None
    ) -> list[tuple[str, Window]]:
        """The window of each partition, against a fixed reference or the days before it."""
        length: Length = self._declared.window  # pyright: ignore[reportAssignmentType]
        trailing = dt.timedelta(days=self._declared.reference.trailing_days or 0)
        windows = []
        for key in keys:
            start = dt.date.fromisoformat(key)
            window = window_between(
                self.days or [],
                start,
                last_day(start, length),
                first or start - trailing,
                last or start - dt.timedelta(days=1),
            )
            windows.append((key, window))
        return windows

    def windows_of_rows(
        self, first: dt.date | None, last: dt.date | None
    ) -> list[tuple[str, Window]]:
        """Every whole window of rows; a reference is made of windows that lie in its days."""
        trailing = dt.timedelta(days=self._declared.reference.trailing_days or 0)
        windows = []
        units = np.arange(len(self._spans))
        for unit, (start, end) in enumerate(self._spans):
            since, until = first or start - trailing, last or start
            within = [
                other != unit and since <= span[0] and span[1] <= until
                for other, span in enumerate(self._spans)
            ]
            if first is None:
                within[unit:] = [False] * (len(within) - unit)
            name = f"rows of {start} to {end}"
            windows.append(
                (WHOLE, Window(name, units[[unit]], units[within], f"{since} to {until}"))
            )
        return windows


def _judgeable(
    windows: Sequence[tuple[str, Window]],
    ordinals: NDArray[np.int64] | None,
    declared: DriftMonitor,
) -> tuple[list[tuple[str, Window]], list[tuple[Window, str]]]:
    """The windows that can be judged, and why the others cannot."""
    judged = []
    skipped = []
    for key, window in windows:
        why = not_judged_because(window, ordinals, declared.blocks, declared.false_alarm_budget)
        if why is None:
            judged.append((key, window))
        else:
            skipped.append((window, why))
    return judged, skipped


def _files_by_day(
    con: duckdb.DuckDBPyConnection, product: ProductSpec
) -> Mapping[str, Sequence[str]]:
    """The delivered files whose rows stand, by the day they are of."""
    found: dict[str, list[str]] = {}
    standing = ledger.standing_files(con, product.name)
    for day, path in standing.select("partition", "path").iter_rows():
        found.setdefault(day, []).append(path)
    return found


def _in_numbers(drift: WindowDrift) -> dict[str, Any]:
    """What the UI plots over the windows."""
    times = drift.scores.select((pl.col("score") / pl.col("threshold")).max()).item()
    return {
        "drifted_columns": ", ".join(drift.drifted) or "none",
        "drifted_share": len(drift.drifted) / len(drift.kinds),
        "largest_score_over_threshold": float(times),
    }


def _table_rows(
    drift: WindowDrift,
    start: dt.date,
    end: dt.date,
    number: int,
    sha256: str | None,
    name: str | None,
) -> pl.DataFrame:
    return drift.scores.select(
        pl.lit(start).alias(START),
        pl.lit(end).alias(END),
        pl.lit(number, pl.Int64).alias(NUMBER),
        pl.all(),
        reference=pl.lit(drift.window.reference_name),
        report_sha256=pl.lit(sha256, pl.String),
        report_name=pl.lit(name, pl.String),
    )


def _newest(
    lake: Lake, store: FileStore, product: ProductSpec, declared: DriftMonitor
) -> tuple[bool, dict[str, Any]]:
    """Whether the newest window in the lake has no drifted column, and what a person needs."""
    table = table_name(product.name, declared.name)
    newest = lake.query(
        f"SELECT * FROM {table} QUALIFY rank() OVER (ORDER BY {START} DESC, {NUMBER} DESC) = 1 "
        "ORDER BY score / threshold DESC"
    )
    if newest.is_empty():
        return True, {"window": "none could be judged yet"}
    drifted = newest.filter(pl.col("is_drifted"))
    names = drifted["column"].unique(maintain_order=True).to_list()
    metadata: dict[str, Any] = {
        "window": f"{newest[START][0]} to {newest[END][0]}",
        "drifted_columns": ", ".join(names) or "none",
        "false_alarm_budget": declared.false_alarm_budget,
    }
    for row in drifted.iter_rows(named=True):
        metadata[f"{row['column']} ({row['method']})"] = (
            f"score {row['score']:.4g}, drifts from {row['threshold']:.4g}, "
            f"p {row['p_value']:.2g}, q {row['q_value']:.2g}"
        )
    sha256, name = newest["report_sha256"][0], newest["report_name"][0]
    if sha256 is not None:
        # As text: it is kept in the lake as evidence, where there is no Dagster.
        metadata["report"] = store.ui_path(StoredFile(sha256, 0, name, store.path(sha256, name)))
    return not names, metadata


class _Explainer:
    """Explains the predictions of windows; a day of the reference is computed once."""

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        store: FileStore,
        product: ProductSpec,
        declared: DriftMonitor,
    ) -> None:
        self._con = con
        self._product = product
        self._day = declared.time_column
        self._of_days: dict[tuple[int, dt.date], pl.DataFrame] = {}
        self._explain: Explain | None = None
        self._trainer: Any = None
        self._model: Any = None
        self._named = ""
        if declared.explain is None:
            return
        version = champion(con, product.name, declared.explain.predictions_of)
        if version is None:
            return
        trainer = resolve(version.declared["trainer"])
        # Not every trainer says what its features add.
        if isinstance(trainer, Explains):
            artifact = store.get(version.artifact_sha256, version.artifact_name)
            self._explain, self._trainer = declared.explain, trainer
            self._model = trainer.load(artifact)
            self._named = f"{declared.explain.predictions_of} version {version.version}"

    def explain(self, table: _Table, window: Window) -> PredictionChange | None:
        """Why the mean prediction of a window is another; None where nothing can tell."""
        if self._explain is None or table.days is None:
            return None
        sides = []
        for units in (window.reference, window.current):
            days = [table.days[unit] for unit in units]
            sides.append(self._contributions(self._explain, days))
        return prediction_change(self._named, *sides)

    def _contributions(self, explain: Explain, days: Sequence[dt.date]) -> pl.DataFrame:
        """Contributions of about as many rows of each day."""
        each = max(1, EXPLAINED_ROWS // len(days))
        missing = [str(day) for day in days if (each, day) not in self._of_days]
        if missing:
            day, key = identifier(self._day), identifier(explain.key)
            features = self._con.execute(
                f"""
                SELECT * FROM {table_name(self._product.name, explain.features)}
                WHERE {day} IN (SELECT unnest(?::DATE[]))
                QUALIFY row_number() OVER (PARTITION BY {day} ORDER BY hash({key}), {key})
                        <= {each}
                ORDER BY {day}, {key}
                """,
                [missing],
            ).pl()
            parts = self._trainer.contributions(self._model, features)
            for at, of_day in parts.with_columns(features[self._day].alias("day_")).group_by(
                "day_"
            ):
                self._of_days[each, at[0]] = of_day.drop("day_")
        return pl.concat([self._of_days[each, day] for day in days if (each, day) in self._of_days])
