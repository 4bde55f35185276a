"""`ap model`: what it shows is whole, and what it cannot do is said in a line."""

import datetime as dt
import io
import json
import math
from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from rich.console import Console
from typer.testing import CliRunner

from analytics_platform.cli import model as commands
from analytics_platform.cli.main import app
from analytics_platform.lake import FileStore, Lake
from analytics_platform.modeling import champions
from analytics_platform.modeling.gates import GateResult
from analytics_platform.modeling.registry import ModelVersion, record_version

PRODUCT, MODEL = "flight_delays", "delay_model"
MEASURED = dict.fromkeys(commands.METRICS, 0.25)
GATE = "no_slice_of_the_hold_out_is_worse_by_more_than_was_declared"
VERSION = ModelVersion(
    product=PRODUCT,
    model=MODEL,
    version=0,
    artifact_sha256="a" * 64,
    artifact_name=MODEL,
    trained_on="2013-01-01/2013-08-05",
    known_through="2013-10-31",
    params={"num_leaves": 31, "learning_rate": 0.02},
    seed=1,
    code_sha256="c" * 64,
    attachments={},
    declared={"trainer": "x.y", "predictions": "predictions_flights"},
    metrics={
        "window": "2013-09-01/2013-10-31",
        "holdout": MEASURED,
        "intervals": {"roc_auc": [0.2, 0.3]},
        "baselines": {"historical rate": MEASURED, "logistic regression": MEASURED},
    },
    gates=(GateResult(GATE, False, {"slice": "carrier [bold]UA[/bold] :smile:"}),),
    note="the first",
)


def ap(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["model", *arguments], env={"COLUMNS": "80"})
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


def shown(*arguments: str) -> str:
    code, out, err = ap(*arguments)
    assert code == 0, err
    return out


def record(lake: Lake, **changed: Any) -> None:
    with lake.transaction("record") as transaction:
        number = record_version(transaction, replace(VERSION, **changed))
        reason = "better in November, as the whole of a long sentence says, which nothing may crop"
        champions.decide(transaction, PRODUCT, MODEL, number, "promoted", reason, "run")


