"""`ap quarantine` on the product's one impossible row: a wind of 1,048 miles per hour."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import dagster as dg
import dataframely as dy
import pytest
import yaml
from typer.testing import CliRunner

from analytics_platform.cli.main import app
from analytics_platform.components import LandingSource
from analytics_platform.components.landing_source import build_asset, replay_config
from analytics_platform.components.product_spec import product_of
from analytics_platform.lake import Lake
from analytics_platform.lake.io_manager import LakeResource
from analytics_platform.settings import PROJECT_ROOT, Settings
from assets.flight_delays.weather.contract import WeatherContract

Arrive = Callable[[str, str], None]
Materialize = Callable[[str, str, str], tuple[bool, str]]

DAY = "2013-02-12"
WEATHER = PROJECT_ROOT / "assets" / "flight_delays" / "weather"
HOURS = "SELECT count(*), max(wind_speed_mph)::INTEGER FROM lake.flight_delays.raw_weather"


class Stormy(WeatherContract):
    """The contract, mended so that the row holds."""

    wind_speed_mph = dy.Float64(nullable=True, min=0, max=2000, description="Wind speed.")


@pytest.fixture
def kept(arrive: Arrive, materialize: Materialize) -> None:
    """The day is loaded but for its bad row."""
    arrive(DAY, DAY)
    assert materialize("raw_weather", DAY, DAY)[0]


def test_a_row_that_still_breaks_its_rule_stays(
    kept: None, settings: Settings, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(settings.dagster_home))
    monkeypatch.setenv("COLUMNS", "80")

    def ap(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["quarantine", *arguments])
        assert done.exit_code == 0, done.output
        return done.stdout

    assert "weather: 1 row of 1 file" in ap("list", "flight_delays")
    assert "1048.36" in ap("show", "flight_delays", "weather", "--rule", "wind_speed_mph|max")
    assert "No such row" in ap("show", "flight_delays", "weather", "--rule", "shape")
    (row,) = json.loads(ap("show", "flight_delays", "weather", "--format", "json"))
    assert (row["_source_line"], row["rules"]) == (10, "wind_speed_mph|max")

    said = ap("replay", "flight_delays", "weather")

    assert "wind_speed_mph|max: 1" in said
    assert "No row holds" in said
    assert lake.query(HOURS).row(0)[0] == 71
    told = lake.query("SELECT reason FROM lake.ops.arrivals WHERE status = 'replayed'").item()
    assert told == "replayed: 0 of 1 rows hold now"


def test_what_cannot_be_asked_for_is_said(kept: None) -> None:
    def refused(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["quarantine", *arguments])
        assert done.exit_code == 1
        return done.stderr

    assert "Loaded: weather" in refused("show", "flight_delays", "wether")
    assert "flight_delays" in refused("list", "flights")
    other = refused("replay", "flight_delays", "weather", "--partition", "2013-02-11")
    assert "Nothing of weather is quarantined on 2013-02-11" in other


def test_a_run_of_the_raw_asset_replays_by_the_mended_contract(kept: None, lake: Lake) -> None:
    product = product_of(WEATHER)
    declared = LandingSource(**yaml.safe_load((WEATHER / "defs.yaml").read_text())["attributes"])
    source = dataclasses.replace(declared.source_of(product, WeatherContract), contract=Stormy)

    result = dg.materialize(
        [build_asset(product, source, "Weather.")],
        partition_key=DAY,
        resources={"lake": LakeResource()},
        run_config=replay_config(product.name, source.asset),
    )

    assert result.success
    assert lake.query(HOURS).row(0) == (72, 1048)
    assert lake.query("FROM lake.flight_delays.quarantine_weather").is_empty()
    (made,) = result.get_asset_materialization_events()
    assert made.partition == DAY
    assert all(check.passed for check in result.get_asset_check_evaluations())
    # Nothing is left, so that another run materialises nothing.
    again = dg.materialize(
        [build_asset(product, source, "Weather.")],
        partition_key=DAY,
        resources={"lake": LakeResource()},
        run_config=replay_config(product.name, source.asset),
    )
    assert again.success
    assert not again.get_asset_materialization_events()
