"""Who becomes champion when something came between: a person, another run, a change of the product.

The made-up shop of `test_models`; its trainer `LINEAR` is another than the one that is declared.
Pictures, a backtest and the fresh process cost seconds a training, and are that module's matter.
"""

import json
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from analytics_platform.components.model import champion as deciding
from analytics_platform.components.model import training
from analytics_platform.components.model.declaration import (
    BacktestSpec,
    GateSpec,
    ModelDeclaration,
    SplitSpec,
)
from analytics_platform.lake import FileStore, Lake
from analytics_platform.modeling import champions, gates, parity
from analytics_platform.modeling.card import Pictures
from analytics_platform.modeling.gates import GateResult
from analytics_platform.modeling.history import ModelHistory, RepeatedTraining
from analytics_platform.modeling.registry import versions
from analytics_platform.settings import get_settings
from tests.integration import test_models
from tests.integration.test_models import (
    DAYS,
    LITTLE,
    PRODUCT,
    TREES,
    in_force,
    newest,
    run,
    shop_of,
    train,
)
from tests.unit.modeling.shop import Params, orders

LINEAR = "tests.unit.modeling.shop.LINEAR"
MORE: dict[str, Any] = {"num_iterations": 60}


SPLIT = SplitSpec(
    first_day="2024-01-01",
    ready_on="2024-03-20",
    holdout_days=20,
    valid_days=10,
    backtest=BacktestSpec(folds=0),
)


def declared(**changed: Any) -> ModelDeclaration:
    return test_models.declared(**{"ablation": [], "split": SPLIT, **changed})


