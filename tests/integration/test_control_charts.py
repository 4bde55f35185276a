"""Control charts as assets, in real runs on a real lake."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest

from analytics_platform.components.chart_metrics import (
    ReceiptMetric,
    failed_run_points,
    freshness_points,
    metadata_points,
    receipt_points,
    sql_points,
)
from analytics_platform.components.control_chart import ChartBaseline, ControlChart, DeclaredChart
from analytics_platform.lake import FileStore, Lake, WriteRecord
from analytics_platform.lake.io_manager import LakeIOManager, LakeResource
from analytics_platform.lake.ledger import LedgerEntry, append
from analytics_platform.lake.records import WHOLE
from analytics_platform.monitoring.spc import SpcError, plot
from analytics_platform.release import ReleaseLog, judge, publish

PRODUCT = "shop"
FIRST = dt.date(2024, 1, 1)
# Without tails: what alarms here is put there by a test.
QUIET = np.random.default_rng(2).uniform(92, 108, 200).round(2).tolist()


class Context:
    """All that the component asks of Dagster's load context."""

    def __init__(self, path: Path) -> None:
        self.path = path


Draw = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A product's folder with its declaration."""
    declaration = tmp_path / "shop" / "product" / "defs.yaml"
    declaration.parent.mkdir(parents=True)
    declaration.write_text(
        "type: analytics_platform.components.DataProduct\n"
        "attributes: {name: shop, title: A shop, owners: ['team:shop'], first_day: 2024-01-01, "
        "end_day: 2025-01-01}\n"
    )
    monitor = tmp_path / "shop" / "charts"
    monitor.mkdir()
    return monitor


def sales(lake: Lake, values: list[float]) -> None:
    """The shop's sales, one value a day."""
    days = [FIRST + dt.timedelta(days=index) for index in range(len(values))]
    with lake.transaction("sell") as transaction:
        transaction.replace(PRODUCT, "sales", pl.DataFrame({"day": days, "sold": values}))
        transaction.record_writes([WriteRecord(PRODUCT, "sales", WHOLE, "run", len(values))])


def declared(**changes: Any) -> ControlChart:
    chart = {
        "name": "sold",
        "title": "Sold a day",
        "unit": "pieces",
        "kind": "individuals",
        "rules": ["WE1"],
        "sql": "SELECT day AS period, sold AS value FROM sales",
    } | changes.pop("chart", {})
    return ControlChart(
        **{
            "name": "chart_sales",
            "description": "What the shop sells.",
            "charts": [DeclaredChart(**chart)],
            "baseline": ChartBaseline(first="2024-01-01", last="2024-01-30"),
        }
        | changes
    )


