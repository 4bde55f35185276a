"""Releases as people use them, told as one story on one home; the tests follow one another.

A clone is promoted, a bad day is put back, a release is taken back and resumed, made again, and
upkeep runs.
"""

import datetime as dt
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import duckdb
import polars as pl
import pytest
from rich.console import Console
from typer.testing import CliRunner

from analytics_platform import released
from analytics_platform.lake import CheckRecord, FileStore, Lake, WriteRecord
from analytics_platform.release import ReleaseLog, publish
from analytics_platform.settings import get_settings
from assets.flight_delays.delivery import deliver

PRODUCT = "flight_delays"
COUNT = "select count(*) as n from fct_flights"
pytestmark = pytest.mark.slow


class Story:
    """One home, its product, and the `ap` command in this process."""

    def __init__(self) -> None:
        settings = get_settings()
        self.settings = settings
        self.landing = settings.landing_path / PRODUCT
        self.lake = Lake.from_settings(settings)
        self.log = ReleaseLog(self.lake, FileStore(settings.files_path), PRODUCT)

    def arrive(self, first: str, last: str) -> None:
        deliver(self.landing, dt.date.fromisoformat(first), dt.date.fromisoformat(last))

    def run(self, *, fails: bool = False) -> str:
        from analytics_platform.cli.run import run_product

        with Path(os.devnull).open("w") as nowhere:
            console = Console(record=True, width=300, file=nowhere)
            succeeded = run_product(PRODUCT, console)
            printed = console.export_text()
        assert succeeded != fails, printed
        return printed

    def ap(self, *arguments: str, fails: bool = False) -> str:
        from analytics_platform.cli.main import app

        result = CliRunner().invoke(app, list(arguments))
        assert (result.exit_code != 0) == fails, result.output
        return result.output

    def days(self, table: str) -> list[str]:
        rows = self.lake.query(f"SELECT DISTINCT flight_date FROM lake.{PRODUCT}.{table}")
        return [str(day) for day in sorted(rows["flight_date"])]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """A home with the first two days released."""
    patch = pytest.MonkeyPatch()
    home = tmp_path_factory.mktemp("home")
    patch.setenv("AP_HOME", str(home))
    patch.setenv("DAGSTER_HOME", str(home / "local" / "dagster"))
    patch.setenv("COLUMNS", "300")
    get_settings.cache_clear()
    made = Story()
    made.arrive("2013-01-01", "2013-01-02")
    made.run()
    yield made
    patch.undo()
    get_settings.cache_clear()


def _lose_carriers(file: Path) -> None:
    """Break the contract on every row: the day fails its limit."""
    header, *lines = file.read_text().splitlines()
    position = header.split(",").index("carrier")
    spoiled = [
        ",".join("?" if n == position else field for n, field in enumerate(line.split(",")))
        for line in lines
    ]
    file.write_text("\n".join([header, *spoiled]) + "\n")


def _table(name: str, environment: str = "local") -> pl.DataFrame:
    with released(PRODUCT, environment=environment) as reader:  # pyright: ignore[reportArgumentType]
        return reader.scan(name).collect().sort("flight_id")


def test_a_clone_is_worked_in_compared_and_promoted(story: Story) -> None:
    story.ap("clone", "local", "staging")
    data = story.lake.place / "data"
    before = {path: path.read_bytes() for path in data.rglob("*.parquet")}

    # A new day arrives and is run in staging only.
    story.arrive("2013-01-03", "2013-01-03")
    environment = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    script = "from analytics_platform.cli.main import app; app()"
    done = subprocess.run(
        [sys.executable, "-c", script, "-e", "staging", "run", PRODUCT],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path: path.read_bytes() for path in data.rglob("*.parquet")} == before
    assert "2013-01-03" not in story.days("fct_flights")

    compared = story.ap("diff", "staging", "local")
    staged = _table("features_flights", "staging")
    new = staged.filter(pl.col("flight_date") == dt.date(2013, 1, 3)).height
    line = next(line for line in compared.splitlines() if line.startswith("features_flights"))
    assert line.split()[4:7] == [f"{new:,}", "0", "0"], "rows added, removed, changed"

    assert "local reads release 2" in story.ap("promote", "staging", "local")
    assert _table("features_flights").equals(staged)
    newest = story.log.newest()
    assert newest is not None
    assert newest.note == "promoted from staging"
    assert "Nothing new" in story.run(), "what was promoted is not computed again"
    assert "0 of" in story.ap("diff", "staging", "local")


