"""A version's pictures and card, from what its training found out."""

from analytics_platform.modeling import plots
from analytics_platform.modeling.backtest import MODEL
from analytics_platform.modeling.challenge import Challenge
from analytics_platform.modeling.evaluate import calibration_table


def pictures_of(found: Challenge, label: str) -> dict[str, bytes]:
    """The pictures of a training, as PNG by their name."""
    outcome = found.holdout[label]
    pictures = {
        "calibration": plots.calibration_plot(calibration_table(outcome, found.scores[MODEL])),
        "roc_curve": plots.roc_plot(outcome, found.scores),
    }
    if not found.importance.is_empty():
        pictures["importance"] = plots.importance_plot(found.importance)
    return pictures