@pytest.fixture(autouse=True)
def _without_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing costs seconds, and one test looks at it."""
    if "pictures" not in request.fixturenames:
        monkeypatch.setattr(plot, "chart_picture", lambda charted, **said: b"picture")


@pytest.fixture
def pictures() -> None:
    """Ask for real pictures."""


@pytest.fixture
def draw(folder: Path, lake: Lake) -> Draw:
    """Materialise a declaration as Dagster would."""

    def run(component: ControlChart, **config: Any) -> dg.ExecuteInProcessResult:
        assets = list(component.build_defs(Context(folder)).assets or [])
        return dg.materialize(
            assets,
            resources={
                "io_manager": LakeIOManager(resource=LakeResource()),
                "lake": LakeResource(),
            },
            run_config={"ops": {"shop__chart_sales": {"config": config}}} if config else None,
            raise_on_error=False,
        )

    return run


def check(result: dg.ExecuteInProcessResult) -> Any:
    evaluations = result.get_asset_check_evaluations()
    assert [one.check_name for one in evaluations] == ["in_control"]
    return evaluations[0]


def alarms(result: dg.ExecuteInProcessResult) -> list[str]:
    found = check(result).metadata
    return list(found["out_of_control"].value) if "out_of_control" in found else []


def limits(lake: Lake) -> list[tuple[Any, ...]]:
    return lake.query(
        "SELECT chart, since, reason, limits FROM lake.ops.chart_limits ORDER BY since"
    ).rows()


def test_points_limits_report_and_pictures_are_kept(
    draw: Draw, lake: Lake, store: FileStore, pictures: None
) -> None:
    values = QUIET[:60]
    values[12] = 190.0
    sales(lake, values)
    result = draw(declared())

    assert result.success
    table = lake.query("SELECT * FROM lake.shop.chart_sales WHERE panel = 'value' ORDER BY period")
    assert table.height == 60
    assert table["value"].to_list() == values
    assert table["phase"].to_list() == ["baseline"] * 30 + ["monitoring"] * 30
    assert len(limits(lake)) == 1
    files = lake.query("SELECT name, sha256 FROM lake.ops.files").rows()
    assert sorted(name for name, _ in files) == ["chart_sales.html", "chart_sales_sold.svg"]
    assert store.get(dict(files)["chart_sales_sold.svg"], "chart_sales_sold.svg")[:5] == b"<svg "
    page = store.get(dict(files)["chart_sales.html"], "chart_sales.html").decode()
    # The outlier of the baseline is named with its reason.
    assert "2024-01-13: 190 is beyond the baseline&#x27;s own limits" in page
    assert 'src="http' not in page
    assert "<script" not in page
    materialization = result.asset_materializations_for_node("shop__chart_sales")[0]
    assert materialization.metadata["report"].value.startswith("/files/")
    assert materialization.metadata["sold"].value.startswith("![chart_sales_sold.svg](/files/")


def test_an_alarm_names_rule_period_and_value_and_is_over_when_it_is_over(
    draw: Draw, lake: Lake
) -> None:
    component = declared()
    sales(lake, QUIET[:60])
    assert check(draw(component)).passed

    sales(lake, [*QUIET[:60], 150.0])
    first = draw(component)
    assert first.success
    evaluation = check(first)
    assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert alarms(first)[0] == (
        "Sold a day (sold), value, 2024-03-01: 150 pieces. "
        "Western Electric 1: one point beyond 3 sigma (2024-03-01)"
    )
    # Judged again without anything new, it still stands: no rerun makes an alarm go away.
    assert alarms(draw(component)) == alarms(first)

    assert list(check(first).metadata["points"].value) == ["sold 2024-03-01"]

    # The next day falls back, which the moving range shows and nobody is called for.
    sales(lake, [*QUIET[:60], 150.0, *QUIET[61:65]])
    assert check(draw(component)).passed
    ranges = lake.query(
        "SELECT period::DATE::VARCHAR AS day FROM lake.shop.chart_sales "
        "WHERE is_out_of_control AND panel = 'moving range' ORDER BY 1"
    )
    assert ranges["day"].to_list() == ["2024-03-01", "2024-03-02"]
    assert (
        lake.query(
            "SELECT count(*) FROM lake.shop.chart_sales WHERE is_out_of_control AND panel = 'value'"
        ).item()
        == 1
    )


@pytest.mark.slow
def test_what_comes_late_and_at_once_is_told_once(draw: Draw, lake: Lake) -> None:
    component = declared()
    sales(lake, QUIET[:60])
    draw(component)
    # Ten days at once, after an outage, the third of them out of control.
    sales(lake, [*QUIET[:62], 150.0, *QUIET[63:70]])
    assert "2024-03-03: 150 pieces" in alarms(draw(component))[0]
    assert check(draw(component)).passed


def test_a_correction_that_is_out_of_control_is_an_alarm(draw: Draw, lake: Lake) -> None:
    component = declared()
    sales(lake, QUIET[:60])
    draw(component)
    corrected = QUIET[:60]
    corrected[40] = 20.0
    sales(lake, corrected)
    assert "2024-02-10: 20 pieces" in alarms(draw(component))[0]


def test_history_is_no_news(draw: Draw, lake: Lake) -> None:
    # A year that is loaded at once, with a bad day long ago.
    sales(lake, [*QUIET[:50], 160.0, *QUIET[51:150]])
    result = draw(declared())
    assert check(result).passed
    assert (
        lake.query("SELECT max(value) FROM lake.shop.chart_sales WHERE is_out_of_control").item()
        == 160
    )


HISTORY = [*QUIET[:50], 160.0, *QUIET[51:100]]


def test_history_is_no_news_after_a_drawing_that_was_killed(
    draw: Draw, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_given: Any, **_said: Any) -> bytes:
        raise MemoryError

    sales(lake, HISTORY)
    with monkeypatch.context() as patch:
        patch.setattr(plot, "chart_picture", killed)
        assert not draw(declared()).success
    assert len(limits(lake)) == 1, "the limits were kept before it was killed"
    assert check(draw(declared())).passed


def test_history_is_no_news_to_other_rules(draw: Draw, lake: Lake) -> None:
    sales(lake, HISTORY)
    draw(declared(chart={"rules": "limits"}))
    assert check(draw(declared(chart={"rules": ["WE1", "WE4"]}))).passed


def test_days_that_give_no_limits_leave_the_chart_as_it_stands(draw: Draw, lake: Lake) -> None:
    sales(lake, HISTORY)
    draw(declared())
    # The year is mistyped.
    asked = draw(
        declared(), reestimate=["sold"], first="2023-03-01", last="2023-03-31", reason="summer"
    )
    assert not asked.success
    assert lake.query("SELECT count(*) FROM lake.shop.chart_sales").item() == 200
    assert check(draw(declared())).passed


@pytest.mark.slow
def test_limits_stay_whatever_comes_until_a_person_moves_them(draw: Draw, lake: Lake) -> None:
    component = declared()
    moved = [*QUIET[:60], *(value + 40 for value in QUIET[60:100])]
    sales(lake, QUIET[:60])
    draw(component)
    kept = limits(lake)
    # Later data, and a corrected baseline.
    sales(lake, [value + 3 for value in moved])
    draw(component)
    assert limits(lake) == kept

    refused = draw(component, reestimate=["sold"], first="2024-03-05", last="2024-03-31")
    assert not refused.success
    assert limits(lake) == kept
    asked = draw(
        component,
        reestimate=["sold"],
        first="2024-03-05",
        last="2024-03-31",
        reason="a second shop opened",
    )
    assert asked.success
    assert limits(lake)[0] == kept[0]
    assert [row[2] for row in limits(lake)[1:]] == ["a second shop opened"]
    centres = lake.query(
        "SELECT period::DATE, centre FROM lake.shop.chart_sales WHERE panel = 'value'"
    )
    values = dict(centres.rows())
    assert values[dt.date(2024, 3, 31)] == pytest.approx(values[dt.date(2024, 2, 10)])
    assert values[dt.date(2024, 4, 1)] == pytest.approx(np.mean(QUIET[64:91]) + 43, abs=0.01)


@pytest.mark.slow
def test_other_rules_keep_the_limits_and_another_baseline_has_its_own(
    draw: Draw, lake: Lake
) -> None:
    sales(lake, QUIET[:60])
    draw(declared())
    draw(declared(chart={"rules": "nelson", "title": "Sold"}))
    assert len(limits(lake)) == 1
    draw(declared(baseline=ChartBaseline(first="2024-01-01", last="2024-02-10")))
    assert len(limits(lake)) == 2


@pytest.mark.slow
def test_a_person_acknowledges_an_alarm(draw: Draw, lake: Lake) -> None:
    component = declared(action="block")
    sales(lake, QUIET[:60])
    draw(component)
    sales(lake, [*QUIET[:60], 150.0])
    assert not check(draw(component)).passed
    with lake.reader() as con:
        required = {"sales": [], "chart_sales": ["in_control"]}
        assert not judge(con, PRODUCT, required).opens
    assert check(draw(component, acknowledge=["sold"], reason="a fair in town")).passed
    assert check(draw(component)).passed
    with lake.reader() as con:
        assert judge(con, PRODUCT, required).opens
    # It was this alarm that was acknowledged, and not the next.
    sales(lake, [*QUIET[:60], 150.0, 155.0])
    assert "155 pieces" in alarms(draw(component))[0]


def test_a_correction_is_heard_after_an_acknowledgement(draw: Draw, lake: Lake) -> None:
    sales(lake, [*QUIET[:60], 150.0])
    component = declared()
    draw(component)
    assert check(draw(component, acknowledge=["sold"], reason="a fair in town")).passed
    sales(lake, [*QUIET[:40], 20.0, *QUIET[41:60], 150.0])
    assert "2024-02-10: 20 pieces" in alarms(draw(component))[0]


def test_a_sum_begins_anew_after_an_acknowledgement(draw: Draw, lake: Lake) -> None:
    component = declared(chart={"kind": "cusum", "rules": "limits"})
    values = [*QUIET[:60], 400.0]
    sales(lake, values)
    assert not check(draw(component)).passed
    assert check(draw(component, acknowledge=["sold"], reason="a fair in town")).passed
    for days in range(62, 66):
        sales(lake, [*values, *QUIET[61:days]])
        assert check(draw(component)).passed


def test_what_nobody_saw_cannot_be_acknowledged(draw: Draw, lake: Lake) -> None:
    sales(lake, QUIET[:60])
    assert not draw(declared(), acknowledge=["sold"], reason="in advance").success


def test_a_request_that_names_no_chart_is_refused(draw: Draw, lake: Lake) -> None:
    sales(lake, QUIET[:60])
    refused = draw(declared(), acknowledge=["solld"], reason="x")
    failure = next(iter(refused.filter_events(lambda event: event.is_step_failure)))
    assert "it has no chart solld; its charts are sold" in str(
        failure.step_failure_data.user_failure_data.description
    )


def test_a_baseline_that_is_not_there_yet_is_no_failure(draw: Draw, lake: Lake) -> None:
    sales(lake, QUIET[:12])
    result = draw(declared())
    assert check(result).passed
    assert check(result).metadata["charts_not_judged"].value == "sold"
    said = result.asset_materializations_for_node("shop__chart_sales")[0].metadata["sold"].value
    assert "The baseline is not complete" in said
    assert lake.query("SELECT count(*) FROM lake.shop.chart_sales").item() == 0


def test_a_chart_that_cannot_be_judged_leaves_the_others(draw: Draw, lake: Lake) -> None:
    sales(lake, [5.0] * 60)
    component = declared()
    running = DeclaredChart(
        name="sum", title="Sum", kind="cusum", sql="SELECT day AS period, sold AS value FROM sales"
    )
    component = component.model_copy(update={"charts": [*component.charts, running]})
    result = draw(component)
    assert result.success
    assert check(result).metadata["charts_not_judged"].value == "sum"
    assert not check(result).passed, "a chart that watches nothing is told"
    assert "sum: Judging a chart of kind cusum" in check(result).metadata["broken"].value[0]
    assert lake.query("SELECT DISTINCT chart FROM lake.shop.chart_sales").item() == "sold"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"chart": {"sql": None}}, "Chart sold of chart_sales: expected one metric of sql"),
        ({"chart": {"pipeline": "failed_runs"}}, "found sql, pipeline"),
        ({"chart": {"rules": "all"}}, "Chart sold of chart_sales: .*found all"),
        ({"baseline": None}, "expected a `baseline`"),
        ({"charts": []}, "found no chart"),
        ({"alarm_periods": 0}, "expected `alarm_periods` of at least 1, found 0"),
        ({"baseline": ChartBaseline(points=10)}, "`points` of at least .* is 20; found 10"),
        (
            {"baseline": ChartBaseline(points=30, reestimate_after=0)},
            "`reestimate_after` of at least .* found 0",
        ),
        (
            {"baseline": ChartBaseline(first="2024-1-1", last="2024-01-30")},
            "expected days such as 2013-01-31, found '2024-1-1'",
        ),
        (
            {"baseline": ChartBaseline(first="2024-01-01", last="2024-02-30")},
            "found '2024-02-30'",
        ),
    ],
)
def test_a_wrong_declaration_is_told_when_the_location_loads(
    folder: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpcError, match=message):
        declared(**changes).build_defs(Context(folder))


def test_a_metric_is_summed_in_one_order(lake: Lake) -> None:
    """By several threads the last digits of a mean would be others each time."""
    sales(lake, QUIET[:3])
    threads = "SELECT DATE '2024-01-01' AS period, current_setting('threads')::DOUBLE AS value"
    with lake.reader() as con:
        before = con.execute("SELECT current_setting('threads')").fetchone()
        assert sql_points(con, PRODUCT, threads)["value"].to_list() == [1.0]
        assert con.execute("SELECT current_setting('threads')").fetchone() == before


def test_receipts_are_charted_once_there_are_any(draw: Draw, lake: Lake) -> None:
    component = declared(
        of_pipeline=True,
        baseline=ChartBaseline(points=20),
        chart={"sql": None, "receipt": ReceiptMetric(asset="sales", measure="wall_seconds")},
    )
    assert check(draw(component)).metadata["charts_not_judged"].value == "sold"

    with lake.transaction("receipts") as transaction:
        for index in range(24):
            seconds = 60.0 if index == 23 else 5 + index % 3
            transaction.connection.execute(
                "INSERT INTO lake.ops.receipts VALUES "
                "('shop', 'sales', '2024-01-01', 1, ?, ?, 1, 1, 1, 1, 1, 1, true, ?)",
                [f"run{index}", seconds, dt.datetime(2024, 1, 1, index)],  # noqa: DTZ001
            )
    result = draw(component)
    assert "2024-01-01 23:00: 60 pieces" in alarms(result)[0]
    points = lake.query(
        "SELECT count(*) FROM lake.ops.chart_points WHERE product = 'shop' AND panel = 'value'"
    )
    assert points.item() == 24
    # Nothing of it is the product's: a release made again could not have it.
    assert (
        lake.query("SELECT DISTINCT product FROM lake.ops.files WHERE name IS NOT NULL").item()
        == "ops"
    )
    tables = lake.query("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'shop'")
    assert tables["table_name"].to_list() == []


def test_a_receipt_is_divided_by_the_partitions_that_were_made(lake: Lake) -> None:
    with lake.transaction("receipts") as transaction:
        con = transaction.connection
        con.execute(
            "INSERT INTO lake.ops.receipts VALUES"
            " ('shop','a','2024-01-01',10,'r1',50,1,1,1,1,1,1,true,TIMESTAMP '2024-01-01'),"
            "('shop','b','2024-01-01',10,'r1',30,1,1,1,1,1,1,true,TIMESTAMP '2024-01-01 00:01'),"
            "('shop','a','2024-01-02',1,'r2',6,1,1,1,1,1,1,true,TIMESTAMP '2024-01-02'),"
            "('shop','a','2024-01-03',1,'r3',9,1,1,1,1,1,1,false,TIMESTAMP '2024-01-03'),"
            "('else','a','2024-01-03',1,'r4',9,1,1,1,1,1,1,true,TIMESTAMP '2024-01-03')"
        )
    with lake.reader() as con:
        per_day = ReceiptMetric(asset="a", measure="wall_seconds", per_partition=True)
        assert receipt_points(con, PRODUCT, per_day)["value"].to_list() == [5.0, 6.0]
        of_runs = ReceiptMetric(measure="wall_seconds")
        assert receipt_points(con, PRODUCT, of_runs)["value"].to_list() == [80.0, 6.0]


def test_freshness_is_of_the_file_that_waited_longest(lake: Lake, store: FileStore) -> None:
    log = ReleaseLog(lake, store, PRODUCT)

    kept = store.put(b"sold", "sales.csv")

    def arrive(path: str, status: Any, hours_ago: float) -> None:
        with lake.transaction("arrive") as transaction:
            entry = LedgerEntry(
                PRODUCT,
                "sales",
                "2024-01-01",
                path,
                status,
                content_sha256=kept.sha256,
                stored_name=kept.name,
            )
            append(transaction.connection, [entry], transaction.snapshot_id)
            transaction.connection.execute(
                "UPDATE lake.ops.arrivals SET recorded_at = recorded_at - to_hours(?) "
                "WHERE path = ? AND status = ?",
                [hours_ago, path, status],
            )

    with lake.reader() as con:
        assert freshness_points(con, log).height == 0
    arrive("a.csv", "waiting", 5)
    arrive("b.csv", "waiting", 2)
    arrive("a.csv", "loaded", 0)
    arrive("b.csv", "loaded", 0)
    sales(lake, QUIET[:3])
    publish(lake, store, PRODUCT, {"sales": []}, "run")
    arrive("c.csv", "waiting", 1)
    arrive("c.csv", "loaded", 0)
    arrive("d.csv", "waiting", 90)
    sales(lake, QUIET[:4])
    publish(lake, store, PRODUCT, {"sales": []}, "run")

    with lake.reader() as con:
        points = freshness_points(con, log)
    # What still waits is in no release.
    assert points["value"].to_list() == pytest.approx([5.0, 1.0], abs=0.02)


def test_numbers_in_metadata_and_failed_runs_are_read_from_dagster() -> None:
    @dg.asset(key=["shop", "sales"])
    def sales_asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        count = int(context.run.tags["count"])
        if count == 3:
            raise dg.Failure("no electricity")
        # The second run tells no number.
        return dg.MaterializeResult(metadata={"rows": "none" if count == 1 else count})

    key = dg.AssetKey(["shop", "sales"])
    with dg.DagsterInstance.ephemeral() as instance:
        assert metadata_points(instance, key, "rows").height == 0
        assert failed_run_points(instance, {"ap/product": "shop"}).height == 0
        for count in range(5):
            dg.materialize(
                [sales_asset],
                instance=instance,
                tags={"ap/product": "shop", "count": str(count)},
                raise_on_error=False,
            )
        dg.materialize([sales_asset], instance=instance, tags={"count": "9"})
        numbers = metadata_points(instance, key, "rows")
        failed = failed_run_points(instance, {"ap/product": "shop"})

    assert numbers["value"].to_list() == [0.0, 2.0, 4.0, 9.0]
    assert numbers["period"].is_sorted()
    # One day, or two where midnight lies between the runs.
    assert (failed["value"].sum(), failed["n"].sum()) == (1.0, 5)