def test_a_bad_day_is_put_back_so_that_the_others_go_out(story: Story) -> None:
    before = _table("fct_flights")
    # A corrected file for a released day, and a new day, both broken; and a good new day.
    story.arrive("2013-01-04", "2013-01-05")
    corrected = story.landing / "schedules/schedules_2013-01-02.csv"
    new = story.landing / "schedules/schedules_2013-01-04.csv"
    good = new.read_bytes()
    _lose_carriers(corrected)
    _lose_carriers(new)
    printed = story.run(fails=True)
    assert "ap release revert flight_delays --partition 2013-01-02" in printed
    assert story.log.serving().number == 2

    days = ["--partition", "2013-01-02", "--partition", "2013-01-04"]
    assert "stand as in release 2" in story.ap("release", "revert", PRODUCT, *days)
    story.run()
    assert story.log.serving().number == 3
    after = _table("fct_flights")
    released_days = sorted({str(day) for day in after["flight_date"]})
    assert released_days == ["2013-01-01", "2013-01-02", "2013-01-03", "2013-01-05"]
    assert after.filter(pl.col("flight_date") < dt.date(2013, 1, 4)).equals(before)
    assert [decision.kind for decision in story.log.decisions()][:2] == ["release", "revert"]

    # The bad files are known and are not loaded again; a good one is.
    assert "Nothing new" in story.run()
    new.write_bytes(good)
    story.run()
    assert "2013-01-04" in story.days("fct_flights")


def test_a_release_is_taken_back_and_resumed(story: Story) -> None:
    newest = story.ap("sql", PRODUCT, COUNT, "--format", "csv")
    story.ap("release", "rollback", PRODUCT, "--note", "wrong tail numbers")
    taken_back = story.ap("sql", PRODUCT, COUNT, "--format", "csv")
    assert taken_back != newest
    assert taken_back == story.ap("sql", PRODUCT, COUNT, "--release", "3", "--format", "csv")
    story.arrive("2013-01-06", "2013-01-06")
    printed = story.run(fails=True)
    assert "ap release resume flight_delays" in printed
    assert story.log.serving().number == 3, "a rollback holds further releases"
    assert "wrong tail numbers" in story.ap("release", "list", PRODUCT)
    story.ap("release", "resume", PRODUCT)
    story.run()
    assert story.log.serving().number == 5


def test_a_release_is_handed_on(story: Story, tmp_path: Path) -> None:
    with duckdb.connect() as client:
        client.execute(story.ap("release", "attach", PRODUCT))
        attached = client.execute(COUNT).fetchone()
    table = tmp_path / "flights.parquet"
    story.ap("sql", PRODUCT, "select * from fct_flights", "--output", str(table))
    assert attached == (pl.read_parquet(table).height,)
    assert "mart_carrier_reliability" in story.ap("release", "show", PRODUCT)


def test_upkeep_frees_what_nothing_needs_and_says_so(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    from analytics_platform.definitions import defs

    orphan = story.lake.place / "data" / PRODUCT / "fct_flights" / "left-by-a-kill.parquet"
    orphan.write_bytes(b"half a file")
    before = {n: story.log.release(n) for n in range(1, 6)}
    working = story.lake.query(f"SELECT * FROM lake.{PRODUCT}.fct_flights ORDER BY flight_id")
    monkeypatch.setenv("AP_RETENTION_DAYS", "0")
    get_settings.cache_clear()
    with released(PRODUCT) as reader, dg.DagsterInstance.get() as instance:
        seen = reader.scan("fct_flights").collect().sort("flight_id")
        runs_before = instance.get_runs_count()
        job = defs().get_repository_def().get_job("platform_upkeep")
        result = job.execute_in_process(instance=instance)
        assert result.success
        assert reader.scan("fct_flights").collect().sort("flight_id").equals(seen)
    get_settings.cache_clear()
    materialization = result.asset_materializations_for_node("platform__upkeep")[0]
    said = {name: value.value for name, value in materialization.metadata.items()}
    assert not orphan.exists()
    assert isinstance(said["snapshots"], int)
    assert said["snapshots"] > 10
    assert isinstance(said["bytes"], int)
    assert said["bytes"] >= len(b"half a file")
    assert isinstance(said["runs"], int)
    assert 0 < said["runs"] < runs_before, "runs whose results stand keep their logs"
    assert all(check.passed for check in result.get_asset_check_evaluations())
    assert story.lake.query(f"SELECT * FROM lake.{PRODUCT}.fct_flights ORDER BY flight_id").equals(
        working
    )
    assert {n: story.log.release(n) for n in range(1, 6)} == before
    for number in before:
        with released(PRODUCT, release=number) as reader:
            assert reader.execute(COUNT).fetchone() != (0,)


def test_a_release_is_made_again_and_what_differs_is_named(story: Story) -> None:
    from analytics_platform.components.state import shape_of
    from analytics_platform.definitions import defs

    # A value that no file and no code gives, vouched for by hand, so the gate lets it through.
    required = shape_of(defs().get_repository_def().asset_graph, PRODUCT).required
    with story.lake.transaction("by hand") as transaction:
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
    number = publish(story.lake, story.log.store, PRODUCT, required, "by hand").release.number
    certificate = story.ap("reproduce", f"{PRODUCT}@{number}", fails=True)
    tables = {line.split()[0]: line for line in certificate.splitlines() if " rows " in line}
    assert tables.pop("dim_airline").endswith("DIFFERS: 1 rows more, 1 rows less")
    assert len(tables) > 20
    assert all(line.endswith("identical") for line in tables.values()), certificate
    assert certificate.rstrip().endswith("NOT IDENTICAL")
