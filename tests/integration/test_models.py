"""Challenger and champion in real runs: trained, decided on, taken back, and scored with.

A made-up shop on a lake of its own; `trees` is a trainer that learns something, and a run's config
varies it.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Any

import dagster as dg
import polars as pl
import pytest

from analytics_platform.components.model.champion import build_champion
from analytics_platform.components.model.declaration import (
    BacktestSpec,
    CheckRef,
    GateSpec,
    ModelDeclaration,
    RetrainSpec,
    SplitSpec,
)
from analytics_platform.components.model.retraining import (
    build_retraining,
    out_of_control,
    too_early_for,
)
from analytics_platform.components.model.scoring import build_predictions
from analytics_platform.components.model.training import build_challenger
from analytics_platform.components.product_spec import ProductSpec
from analytics_platform.lake import CheckRecord, FileStore, Lake
from analytics_platform.lake.io_manager import LakeIOManager, LakeResource
from analytics_platform.lake.records import now
from analytics_platform.modeling import champions, gates
from analytics_platform.modeling.registry import ModelVersion, versions
from analytics_platform.modeling.trainer import resolve
from analytics_platform.settings import get_settings
from tests.unit.modeling.shop import orders

TREES = "tests.unit.modeling.shop.TREES"
PRODUCT = ProductSpec(
    name="shop",
    title="A shop",
    owners=["team:shop"],
    first_day=dt.date(2024, 1, 1),
    end_day=dt.date(2024, 6, 1),
)
DAYS = 80
LITTLE = {"num_iterations": 3, "learning_rate": 0.3, "num_leaves": 3}
"""Better than a rate, and no more."""


def declared(**changed: Any) -> ModelDeclaration:
    attributes: dict[str, Any] = {
        "name": "returns",
        "description": "Whether an order comes back.",
        "trainer": TREES,
        "features": "features_orders",
        "labels": "fct_orders",
        "key": "order_id",
        "time_column": "day",
        "describe": ["shop"],
        "baseline": ["shop"],
        "ablation": ["si*"],
        "split": SplitSpec(
            first_day="2024-01-01",
            ready_on="2024-03-20",
            holdout_days=20,
            valid_days=10,
            backtest=BacktestSpec(folds=2, test_days=10),
        ),
        "gates": GateSpec(slices=["shop", "month"], slice_rows=200, calibration_error=0.2),
        "predictions": "predictions_orders",
        "outcomes": "outcomes_orders",
        "performance": "performance_orders",
        "probability": "return_probability",
        "retrain": RetrainSpec(
            cron="0 5 1 * *", when_failing=[CheckRef(asset="performance_orders", check="ranks")]
        ),
    }
    return ModelDeclaration(**(attributes | changed))


def shop_of(lake: Lake) -> Lake:
    """The lake with the orders that the model learns from."""
    rows = orders(days=DAYS, a_day=60)
    with lake.transaction("orders") as transaction:
        transaction.replace("shop", "features_orders", rows.drop("is_returned"))
        transaction.replace("shop", "fct_orders", rows.select("order_id", "day", "is_returned"))
    return lake


@pytest.fixture
def shop(lake: Lake) -> Lake:
    return shop_of(lake)


def run(
    model: ModelDeclaration,
    assets: Sequence[str],
    config: dict[str, Any] | None = None,
    **options: Any,
) -> dg.ExecuteInProcessResult:
    """Materialise assets of a model as a run does; the tables that it reads stand."""
    trainer = resolve(model.trainer)
    made = {
        model.challenger: build_challenger(model, PRODUCT, trainer),
        model.name: build_champion(model, PRODUCT),
        model.predictions: build_predictions(model, PRODUCT, trainer),
    }
    lake = LakeResource()
    ops = {f"shop__{asset}": {"config": config} for asset in assets if config is not None}
    return dg.materialize(
        [made[asset] for asset in assets],
        resources={"lake": lake, "io_manager": LakeIOManager(resource=lake)},
        run_config={"ops": ops},
        raise_on_error=False,
        **options,
    )


def train(model: ModelDeclaration, **config: Any) -> dg.ExecuteInProcessResult:
    result = run(model, [model.challenger], config)
    decided = run(model, [model.name])
    assert decided.success or not result.success
    return result


def newest(lake: Lake) -> ModelVersion:
    with lake.reader() as con:
        return versions(con, "shop", "returns")[0]


def in_force(lake: Lake) -> int | None:
    with lake.reader() as con:
        return champions.champion_number(con, "shop", "returns")


def test_a_first_challenger_is_champion_with_all_its_evidence(shop: Lake) -> None:
    model = declared()
    result = train(model)
    assert result.success, result.all_events[-1]
    version = newest(shop)
    assert (version.version, in_force(shop), version.refused_by) == (1, 1, ())
    assert version.known_through == "2024-03-20"
    assert version.metrics["window"] == "2024-03-01/2024-03-20"
    # The outcomes of a day arrive the day after, so the last two before the hold-out are not known.
    assert version.trained_on == "2024-01-01/2024-02-28"
    evaluated = {check.check_name: check for check in result.get_asset_check_evaluations()}
    assert set(evaluated) == {gate.name for gate in version.gates}
    assert {gates.PARITY, gates.ROWS_PARITY, gates.ONNX, gates.CALIBRATED} <= set(evaluated)
    assert all(check.passed and check.blocking for check in evaluated.values())
    assert set(version.metrics["baselines"]) == {"historical rate", "logistic regression"}
    assert version.metrics["ablation"]["without"] == ["size"]
    assert version.metrics["ablation"]["holdout"]["roc_auc"] < version.metrics["holdout"]["roc_auc"]
    folds = {row["cutoff"] for row in version.metrics["backtest"]}
    assert folds == {"2024-02-10", "2024-02-20"}
    store = FileStore(get_settings().files_path)
    pictures = {"calibration", "roc", "importance", "scores", "backtest", "slices"}
    assert {"card", "onnx"} < set(version.attachments) <= {"card", "onnx"} | pictures
    for file in version.attachments.values():
        assert store.is_intact(file["sha256"], file["name"])
    card = store.get(version.attachments["card"]["sha256"], version.attachments["card"]["name"])
    assert b"returns" in card


def test_a_challenger_that_is_no_better_changes_nothing_and_fails_nothing(shop: Lake) -> None:
    model = declared()
    train(model)
    before = newest(shop)
    with shop.reader() as con:
        writes = con.execute("SELECT count(*) FROM lake.ops.writes").fetchone()
    result = train(model)
    assert result.success, "it merely lost"
    (lost,) = [check for check in result.get_asset_check_evaluations() if not check.passed]
    assert (lost.check_name, lost.severity) == (
        gates.BETTER_THAN_CHAMPION,
        dg.AssetCheckSeverity.WARN,
    )
    assert newest(shop).version == 2
    assert newest(shop).artifact_sha256 == before.artifact_sha256, "training is deterministic"
    assert in_force(shop) == 1
    with shop.reader() as con:
        kept = champions.decisions(con, "shop", "returns")
        assert con.execute("SELECT count(*) FROM lake.ops.writes").fetchone() == writes
    assert [(one.version, one.kind) for one in kept] == [(2, "refused"), (1, "promoted")]
    assert gates.BETTER_THAN_CHAMPION in kept[0].reason


def test_a_better_challenger_takes_the_place_and_can_be_taken_back(shop: Lake) -> None:
    model = declared()
    train(model, params=LITTLE, note="hardly learned")
    train(model, params={"num_iterations": 60}, seed=3, note="learned more")
    assert in_force(shop) == 2
    assert (newest(shop).params["num_iterations"], newest(shop).seed) == (60, 3)
    refused = run(model, [model.name], {"version": 1, "kind": "rolled back"})
    assert not refused.success, "a person's decision needs a reason"
    assert in_force(shop) == 2
    back = run(model, [model.name], {"version": 1, "kind": "rolled back", "reason": "feed broke"})
    assert back.success
    assert in_force(shop) == 1
    with shop.reader() as con:
        log = champions.decisions(con, "shop", "returns")
    assert (log[0].kind, log[0].reason) == ("rolled back", "feed broke")


def test_a_broken_challenger_fails_its_run_and_is_never_champion(shop: Lake) -> None:
    train(declared())
    broken = declared(gates=GateSpec(artifact_bytes=10, calibration_error=0.2))
    result = run(broken, [broken.challenger, broken.name])
    assert not result.success
    failed = {
        check.check_name for check in result.get_asset_check_evaluations() if not check.passed
    }
    assert gates.FAST_AND_SMALL in failed
    assert not result.asset_materializations_for_node("shop__returns"), "not decided on"
    assert in_force(shop) == 1
    person = run(broken, [broken.name], {"version": 2, "reason": "I want it"})
    assert not person.success
    assert in_force(shop) == 1


def test_what_knows_the_outcome_is_not_learned_from(shop: Lake) -> None:
    rows = orders(days=DAYS, a_day=60)
    told = rows.drop("is_returned").with_columns(refund=rows["is_returned"].cast(pl.Float64) * 9)
    with shop.transaction("a leak") as transaction:
        transaction.replace("shop", "features_orders", told, schema_change="add_columns")
    result = run(declared(), ["returns_challenger"])
    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "'refund' tells 'is_returned'" in str(failure.step_failure_data.error)
    with shop.reader() as con:
        assert versions(con, "shop", "returns") == []


def test_days_are_scored_by_the_champion_of_the_moment(shop: Lake) -> None:
    model = declared()
    train(model, params=LITTLE)
    first = run(model, [model.predictions], partition_key="2024-03-10")
    assert first.success
    train(model, params={"num_iterations": 60})
    assert run(model, [model.predictions], partition_key="2024-03-11").success
    scored = shop.query(
        "SELECT day, model_version, is_in_training, count(*) AS n "
        "FROM lake.shop.predictions_orders GROUP BY ALL ORDER BY day"
    )
    assert scored.rows() == [
        (dt.date(2024, 3, 10), 1, False, 60),
        (dt.date(2024, 3, 11), 2, False, 60),
    ]


def test_it_is_trained_again_when_a_check_fails_and_not_too_often(shop: Lake) -> None:
    model = declared()
    assert "no version yet" in too_early_for(shop, model, "shop")
    train(model)
    assert out_of_control(shop, model, "shop") == []
    with shop.transaction("a check") as transaction:
        failed = CheckRecord("shop", "performance_orders", "ranks", "", False, False, "run")
        transaction.record_checks([failed], transaction.snapshot_id)
    assert "performance_orders · ranks fails" in out_of_control(shop, model, "shop")[0]
    assert "trained every 7 days at the most" in too_early_for(shop, model, "shop")
    later = now() + dt.timedelta(days=7, minutes=1)
    assert too_early_for(shop, model, "shop", later) == ""
    train(model)
    assert out_of_control(shop, model, "shop") == [], "the training has answered it"
    built = build_retraining(model, PRODUCT)
    assert len(list(built.schedules or [])) == len(list(built.sensors or [])) == 1
