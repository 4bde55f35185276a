"""What each gate demands, at its bound and beyond it."""

from typing import Any

import pytest

from analytics_platform.modeling.gates import (
    BETTER_THAN_CHAMPION,
    GateResult,
    better_than_baseline,
    compared_champion,
    features_are_produced,
    is_calibrated,
    is_fast_and_small,
    no_slice_is_worse,
)

BASELINE = {"roc_auc": 0.6, "brier": 0.2, "log_loss": 0.5}


@pytest.mark.parametrize(
    ("changed", "passed"),
    [
        ({}, True),
        ({"roc_auc": 0.6}, False),
        ({"brier": 0.2}, False),
        ({"log_loss": 0.51}, False),
    ],
)
def test_the_baseline_is_beaten_in_every_measure(changed: dict[str, float], passed: bool) -> None:
    model = {"roc_auc": 0.7, "brier": 0.1, "log_loss": 0.4} | changed
    gate = better_than_baseline(model, BASELINE, list(BASELINE))
    assert gate.passed is passed
    assert gate.evidence.get("not_better_in", []) == sorted(changed)
    assert gate.evidence["baseline_brier"] == 0.2


def test_bounds_hold_at_their_value_and_not_beyond() -> None:
    assert is_calibrated(0.03, 0.03).passed
    assert not is_calibrated(0.0301, 0.03).passed
    assert is_fast_and_small(1.0, 1.0, 10, 10).passed
    assert not is_fast_and_small(1.01, 1.0, 10, 10).passed
    assert not is_fast_and_small(1.0, 1.0, 11, 10).passed
    worst = {"slice": "carrier = AA", "rows": 700, "worse_by": 0.02}
    assert no_slice_is_worse(worst, 0.02, "champion", ["carrier"]).passed
    assert not no_slice_is_worse({**worst, "worse_by": 0.021}, 0.02, "champion", ["carrier"]).passed


def test_slices_none_of_which_could_be_judged_do_not_hold() -> None:
    assert no_slice_is_worse(None, 0.02, "champion", []).passed, "none was asked for"
    gate = no_slice_is_worse(None, 0.02, "champion", ["carrier", "month"])
    assert not gate.passed
    assert "no slice by carrier, month" in gate.line()


def test_whom_a_challenger_was_compared_with() -> None:
    def compared(evidence: dict[str, Any]) -> int | None:
        return compared_champion([GateResult(BETTER_THAN_CHAMPION, True, evidence)])

    assert compared({"champion": "none yet"}) == 0
    assert compared({"champion": 0.41, "champion_version": 3}) == 3
    assert compared({"champion": 0.41}) is None, "recorded before it was said"
    assert compared_champion([is_calibrated(0.1, 0.2)]) is None


def test_a_column_that_is_no_longer_made_is_named() -> None:
    gate = features_are_produced(["a", "b", "c"], ["c", "a", "z"])
    assert (gate.passed, gate.evidence["missing"]) == (False, ["b"])
    assert "b" in gate.line()
    assert features_are_produced(["a"], ["a", "b"]).passed


def test_a_result_survives_being_written_down() -> None:
    gate = GateResult(BETTER_THAN_CHAMPION, False, {"p_value": 0.4})
    assert GateResult.of(gate.document()) == gate
    assert gate.is_comparison
    assert not is_calibrated(1.0, 0.0).is_comparison
