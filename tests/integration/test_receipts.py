"""Receipts of real runs: however a run is executed, whatever becomes of it."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from click.testing import CliRunner
from dagster._cli import cli
from typer.testing import CliRunner as TyperRunner

import analytics_platform.components.receipts as receipts_module
from analytics_platform.lake import Lake, records
from analytics_platform.settings import Settings

SHOP = Path(__file__).with_name("shop.py")
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@pytest.fixture
def instance(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    settings.dagster_home.mkdir(parents=True)
    monkeypatch.setenv("DAGSTER_HOME", str(settings.dagster_home))
    with dg.DagsterInstance.get() as made:
        yield made


def read(lake: Lake) -> pl.DataFrame:
    with lake.reader() as con:
        return records.receipts(con, "shop")


def in_process(*assets: str) -> dg.ExecuteInProcessResult:
    """As `ap run` does it."""
    from tests.integration import shop

    return (
        shop.definitions()
        .get_repository_def()
        .get_job("everything")
        .execute_in_process(
            instance=dg.DagsterInstance.get(),
            asset_selection=[shop.key(asset) for asset in assets],
            run_config=QUIET,
            raise_on_error=False,
        )
    )


def command(*arguments: str) -> None:
    done = CliRunner().invoke(cli, [*arguments, "-f", str(SHOP)], catch_exceptions=False)
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(lambda: in_process("orders", "totals"), id="execute_in_process"),
        pytest.param(
            lambda: command("asset", "materialize", "--select", "shop/orders,shop/totals"),
            id="dagster asset materialize",
        ),
        pytest.param(
            lambda: command("job", "execute", "-j", "sound"),
            id="the job's own executor, as the daemon launches it",
        ),
    ],
)
def test_a_materialisation_leaves_a_receipt_however_it_is_run(
    run: Callable[[], object], instance: dg.DagsterInstance, lake: Lake
) -> None:
    run()

    (made,) = instance.get_runs()
    told = read(lake)
    assert told["asset"].to_list() == ["orders", "totals"]
    assert told["run_id"].unique().to_list() == [made.run_id]
    assert told.select("rows_in", "rows_out", "succeeded").rows() == [
        (None, 100, True),
        (100, 3, True),
    ]
    orders, totals = told.iter_rows(named=True)
    assert totals["bytes_in"] == orders["bytes_out"] > 0
    # Dagster measures steps too, from just before to just after ours.
    for stats, receipt in zip(
        instance.get_run_step_stats(made.run_id), (orders, totals), strict=True
    ):
        assert stats.start_time
        assert stats.end_time
        assert 0 < receipt["wall_seconds"] <= stats.end_time - stats.start_time + 0.5
    assert told["peak_memory_bytes"].min() > 50e6, "an interpreter with Dagster in it"


def test_failed_steps_have_receipts_that_say_so(instance: dg.DagsterInstance, lake: Lake) -> None:
    assert not in_process("orders", "no_frame", "broken", "refused").success

    told = {row["asset"]: row for row in read(lake).iter_rows(named=True)}
    assert {name: row["succeeded"] for name, row in told.items()} == {
        "orders": True,
        "no_frame": False,
        "broken": False,
        "refused": False,
    }
    assert told["refused"]["rows_out"] == 1, "it was written, and its check says it must not stand"
    assert (told["broken"]["rows_out"], told["broken"]["bytes_out"]) == (None, 0)


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(lambda: in_process("flaky"), id="execute_in_process"),
        pytest.param(
            lambda: command("job", "execute", "-j", "shaky"),
            id="the job's own executor, as the daemon launches it",
        ),
    ],
)
def test_each_attempt_at_a_step_leaves_its_receipt(
    run: Callable[[], object], instance: dg.DagsterInstance, lake: Lake
) -> None:
    run()

    first, second = read(lake).iter_rows(named=True)
    assert (first["succeeded"], first["rows_out"]) == (False, None)
    assert (second["succeeded"], second["rows_out"]) == (True, 2)
    (made,) = instance.get_runs()
    assert first["run_id"] == second["run_id"] == made.run_id
    ended = first["started_at"] + dt.timedelta(seconds=first["wall_seconds"])
    assert ended <= second["started_at"], "no attempt is counted in another's"


def test_a_step_that_fails_each_time_leaves_a_receipt_of_each(
    instance: dg.DagsterInstance, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_FLAKY_FAILS", "2")
    assert not in_process("flaky").success
    assert read(lake).select("asset", "succeeded").rows() == [("flaky", False)] * 2


@pytest.mark.parametrize("fails", [False, True])
def test_a_step_of_several_assets_divides_its_cost_by_what_each_says(
    fails: bool, instance: dg.DagsterInstance, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fails:
        monkeypatch.setenv("SHOP_FAILS", "1")
    result = in_process("orders", "slow", "quick", "never")
    assert result.success != fails

    told = {row["asset"]: row for row in read(lake).iter_rows(named=True)}
    slow, quick = told["slow"], told["quick"]
    assert slow["wall_seconds"] == pytest.approx(3 * quick["wall_seconds"])
    assert slow["cpu_seconds"] == pytest.approx(3 * quick["cpu_seconds"])
    assert slow["peak_memory_bytes"] == quick["peak_memory_bytes"]
    assert slow["succeeded"]
    assert quick["succeeded"], "what was made before another broke was made"
    # What a step left as it was is no materialisation; what it failed to make is one that failed.
    assert ("never" in told) == fails
    if fails:
        assert not told["never"]["succeeded"]


def test_a_receipt_that_cannot_be_written_fails_nothing_and_is_said(
    instance: dg.DagsterInstance, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(receipts_module, "write_receipts", refuse)

    result = in_process("orders", "totals")

    assert result.success
    assert read(lake).is_empty()
    log = instance.all_logs(result.run_id)
    said = [entry.user_message for entry in log if "No receipt for" in entry.user_message]
    assert len(said) == 2
    assert all("no space left" in line for line in said)


def test_the_command_shows_the_newest_of_each_asset_or_the_history_of_one(lake: Lake) -> None:
    from analytics_platform.cli.main import app
    from analytics_platform.monitoring.receipts import Made, Meter, write_receipts

    for run, succeeded in (("first", True), ("second", False)):
        made = [
            Made("flight_delays", name, ("2013-01-01", "2013-01-02"), succeeded=succeeded)
            for name in ("fct_flights", "release")[: 1 + succeeded]
        ]
        write_receipts(lake, run, Meter().read(), made)
    runner = TyperRunner()

    newest = json.loads(runner.invoke(app, ["receipts", "flight_delays", "-f", "json"]).stdout)
    assert [(row["asset"], row["run_id"]) for row in newest] == [
        ("fct_flights", "second"),
        ("release", "first"),
    ]
    history = runner.invoke(
        app, ["receipts", "flight_delays", "--asset", "fct_flights", "--format", "csv"]
    ).stdout.splitlines()
    assert history[0] == ",".join(records.RECEIPT_SCHEMA)
    assert [line.split(",")[4] for line in history[1:]] == ["second", "first"]
    shown = runner.invoke(app, ["receipts", "flight_delays"]).stdout
    assert "fct_flights ✗  2013-01-01 +1" in shown
    refused = runner.invoke(app, ["receipts", "flight_delays", "--asset", "nothing"])
    assert refused.exit_code == 1
    assert "no receipt of 'nothing'" in refused.output
