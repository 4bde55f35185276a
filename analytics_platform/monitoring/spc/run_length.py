"""How long a chart runs until its first signal: the false-alarm rate of rules, by simulation.

In control a chart should run long; the mean number of points to the first signal is its average run
length (ARL), and 1 in that many points is a false alarm. Belongs here: independent normal points.
Does not belong here: processes with a memory, whose charts alarm more often than this says.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analytics_platform.monitoring.spc.chart import ChartSpec
from analytics_platform.monitoring.spc.errors import SpcError
from analytics_platform.monitoring.spc.rules import Flags, Floats, flags, rules_of
from analytics_platform.monitoring.spc.statistics import cusum, ewma, ewma_factor

STEP = 256


@dataclass(frozen=True)
class RunLength:
    """A simulated average run length.

    Attributes:
        mean: Points to the first signal, on average.
        standard_error: Of that mean.
        runs: How many runs were simulated.
    """

    mean: float
    standard_error: float
    runs: int


def average_run_length(
    chart: ChartSpec, *, shift: float = 0.0, runs: int = 10_000, seed: int = 0, most: int = 100_000
) -> RunLength:
    """Simulate how many independent normal points a chart's main panel takes to its first signal.

    Centre and standard deviation are known; estimated ones make false alarms more frequent.

    Args:
        chart: The chart; its kind matters as far as it is EWMA, CUSUM, or any other.
        shift: The process mean's distance from the centre line, in standard deviations.
        runs: How many runs.
        seed: Of the random numbers.
        most: The longest run that is waited for.

    Raises:
        SpcError: If a run is longer than `most`.
    """
    generator = np.random.default_rng(seed)
    watch = _Watch(chart, runs)
    length = np.zeros(runs, dtype=np.int64)
    running = np.arange(runs)
    gone = 0
    while running.size:
        if gone >= most:
            raise SpcError(
                f"Simulating run lengths: {running.size} of {runs} runs had no signal in {most} "
                "points. Raise `most`, or use rules that signal."
            )
        points = generator.standard_normal((running.size, STEP)) + shift
        signalled = watch.look(points, gone)
        over = np.asarray(signalled.any(axis=1))
        length[running[over]] = gone + 1 + signalled[over].argmax(axis=1)
        running = running[~over]
        watch.keep(~over)
        gone += STEP
    return RunLength(float(length.mean()), float(length.std(ddof=1) / np.sqrt(runs)), runs)


class _Watch:
    """A chart over many series at once, a stretch of points at a time."""

    def __init__(self, chart: ChartSpec, runs: int) -> None:
        self.chart = chart
        self.rules = rules_of(chart.rules, chart.width)
        self.memory = max(rule.points for rule in self.rules) - 1
        # Before the first point there is none, and NaN takes part in no pattern.
        self.past = np.full((runs, self.memory), np.nan)
        self.smooth = np.zeros(runs)
        head_start = chart.cusum_head_start * chart.cusum_limit
        self.up, self.down = np.full(runs, head_start), np.full(runs, head_start)

    def look(self, points: Floats, gone: int) -> Flags:
        """Which of the next points signal."""
        chart = self.chart
        if chart.kind == "ewma":
            smooth = ewma(points, chart.ewma_weight, self.smooth)
            self.smooth = smooth[:, -1]
            steady = chart.ewma_steady
            factor = ewma_factor(chart.ewma_weight, points.shape[1], steady=steady, after=gone)
            return np.abs(smooth) > chart.width * factor
        if chart.kind == "cusum":
            up = cusum(points, chart.cusum_reference, self.up)
            down = cusum(-points, chart.cusum_reference, self.down)
            self.up, self.down = up[:, -1], down[:, -1]
            return np.maximum(up, down) > chart.cusum_limit
        known = np.concatenate([self.past, points], axis=1)
        self.past = known[:, known.shape[1] - self.memory :]
        found = np.zeros(known.shape, dtype=np.bool_)
        for rule in self.rules:
            for side in rule.sides:
                found |= flags(rule, known, side)
        return found[:, self.memory :]

    def keep(self, kept: Flags) -> None:
        """Go on with these series only."""
        self.past, self.smooth = self.past[kept], self.smooth[kept]
        self.up, self.down = self.up[kept], self.down[kept]