@pytest.fixture
def shop(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Lake:
    def same(_path: str, _artifact: bytes, rows: Any, key: str, scores: Any) -> parity.Parity:
        return parity.compare("fresh process", rows[key], scores, scores)

    monkeypatch.setattr(training, "pictures_of", lambda *_: Pictures())
    monkeypatch.setattr(parity, "fresh_process", same)
    return shop_of(lake)


def log(lake: Lake) -> list[tuple[int, str]]:
    """The decisions, oldest first."""
    with lake.reader() as con:
        return [(d.version, d.kind) for d in reversed(champions.decisions(con, "shop", "returns"))]


def comparison(lake: Lake) -> GateResult:
    """What the newest version's gate said of it and the champion."""
    (gate,) = [gate for gate in newest(lake).gates if gate.name == gates.BETTER_THAN_CHAMPION]
    return gate


def said(result: dg.ExecuteInProcessResult) -> str:
    """What the run failed with."""
    return "\n".join(
        str(event.step_failure_data.error) for event in result.all_events if event.is_step_failure
    )


def passed(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {check.check_name: check.passed for check in result.get_asset_check_evaluations()}


def test_what_a_person_took_back_stays_so(shop: Lake) -> None:
    model = declared()
    train(model, params=LITTLE)
    train(model, params=MORE)
    back = {"version": 1, "kind": "rolled back", "reason": "feed broke"}
    assert run(model, [model.name], back).success
    decided = [(1, "promoted"), (2, "promoted"), (1, "rolled back")]
    again = run(model, [model.name])
    assert again.success
    assert passed(again) == {deciding.INTACT: True, deciding.PRODUCED: True}, "the checks ran"
    assert (in_force(shop), log(shop)) == (1, decided)
    (made,) = again.asset_materializations_for_node("shop__returns")
    assert "version 1 stays: 2 was promoted before" in str(made.metadata["decision"].value)


def test_another_trainer_takes_over(shop: Lake) -> None:
    train(declared(), params=LITTLE)
    other = declared(trainer=LINEAR)
    # The champion predicts with the trainer that made it, until there is another.
    assert run(other, [other.predictions], partition_key="2024-03-10").success
    result = train(other)
    assert result.success, said(result)
    assert comparison(shop).evidence["champion_version"] == 1
    assert "compared_with" not in comparison(shop).evidence, "the champion, by its own trainer"
    assert in_force(shop) == 2
    assert run(other, [other.predictions], partition_key="2024-03-11").success
    scored = shop.query(
        "SELECT DISTINCT day::VARCHAR AS day, model_version FROM lake.shop.predictions_orders "
        "ORDER BY day"
    )
    assert scored.rows() == [("2024-03-10", 1), ("2024-03-11", 2)]


def test_a_feature_may_be_renamed(shop: Lake) -> None:
    model = declared()
    train(model, params=LITTLE)
    with shop.transaction("rename") as transaction:
        transaction.connection.execute(
            "ALTER TABLE lake.shop.features_orders RENAME COLUMN size TO size_eu"
        )
    stands = run(model, [model.name])
    assert passed(stands) == {deciding.INTACT: True, deciding.PRODUCED: False}
    # Nor by a person's wish.
    wished = run(model, [model.name], {"version": 1, "reason": "I want it"})
    assert "features_orders no longer has size" in said(wished)
    result = train(model, params=MORE)
    assert result.success, said(result)
    evidence = comparison(shop).evidence
    assert comparison(shop).passed
    assert (evidence["champion_version"], evidence["compared_with"]) == (1, "historical rate")
    assert "it learned from size" in evidence["champion_unusable"]
    assert (in_force(shop), log(shop)) == (2, [(1, "promoted"), (2, "promoted")])


def test_an_artifact_that_was_changed_is_not_put_in_force(shop: Lake) -> None:
    model = declared()
    train(model, params=LITTLE)
    first = newest(shop)
    train(model, params=MORE)
    file = FileStore(get_settings().files_path).path(first.artifact_sha256, first.artifact_name)
    file.chmod(0o644)
    file.write_bytes(b"garbage")
    decided = log(shop)
    result = run(model, [model.name], {"version": 1, "kind": "rolled back", "reason": "feed broke"})
    assert "expected SHA-256" in said(result)
    assert (in_force(shop), log(shop)) == (2, decided)
    with shop.transaction("as an older program did") as transaction:
        champions.decide(transaction, "shop", "returns", 1, "rolled back", "unseen", "run")
    assert passed(run(model, [model.name])) == {deciding.INTACT: False, deciding.PRODUCED: True}


def test_a_model_that_its_trainer_does_not_load_is_not_put_in_force(
    shop: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    from analytics_platform.modeling.lightgbm_trainer import LightGbmTrainer

    model = declared()
    assert run(model, [model.challenger]).success

    def refuse(*_: object) -> None:
        raise RuntimeError("an older format")

    monkeypatch.setattr(LightGbmTrainer, "load", refuse)
    assert "RuntimeError: an older format. Nothing was decided" in said(run(model, [model.name]))
    assert log(shop) == []


def test_who_beat_a_former_champion_is_not_champion(
    shop: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = declared()
    train(model, params=LITTLE)
    challenge = training.challenge
    meanwhile = [1]

    def slow(*args: Any, **options: Any) -> Any:
        found = challenge(*args, **options)
        if meanwhile:
            meanwhile.pop()
            train(model, params=MORE)
        return found

    # Trained beside it, the better one is champion when it is done, and has its number.
    monkeypatch.setattr(training, "challenge", slow)
    result = run(model, [model.challenger], {"params": {"num_iterations": 8, "learning_rate": 0.3}})
    assert result.success, said(result)
    assert (newest(shop).version, newest(shop).refused_by) == (3, ()), "it beat version 1"
    with shop.reader() as con:
        made = {one.version: one for one in versions(con, "shop", "returns")}
    assert [made[number].params["num_iterations"] for number in (1, 2, 3)] == [3, 60, 8]
    assert made[3].attachments["card"]["name"] == "returns_3.html"
    card = made[3].attachments["card"]
    content = FileStore(get_settings().files_path).get(card["sha256"], card["name"])
    assert b"returns, version 3" in content
    assert run(model, [model.name]).success
    assert (in_force(shop), log(shop)[-1]) == (2, (3, "refused"))
    with shop.reader() as con:
        reason = champions.decisions(con, "shop", "returns")[0].reason
    assert reason == "compared with 1, champion is 2; train again"


def test_a_number_that_another_training_takes_is_given_up(
    shop: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = declared()
    card_of = training.card_of
    meanwhile = [1]

    def card(*args: Any) -> bytes:
        if meanwhile:
            meanwhile.pop()
            assert run(model, [model.challenger], {"params": LITTLE}).success
        return card_of(*args)

    monkeypatch.setattr(training, "card_of", card)
    result = run(model, [model.challenger], {"params": MORE})
    assert result.success, said(result)
    with shop.reader() as con:
        made = versions(con, "shop", "returns")
    assert [(one.version, one.params["num_iterations"]) for one in made] == [(2, 60), (1, 3)]
    assert made[0].attachments["card"]["name"] == "returns_2.html"
    taken = run(model, [model.challenger], {"params": MORE, "version": 2})
    assert "there is a version 2 already" in said(taken)


def test_a_champion_is_not_compared_on_days_that_it_learned_from(shop: Lake) -> None:
    model = declared()
    train(model, params=LITTLE)
    result = run(model, [model.challenger], {"params": MORE, "known_through": "2024-02-25"})
    assert result.success, "it is recorded, as a variant"
    gate = comparison(shop)
    assert not gate.passed
    assert gate.evidence == {
        "champion_version": 1,
        "not_compared": "champion 1 learned through 2024-02-28; hold-out begins 2024-02-06",
    }
    assert "champion" not in newest(shop).metrics
    assert run(model, [model.name]).success
    assert in_force(shop) == 1


def test_a_version_learned_from_the_snapshot_that_it_records(
    shop: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = orders(days=DAYS + 3, a_day=60)
    snapshot = Lake.snapshot
    meanwhile = [1]

    def and_then(self: Lake) -> int:
        found = snapshot(self)
        if meanwhile:
            meanwhile.pop()
            with self.transaction("three days more") as transaction:
                transaction.replace("shop", "features_orders", later.drop("is_returned"))
                labels = later.select("order_id", "day", "is_returned")
                transaction.replace("shop", "fct_orders", labels)
        return found

    monkeypatch.setattr(Lake, "snapshot", and_then)
    model = declared()
    assert run(model, [model.challenger]).success
    version = newest(shop)
    with shop.reader(version.snapshot_id) as con:
        held = con.execute("SELECT max(day)::VARCHAR FROM lake.shop.fct_orders").fetchone()
    assert held == (version.known_through,) == ("2024-03-20",)


def test_slices_that_are_all_too_small_hold_nobody_for_good(shop: Lake) -> None:
    model = declared(gates=GateSpec(slices=["shop"], slice_rows=100_000, calibration_error=0.2))
    assert run(model, [model.challenger]).success
    assert [gate.name for gate in newest(shop).refused_by] == [gates.NO_SLICE_WORSE]


def test_a_training_that_could_not_be_logged_does_not_begin(
    shop: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AP_MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    get_settings.cache_clear()
    monkeypatch.setitem(sys.modules, "mlflow", None)
    model = declared()
    assert "analytics-platform[mlflow]" in said(run(model, [model.challenger]))
    with shop.reader() as con:
        assert versions(con, "shop", "returns") == []


def test_the_choice_is_made_anew_where_another_run_decided(
    shop: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = declared()
    train(model, params=LITTLE)
    assert run(model, [model.challenger], {"params": MORE}).success
    require = deciding._require_usable
    meanwhile = [1]

    def slow(*args: Any) -> None:
        require(*args)
        if meanwhile:
            meanwhile.pop()
            config = deciding.ChampionConfig(version=2, reason="a person was quicker")
            deciding._decide(shop, model, PRODUCT, config, "another run")

    monkeypatch.setattr(deciding, "_require_usable", slow)
    version, reason = deciding._decide(shop, model, PRODUCT, deciding.ChampionConfig(), "run")
    assert (version.version, log(shop)) == (2, [(1, "promoted"), (2, "promoted")])
    assert "2 was promoted before" in reason


def test_versions_are_made_again_by_their_own_trainers(
    shop: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = {"trees": Params.model_validate(LITTLE).model_dump(), "linear": {"c": 0.5}}
    history = ModelHistory(
        {
            "returns": [
                RepeatedTraining(3, "2024-03-20", parameters["linear"], 1, "a line", LINEAR),
                RepeatedTraining(5, "2024-03-20", parameters["trees"], 2, "trees", TREES),
            ]
        },
        {"returns": 5},
        {"returns": {"2024-03-10": 3, "2024-03-11": 5}},
    )
    document = tmp_path / "models.json"
    document.write_text(json.dumps(history.document()))
    monkeypatch.setenv("AP_MODEL_HISTORY", str(document))
    get_settings.cache_clear()
    model = declared()
    assert run(model, [model.challenger, model.name]).success
    with shop.reader() as con:
        made = {one.version: one for one in versions(con, "shop", "returns")}
    assert {number: one.declared["trainer"] for number, one in made.items()} == {
        3: LINEAR,
        5: TREES,
    }
    assert (dict(made[3].params), made[5].seed, in_force(shop)) == ({"c": 0.5}, 2, 5)
    for day, number in (("2024-03-10", 3), ("2024-03-11", 5)):
        assert run(model, [model.predictions], partition_key=day).success
        found = shop.query(
            "SELECT DISTINCT model_version FROM lake.shop.predictions_orders WHERE day = ?", [day]
        )
        assert found.rows() == [(number,)]
