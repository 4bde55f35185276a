"""Releases of a running product: a bad day put back, environments, upkeep, making one again."""

import datetime as dt
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import duckdb
import polars as pl
import pytest
from typer.testing import CliRunner, Result

from analytics_platform import released
from analytics_platform.lake import Lake
from analytics_platform.release import ReleaseLog
from analytics_platform.settings import Settings

PRODUCT = "flight_delays"
pytestmark = pytest.mark.slow

Arrive = Callable[[str, str], None]
Run = Callable[[], tuple[bool, str]]


@pytest.fixture
def ap(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Call the `ap` command in this process."""
    from analytics_platform.cli.main import app

    monkeypatch.setenv("DAGSTER_HOME", str(settings.dagster_home))
    monkeypatch.setenv("COLUMNS", "300")

    def call(*arguments: str, fails: bool = False) -> Result:
        result = CliRunner().invoke(app, list(arguments))
        assert (result.exit_code != 0) == fails, result.output
        return result

    return call


def _days(lake: Lake, table: str) -> list[str]:
    rows = lake.query(f"SELECT DISTINCT flight_date::VARCHAR AS day FROM lake.{PRODUCT}.{table}")
    return sorted(rows["day"])


def _lose_carriers(file: Path) -> None:
    """Break the contract on every row: the day fails its limit."""
    header, *lines = file.read_text().splitlines()
    position = header.split(",").index("carrier")
    spoiled = [
        ",".join("?" if n == position else field for n, field in enumerate(line.split(",")))
        for line in lines
    ]
    file.write_text("\n".join([header, *spoiled]) + "\n")


def test_a_bad_day_is_put_back_so_that_the_others_go_out(
    landing: Path, arrive: Arrive, run: Run, lake: Lake, log: ReleaseLog, ap: Callable[..., Result]
) -> None:
    arrive("2013-01-01", "2013-01-02")
    assert run()[0]
    with released(PRODUCT) as reader:
        before = reader.scan("fct_flights").collect().sort("flight_id")

    # A corrected file for a released day, and a new day, both broken; and a good new day.
    arrive("2013-01-03", "2013-01-04")
    corrected = landing / "schedules/schedules_2013-01-02.csv"
    new = landing / "schedules/schedules_2013-01-03.csv"
    good = new.read_bytes()
    _lose_carriers(corrected)
    _lose_carriers(new)
    succeeded, printed = run()
    assert not succeeded
    assert "ap release revert flight_delays --partition 2013-01-02" in printed
    assert log.serving().number == 1

    reverted = ap(
        "release", "revert", PRODUCT, "--partition", "2013-01-02", "--partition", "2013-01-03"
    )
    assert "stand as in release 1" in reverted.output
    succeeded, printed = run()
    assert succeeded, printed
    assert log.serving().number == 2
    with released(PRODUCT) as reader:
        after = reader.scan("fct_flights").collect().sort("flight_id")
    days = after["flight_date"].cast(pl.String)
    assert days.unique().sort().to_list() == ["2013-01-01", "2013-01-02", "2013-01-04"]
    assert after.filter(days < "2013-01-03").equals(before)
    assert [decision.kind for decision in log.decisions()][:2] == ["release", "revert"]

    # The bad files are known and are not loaded again; a good one is.
    assert "Nothing new" in run()[1]
    new.write_bytes(good)
    succeeded, printed = run()
    assert succeeded, printed
    assert "2013-01-03" in _days(lake, "fct_flights")


def test_a_clone_is_worked_in_compared_and_promoted(
    arrive: Arrive,
    run: Run,
    lake: Lake,
    log: ReleaseLog,
    ap: Callable[..., Result],
    landing: Path,
    tmp_path: Path,
) -> None:
    arrive("2013-01-01", "2013-01-02")
    assert run()[0]
    ap("clone", "local", "staging")
    files_before = {p: p.read_bytes() for p in (lake.place / "data").rglob("*.parquet")}

    # Work in staging: a new day arrives and is run there only.
    arrive("2013-01-03", "2013-01-03")
    script = "from analytics_platform.cli.main import app; app()"
    done = subprocess.run(
        [sys.executable, "-c", script, "-e", "staging", "run", PRODUCT],
        capture_output=True,
        text=True,
        check=False,
        env={**_environment(landing.parents[1]), "AP_LANDING": str(landing.parent)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert {p: p.read_bytes() for p in (lake.place / "data").rglob("*.parquet")} == files_before
    assert "2013-01-03" not in _days(lake, "fct_flights")

    compared = ap("diff", "staging", "local").output
    line = next(line for line in compared.splitlines() if line.startswith("fct_flights"))
    with released(PRODUCT, environment="staging") as reader:
        new = reader.execute(
            "SELECT count(*) FROM fct_flights WHERE flight_date = '2013-01-03'"
        ).fetchone()
        staged = reader.scan("features_flights").collect().sort("flight_id")
    assert new is not None
    assert line.split()[4:7] == [f"{new[0]:,}", "0", "0"], "rows added, removed, changed"

    promoted = ap("promote", "staging", "local").output
    assert "local reads release 2" in promoted
    with released(PRODUCT) as reader:
        assert reader.scan("features_flights").collect().sort("flight_id").equals(staged)
    newest = log.newest()
    assert newest is not None
    assert newest.note == "promoted from staging"
    # Nothing is behind afterwards: what was promoted is not computed again.
    assert "Nothing new" in run()[1]
    assert "0 of" in ap("diff", "staging", "local").output


def _environment(home: Path) -> dict[str, str]:
    import os

    kept = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    return kept | {"AP_HOME": str(home), "TZ": "UTC"}


def test_a_release_is_handed_on_taken_back_and_resumed(
    arrive: Arrive, run: Run, log: ReleaseLog, ap: Callable[..., Result], tmp_path: Path
) -> None:
    arrive("2013-01-01", "2013-01-01")
    assert run()[0]
    arrive("2013-01-02", "2013-01-02")
    assert run()[0]
    count = "select count(*) as n from fct_flights"
    newest = ap("sql", PRODUCT, count, "--format", "csv").output

    ap("release", "rollback", PRODUCT, "--note", "wrong tail numbers")
    rolled_back = ap("sql", PRODUCT, count, "--format", "csv").output
    assert rolled_back != newest
    assert rolled_back == ap("sql", PRODUCT, count, "--release", "1", "--format", "csv").output
    arrive("2013-01-03", "2013-01-03")
    succeeded, printed = run()
    assert not succeeded, "a rollback holds further releases"
    assert "ap release resume flight_delays" in printed
    assert log.serving().number == 1
    listed = ap("release", "list", PRODUCT).output
    assert "wrong tail numbers" in listed
    ap("release", "resume", PRODUCT)
    assert run()[0]
    assert log.serving().number == 3

    # Any DuckDB client, by the printed statement.
    statement = ap("release", "attach", PRODUCT).output
    with duckdb.connect() as client:
        client.execute(statement)
        attached = client.execute(count).fetchone()
    table = tmp_path / "flights.parquet"
    ap("sql", PRODUCT, "select * from fct_flights", "--output", str(table))
    assert attached == (pl.read_parquet(table).height,)
    shown = ap("release", "show", PRODUCT).output
    assert "mart_carrier_reliability" in shown


def test_a_release_is_made_again_and_what_differs_is_named(
    arrive: Arrive, run: Run, lake: Lake, log: ReleaseLog, ap: Callable[..., Result]
) -> None:
    arrive("2013-01-01", "2013-01-02")
    assert run()[0]
    certificate = ap("reproduce", f"{PRODUCT}@1").output
    assert certificate.rstrip().endswith("\nIDENTICAL")
    assert "features_flights" in certificate

    # A row that no file and no code gives: verified by hand, so the gate lets it through.
    from analytics_platform.components.state import shape_of
    from analytics_platform.definitions import defs
    from analytics_platform.lake import CheckRecord, WriteRecord
    from analytics_platform.release import publish

    required = shape_of(defs().get_repository_def().asset_graph, PRODUCT).required
    with lake.transaction("by hand") as transaction:
        transaction.connection.execute(
            f"UPDATE lake.{PRODUCT}.dim_airline SET airline_name = 'Nobody' WHERE carrier = '9E'"
        )
        transaction.record_writes([WriteRecord(PRODUCT, "dim_airline", "", "by hand", 16)])
        transaction.record_checks(
            [
                CheckRecord(PRODUCT, "dim_airline", name, "", True, True, "by hand")
                for name in required["dim_airline"]
            ],
            transaction.snapshot_id,
        )
    publish(lake, log.store, PRODUCT, required, "by hand")
    certificate = ap("reproduce", f"{PRODUCT}@2", fails=True).output
    line = next(line for line in certificate.splitlines() if line.startswith("dim_airline"))
    assert "DIFFERS: 1 rows more, 1 rows less" in line
    assert certificate.rstrip().endswith("NOT IDENTICAL")


def test_upkeep_frees_what_nothing_needs_and_says_so(
    arrive: Arrive,
    run: Run,
    lake: Lake,
    settings: Settings,
    repository: dg.RepositoryDefinition,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arrive("2013-01-01", "2013-01-02")
    assert run()[0]
    orphan = lake.place / "data" / PRODUCT / "fct_flights" / "left-by-a-kill.parquet"
    orphan.write_bytes(b"half a file")
    with released(PRODUCT) as reader:
        before = reader.scan("fct_flights").collect().sort("flight_id")
        monkeypatch.setenv("AP_RETENTION_DAYS", "0")
        from analytics_platform.settings import get_settings

        get_settings.cache_clear()
        with dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance:
            runs_before = instance.get_runs_count()
            result = repository.get_job("platform_upkeep").execute_in_process(instance=instance)
        assert result.success
        assert reader.scan("fct_flights").collect().sort("flight_id").equals(before)
    materialization = result.asset_materializations_for_node("platform__upkeep")[0]
    said = {name: value.value for name, value in materialization.metadata.items()}
    assert not orphan.exists()
    assert said["data_files"] >= 1
    assert said["snapshots"] > 10
    assert said["bytes"] >= len(b"half a file")
    assert said["runs"] < runs_before, "runs whose results stand keep their logs"
    assert all(check.passed for check in result.get_asset_check_evaluations())
    assert _days(lake, "fct_flights") == ["2013-01-01", "2013-01-02"]
    assert dt.date(2013, 1, 2) in before["flight_date"].to_list()
