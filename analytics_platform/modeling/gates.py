"""The gates between a challenger and the champion's place: what each demands and what it found.

Pure functions of labels, days and scores. Belongs here: the demands. Does not belong here: how
something is measured (`evaluate`, `intervals`, `parity`), and acting on a result (`champions`).

A gate is a `comparison` where a challenger that fails it merely lost, and nothing is wrong; any
other failure means that the challenger is broken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

BETTER_THAN_CHAMPION = "better_than_the_champion"
BETTER_THAN_BASELINE = "better_than_the_baseline"
NO_SLICE_WORSE = "no_slice_is_worse"
CALIBRATED = "is_calibrated"
FAST_AND_SMALL = "is_fast_and_small"
FEATURES_PRODUCED = "features_are_produced"
PARITY = "artifact_predicts_the_same"
ROWS_PARITY = "single_rows_predict_the_same"
FEATURES_PARITY = "single_rows_have_the_same_features"
ONNX = "onnx_predicts_the_same"

CHAMPION_VERSION = "champion_version"
NONE_YET = "none yet"
"""In the evidence of `BETTER_THAN_CHAMPION`: whom it compared with."""

COMPARISONS = frozenset({BETTER_THAN_CHAMPION, NO_SLICE_WORSE})


@dataclass(frozen=True)
class GateResult:
    """What a gate said of a version.

    Attributes:
        name: The gate, which is also the name of its asset check.
        passed: Whether it holds.
        evidence: What was measured and what was demanded; JSON values.
    """

    name: str
    passed: bool
    evidence: Mapping[str, Any]

    @property
    def is_comparison(self) -> bool:
        """Whether failing it means no more than having lost."""
        return self.name in COMPARISONS

    def document(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {"name": self.name, "passed": self.passed, "evidence": dict(self.evidence)}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> GateResult:
        """What `document` gave."""
        return cls(document["name"], document["passed"], document["evidence"])

    def line(self) -> str:
        """For people: the gate and its evidence."""
        shown = ", ".join(f"{name} {_short(value)}" for name, value in self.evidence.items())
        return f"{self.name}: {'holds' if self.passed else 'does not hold'}" + (
            f" ({shown})" if shown else ""
        )


def better_than_baseline(
    model: Mapping[str, float], baseline: Mapping[str, float], measures: Sequence[str]
) -> GateResult:
    """Better than the historical rate on the hold-out, in every measure.

    Args:
        model: The challenger's metrics by name.
        baseline: The baseline's.
        measures: The names to compare; `roc_auc` and `average_precision` are better higher, every
            other one lower.
    """
    worse = [name for name in measures if not _is_better(name, model[name], baseline[name])]
    evidence: dict[str, Any] = {
        f"{whose}_{name}": values[name]
        for name in measures
        for whose, values in (("model", model), ("baseline", baseline))
    }
    return GateResult(
        BETTER_THAN_BASELINE, not worse, evidence | ({"not_better_in": worse} if worse else {})
    )


def no_slice_is_worse(
    worst: Mapping[str, Any] | None, most_worse: float, against: str, declared: Sequence[str]
) -> GateResult:
    """No slice of the hold-out in which the challenger is worse by more than declared.

    Slices that were declared, and none of which could be judged, protect nobody: the gate fails.

    Args:
        worst: The slice with the largest loss (`slice`, `rows`, `difference` and the two values);
            None where no slice has rows enough to say anything.
        most_worse: The most that the measure may be worse by.
        against: What the challenger is compared with.
        declared: By what the hold-out is to be cut.
    """
    evidence = {"compared_with": against, "most_worse_by": most_worse}
    if worst is not None:
        passed = worst["worse_by"] <= most_worse
        return GateResult(NO_SLICE_WORSE, passed, {**evidence, **worst})
    if not declared:
        return GateResult(NO_SLICE_WORSE, True, {**evidence, "slices": 0})
    none_judged = f"no slice by {', '.join(declared)} has rows enough, with both outcomes"
    return GateResult(NO_SLICE_WORSE, False, {**evidence, "slices": 0, "none_judged": none_judged})


def compared_champion(gates: Sequence[GateResult]) -> int | None:
    """The version that a challenger was compared with; 0 for none, None where it is not known."""
    for gate in gates:
        if gate.name == BETTER_THAN_CHAMPION:
            if gate.evidence.get("champion") == NONE_YET:
                return 0
            return gate.evidence.get(CHAMPION_VERSION)
    return None


def is_calibrated(error: float, most: float) -> GateResult:
    """The expected calibration error on the hold-out is within its bound."""
    return GateResult(
        CALIBRATED, error <= most, {"expected_calibration_error": error, "most": most}
    )


def is_fast_and_small(
    seconds_per_1000: float, most_seconds: float, size_bytes: int, most_bytes: int
) -> GateResult:
    """Scoring time and the artifact's size are within their bounds.

    Args:
        seconds_per_1000: Median seconds of scoring a thousand rows.
        most_seconds: Its bound.
        size_bytes: The artifact's bytes.
        most_bytes: Its bound.
    """
    return GateResult(
        FAST_AND_SMALL,
        seconds_per_1000 <= most_seconds and size_bytes <= most_bytes,
        {
            "seconds_per_1000_rows": seconds_per_1000,
            "most_seconds": most_seconds,
            "artifact_bytes": size_bytes,
            "most_bytes": most_bytes,
        },
    )


def features_are_produced(learned: Sequence[str], produced: Sequence[str]) -> GateResult:
    """Every column that the model learned from is still in the features table."""
    missing = sorted(set(learned) - set(produced))
    return GateResult(
        FEATURES_PRODUCED, not missing, {"features": len(learned), "missing": missing}
    )


HIGHER_IS_BETTER = frozenset({"roc_auc", "average_precision"})


def _is_better(name: str, ours: float, theirs: float) -> bool:
    return ours > theirs if name in HIGHER_IS_BETTER else ours < theirs


def _short(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
