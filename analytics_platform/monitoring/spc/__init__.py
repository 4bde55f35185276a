"""Control charts: a metric over time with limits and rules (statistical process control).

A chart is declared (`ChartSpec`), its limits are estimated on a baseline (`estimate`, phase I) and
then frozen; later points are judged against them (`judge`, phase II). Belongs here: the statistics,
pure functions of frames. Does not belong here: where metrics come from, where limits are kept and
what is done about a signal; that is the `ControlChart` component.
"""

from analytics_platform.monitoring.spc.chart import ChartSpec, Kind, Seasonality, checked_points
from analytics_platform.monitoring.spc.constants import ChartConstants, chart_constants
from analytics_platform.monitoring.spc.errors import BaselineError, SpcError
from analytics_platform.monitoring.spc.judge import Judgement, judge
from analytics_platform.monitoring.spc.limits import Excluded, Limits, estimate
from analytics_platform.monitoring.spc.phases import (
    Baseline,
    Charted,
    Frozen,
    estimate_again,
    run_chart,
)
from analytics_platform.monitoring.spc.rules import Rule, RuleSet, Signal, rules_of, signals
from analytics_platform.monitoring.spc.run_length import RunLength, average_run_length

__all__ = [
    "Baseline",
    "BaselineError",
    "ChartConstants",
    "ChartSpec",
    "Charted",
    "Excluded",
    "Frozen",
    "Judgement",
    "Kind",
    "Limits",
    "Rule",
    "RuleSet",
    "RunLength",
    "Seasonality",
    "Signal",
    "SpcError",
    "average_run_length",
    "chart_constants",
    "checked_points",
    "estimate",
    "estimate_again",
    "judge",
    "rules_of",
    "run_chart",
    "signals",
]