@pytest.fixture
def trained(lake: Lake) -> Lake:
    record(lake)
    return lake


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The configs of the runs that a command asked for; none is run."""
    found: list[dict[str, Any]] = []

    def run_whole(_product: str, _assets: Any, config: dict[str, Any], _console: Any) -> bool:
        found.append(config["ops"][f"{PRODUCT}__{MODEL}_challenger"]["config"])
        return True

    monkeypatch.setattr("analytics_platform.cli.run.run_whole", run_whole)
    return found


@pytest.fixture
def features(lake: Lake) -> Lake:
    """A day of features whose outcomes are known."""
    rows = pl.DataFrame({"flight_id": ["UA-1"], "flight_date": [dt.date(2013, 1, 1)]})
    with lake.transaction("a day") as transaction:
        transaction.replace(PRODUCT, "features_flights", rows)
        transaction.replace(PRODUCT, "fct_flights", rows.with_columns(is_late=True))
    return lake


def test_nothing_is_cropped_in_a_pipe(trained: Lake, store: FileStore) -> None:
    card = store.put(b"a card", f"{MODEL}_1.html")
    record(trained, attachments={"card": {"sha256": card.sha256, "name": card.name}})
    listed = shown("list", PRODUCT)
    assert listed.count("2013-01-01/2013-08-05") == 2
    assert listed.count(f"refused by {GATE}") == 2
    assert "a long sentence says, which nothing may crop" in listed
    said = shown("show", PRODUCT)
    (line,) = (line for line in said.splitlines() if line.startswith("card"))
    assert line.split(maxsplit=1)[1] == str(card.path)
    assert "hold-out 2013-09-01/2013-10-31" in said
    assert "carrier [bold]UA[/bold] :smile:" in said
    assert GATE in shown("compare", PRODUCT)


def test_a_narrow_terminal_folds_and_loses_nothing(
    trained: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed: dict[int, str] = {}
    for width in (60, 10_000):
        made = Console(
            file=io.StringIO(), record=True, force_terminal=True, width=width, no_color=True
        )
        monkeypatch.setattr(commands, "console", made)
        commands.list_versions(PRODUCT)
        commands.compare(PRODUCT)
        printed[width] = made.export_text()
    assert max(map(len, printed[60].splitlines())) <= 60
    assert sorted("".join(printed[60].split())) == sorted("".join(printed[10_000].split()))


def test_a_card_that_is_gone_is_told_beside_the_rest(trained: Lake) -> None:
    record(trained, attachments={"card": {"sha256": "d" * 64, "name": "card.html"}})
    said = shown("show", PRODUCT)
    assert "card           is gone: No file 'card.html' with SHA-256 dddd" in said
    assert GATE in said


@pytest.mark.parametrize("command", ["list", "show", "compare"])
def test_json_is_json_whatever_was_measured(lake: Lake, command: str) -> None:
    measured = MEASURED | {"roc_auc": math.nan, "log_loss": math.inf}
    gate = GateResult(GATE, False, {"gain": -math.inf, "rows": [1, math.nan]})
    record(lake, metrics=VERSION.metrics | {"holdout": measured}, gates=(gate,))

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    said = json.loads(shown(command, PRODUCT, "--format", "json"), parse_constant=refuse)
    version = {"list": lambda: said["versions"][0], "show": lambda: said}.get(
        command, lambda: said[0]
    )()
    found = version["metrics"]["holdout"]
    assert (found["roc_auc"], found["log_loss"], found["brier"]) == (None, None, 0.25)
    assert version["gates"][0]["evidence"] == {"gain": None, "rows": [1, None]}


def test_a_day_is_over_however_it_is_written() -> None:
    for day in ("2013-11-05", "20131105", "2013-W45-2"):
        assert str(commands._moment(day)) == "2013-11-05 23:59:59.999999"
    assert str(commands._moment("2013-11-05T00:00")) == "2013-11-05 00:00:00"
    assert str(commands._moment("2013-11-05T01:00+02:00")) == "2013-11-04 23:00:00"
    assert str(commands._moment("9999-12-31")) == "9999-12-31 23:59:59.999999"


@pytest.mark.parametrize("on", ["5 November", "2013-13-01", "0001-01-01T00:00+14:00"])
def test_no_day_is_told_in_a_line(trained: Lake, on: str) -> None:
    code, _, err = ap("list", PRODUCT, "--on", on)
    assert (code, err) == (1, f"{on!r} is no ISO date or moment, such as 2013-11-05.\n")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("bogus=1", "'bogus=1': there is no parameter 'bogus'"),
        ("num_leaves", "'num_leaves': expected name=value"),
        ("num_leaves=abc", "num_leaves=abc: Input should be a valid integer"),
        ("num_leaves=63.0", "num_leaves=63.0: Input should be a valid integer"),
        ("num_leaves=1", "num_leaves=1: Input should be greater than or equal to 2"),
        ("include_valid=1", "include_valid=1: Input should be a valid boolean"),
        ("learning_rate=", "learning_rate=: Input should be a valid number"),
        ("lambda_l2=Infinity", "'lambda_l2=Infinity': expected a finite number"),
        ("lambda_l2=1e999", "'lambda_l2=1e999': expected a finite number"),
    ],
)
@pytest.mark.usefixtures("features")
def test_a_wrong_parameter_is_told_before_anything_runs(
    asked: list[Any], given: str, said: str
) -> None:
    code, _, err = ap("train", PRODUCT, "--param", given)
    assert code == 1
    assert err.startswith(f"--param {said}")
    assert f"The trainer of {MODEL} has num_iterations=375, learning_rate=0.02, num_lea" in err
    assert err.count("\n") == 1
    assert asked == []


@pytest.mark.usefixtures("features")
def test_right_parameters_reach_the_run(asked: list[Any]) -> None:
    shown("train", PRODUCT, "-p", "num_leaves=63", "-p", "learning_rate=1",
          "-p", "include_valid=false", "--known-through", "20131031")  # fmt: skip
    assert asked == [
        {
            "note": "asked for",
            "params": {"num_leaves": 63, "learning_rate": 1, "include_valid": False},
            "known_through": "2013-10-31",
        }
    ]


def test_a_training_before_its_data_says_what_to_run(
    lake: Lake, asked: list[dict[str, Any]]
) -> None:
    def refused() -> str:
        code, _, err = ap("train", PRODUCT)
        assert code == 1
        assert err.endswith(f"then: ap run {PRODUCT}\n")
        return err

    start = f"{PRODUCT}.{MODEL} cannot be trained yet: "
    assert refused().startswith(f"{start}there are no features (features_flights has no row)")
    rows = pl.DataFrame({"flight_id": ["UA-1"], "is_late": pl.Series([None], dtype=pl.Boolean)})
    with lake.transaction("schedules only") as transaction:
        transaction.replace(PRODUCT, "features_flights", rows.drop("is_late"))
    assert refused().startswith(f"{start}no outcome is known (fct_flights has no is_late)")
    with lake.transaction("no outcomes") as transaction:
        transaction.replace(PRODUCT, "fct_flights", rows)
    assert refused().startswith(f"{start}no outcome is known")
    assert asked == []


@pytest.mark.usefixtures("features")
def test_a_day_to_learn_through_is_a_day(asked: list[Any]) -> None:
    code, _, err = ap("train", PRODUCT, "--known-through", "October")
    assert (code, err) == (1, "--known-through 'October' is no ISO date, such as 2013-10-31.\n")
    assert asked == []


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", PRODUCT), "has no champion yet: ap run"),
        (("compare", PRODUCT, "1", "2"), "has no version yet: ap run"),
        (("rollback", PRODUCT, "--reason", "why"), "has no champion yet: ap run"),
        (("promote", PRODUCT, "--version", "2", "--reason", "why"), "there are: none"),
        (("show", "nothing"), "There is no product 'nothing'"),
        (("show", PRODUCT, "-m", "no"), "has the models: delay_model. Name one with --model."),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_before_the_first_version_each_command_says_so(
    arguments: tuple[str, ...], said: str
) -> None:
    code, _, err = ap(*arguments)
    assert code == 1
    assert said in err


def test_with_one_version_there_is_none_to_compare_with_or_go_back_to(trained: Lake) -> None:
    assert "has no version 2." in ap("compare", PRODUCT, "1", "2")[2]
    code, _, err = ap("rollback", PRODUCT, "--reason", "why")
    assert code == 1
    assert "had no champion before this one" in err
