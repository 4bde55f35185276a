"""The code location as Dagster loads it, and the conventions that every asset keeps."""

import subprocess
import sys
import tomllib
from pathlib import Path

import dagster as dg
import yaml

from analytics_platform.settings import PROJECT_ROOT

HEADLINE = {
    "raw_schedules",
    "raw_outcomes",
    "raw_weather",
    "raw_airlines",
    "fct_flights",
    "dim_airline",
    "dim_airport",
    "dim_aircraft",
    "mart_daily_operations",
    "mart_carrier_reliability",
    "features_flights",
    "delay_model",
    "predictions_flights",
    "predictions_outcomes",
    "performance_daily",
    "drift_features",
    "drift_predictions",
    "drift_target",
    "chart_flights",
    "chart_predictions",
    "chart_pipeline",
    "release",
}


def test_the_headline_assets_are_there(repository: dg.RepositoryDefinition) -> None:
    keys = {key.path[-1] for key in repository.asset_graph.get_all_asset_keys()}
    assert keys >= HEADLINE


def test_every_asset_keeps_the_conventions(repository: dg.RepositoryDefinition) -> None:
    graph = repository.asset_graph
    checked = {key.asset_key for key in graph.asset_check_keys}
    lacks = []
    for key in graph.materializable_asset_keys:
        asset = graph.get(key)
        name = key.to_user_string()
        lacks += [f"{name}: declare owners in product/defs.yaml"] if not asset.owners else []
        lacks += [f"{name}: give it a group"] if asset.group_name != key.path[0] else []
        lacks += [f"{name}: write a description"] if len(asset.description or "") < 20 else []
        lacks += [f"{name}: name its kinds"] if not asset.kinds else []
        lacks += [f"{name}: add a check"] if key not in checked else []
        if key.path[0] == "platform":
            # The platform's own assets are no product's: nothing plans or gates them.
            continue
        if (
            asset.metadata["role"] in {"source", "table"}
            and "dagster/table_name" not in asset.metadata
        ):
            lacks += [f"{name}: say its table"]
    assert not lacks, "\n".join(lacks)


def test_every_check_says_what_it_protects(repository: dg.RepositoryDefinition) -> None:
    graph = repository.asset_graph
    silent = [
        str(key)
        for key in graph.asset_check_keys
        if len(graph.get_check_spec(key).description or "") < 10
    ]
    assert not silent, f"describe these checks: {silent}"


def test_dbt_tests_and_unit_tests_are_checks(repository: dg.RepositoryDefinition) -> None:
    project = PROJECT_ROOT / "dbt_project"
    names = {
        test["name"]
        for path in project.rglob("*.yml")
        for test in (yaml.safe_load(path.read_text()) or {}).get("unit_tests", [])
    }
    assert len(names) >= 8
    checks = {key.name for key in repository.asset_graph.asset_check_keys}
    assert names <= checks


def test_both_ways_to_load_name_the_same_location() -> None:
    dg_project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["tool"]["dg"]
    workspace = yaml.safe_load((PROJECT_ROOT / "workspace.yaml").read_text())
    module = workspace["load_from"][0]["python_module"]
    assert module["location_name"] == dg_project["project"]["code_location_name"]
    assert module["module_name"] == dg_project["project"]["code_location_target_module"]


def test_nothing_heavy_is_imported_when_the_location_loads(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from analytics_platform.definitions import defs\n"
        "defs()\n"  # parses the dbt project once
        "print('loaded')\n"
    )
    # Not among them: dagster_dbt, which Dagster itself imports to look for component types.
    heavy = ["evidently", "lightgbm", "sklearn", "altair", "pandas", "plotly", "scipy", "dbt.cli"]
    # Nor what reaches a far landing zone, where the landing zone is a folder.
    heavy += ["s3fs", "botocore", "aiobotocore", "analytics_platform.arrivals.far_zone"]
    probe = code + f"print([name for name in {heavy!r} if name in sys.modules])\n"
    environment = {"AP_HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", probe],
            capture_output=True,
            text=True,
            env=environment,
            cwd=PROJECT_ROOT,
            timeout=120,
            check=True,
        )
    # The second process finds the parsed project and needs no dbt at all.
    assert done.stdout.splitlines()[-1] == "[]", done.stdout
