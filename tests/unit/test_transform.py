"""The dbt project as assets and checks: cached, its changes noticed, its tests placed."""

import shutil
from pathlib import Path

import pytest

from analytics_platform.settings import Settings
from analytics_platform.transform import load_project
from analytics_platform.transform.manifest import PROJECT_DIR, DbtProjectError


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PROJECT_DIR, tmp_path / "dbt_project"))


def test_a_new_model_shows_without_a_command(copied: Path, settings: Settings) -> None:
    before = load_project(settings, copied)
    cached = list((settings.dbt_path / "manifests").iterdir())
    assert load_project(settings, copied).models.keys() == before.models.keys()
    assert list((settings.dbt_path / "manifests").iterdir()) == cached, "nothing was parsed again"
    model = copied / "models/marts/flight_delays/mart_new.sql"
    model.write_text(
        "{{ config(contract={'enforced': false}) }} select 1 as n from {{ ref('fct_flights') }}"
    )
    after = load_project(settings, copied)
    new = {found.name for found in after.models.values()} - {
        found.name for found in before.models.values()
    }
    assert new == {"mart_new"}
    (found,) = [found for found in after.models.values() if found.name == "mart_new"]
    assert found.parents == (("flight_delays", "fct_flights"),)


def test_a_broken_project_says_what_dbt_says(copied: Path, settings: Settings) -> None:
    (copied / "models/marts/flight_delays/broken.sql").write_text("select * from {{ ref('no') }}")
    with pytest.raises(DbtProjectError, match="broken"):
        load_project(settings, copied)


def test_a_test_is_a_check_of_the_model_built_last(settings: Settings) -> None:
    project = load_project(settings)
    where = {test.name: test.asset[1] for test in project.tests.values()}
    assert where["fct_flights_destination_in_dim_airport"] == "dim_airport"
    assert where["fct_flights_tail_number_in_dim_aircraft"] == "fct_flights"
    checked = {test.asset for test in project.tests.values()}
    assert checked == {model.key for model in project.models.values()}
