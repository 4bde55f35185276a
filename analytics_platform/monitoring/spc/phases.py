"""Which limits hold for which points: a baseline, then frozen ones until they are estimated anew.

Every point is judged against the limits in force at its time, so that what was said of it does not
change when limits are estimated again. Belongs here: when limits begin to hold and on what they are
estimated. Does not belong here: estimating (`limits`) and keeping them (the component).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from analytics_platform.monitoring.spc.chart import ChartSpec, checked_points
from analytics_platform.monitoring.spc.errors import BaselineError, SpcError
from analytics_platform.monitoring.spc.judge import JUDGED_SCHEMA, SIGNALS_SCHEMA, Judgement, judge
from analytics_platform.monitoring.spc.limits import Limits, estimate

BASELINE, MONITORING = "baseline", "monitoring"


@dataclass(frozen=True)
class Baseline:
    """The points that the first limits are estimated on.

    Attributes:
        first: The first day, ISO; with `last`.
        last: The last day, ISO, included.
        points: Instead of days: this many first points that are not missing.
        reestimate_after: After so many points that are not missing, limits are estimated anew on
            them and hold from then on; None where only a person does that.
    """

    first: str = ""
    last: str = ""
    points: int | None = None
    reestimate_after: int | None = None

    def __post_init__(self) -> None:
        """Refuse a baseline that is declared in both ways or in none, or by what is no day.

        Raises:
            SpcError: With what was expected.
        """
        by_days = bool(self.first and self.last)
        if by_days == (self.points is not None) or bool(self.first) != bool(self.last):
            raise SpcError(
                "Declaring the baseline of a chart: expected `first` and `last`, or `points`; "
                f"found first {self.first!r}, last {self.last!r}, points {self.points!r}."
            )
        for day in (self.first, self.last) if by_days else ():
            if not is_iso_day(day):
                raise SpcError(
                    "Declaring the baseline of a chart: expected days such as 2013-01-31, found "
                    f"{day!r}."
                )
        if by_days and self.first > self.last:
            raise SpcError(
                f"Declaring the baseline of a chart: its first day {self.first} lies after its "
                f"last, {self.last}."
            )


def is_iso_day(text: str) -> bool:
    """Whether a text is a day as it is compared with periods: `2013-01-31`."""
    try:
        return str(dt.date.fromisoformat(text)) == text
    except ValueError:
        return False


@dataclass(frozen=True)
class Frozen:
    """Limits, and from when on they hold.

    Attributes:
        since: The first moment that they hold for, ISO.
        limits: The limits.
        reason: Why they were estimated, in words.
    """

    since: str
    limits: Limits
    reason: str


@dataclass(frozen=True)
class Charted:
    """A chart's points, judged each against the limits of its time.

    Attributes:
        judgement: All points and signals, with a column `phase` in both: `baseline` or
            `monitoring`.
        frozen: The limits in force, in time; empty while there are none.
        estimated: Those of them that were not known before.
        notes: What a person should know: a baseline that is not complete, limits that could not
            be estimated again.
    """

    judgement: Judgement
    frozen: tuple[Frozen, ...]
    estimated: tuple[Frozen, ...]
    notes: tuple[str, ...]


def run_chart(
    chart: ChartSpec,
    baseline: Baseline,
    points: pl.DataFrame,
    known: Sequence[Frozen] = (),
    acknowledged: Sequence[dt.datetime] = (),
) -> Charted:
    """Judge a chart's points, estimating what limits are due and not known yet.

    Args:
        chart: The chart.
        baseline: Its baseline.
        points: All its points, as `checked_points` takes them.
        known: Limits estimated before, which are taken as they are.
        acknowledged: Periods through which a person knows the alarms, and has acted: patterns and
            running sums begin anew after each.

    Returns:
        The judged points, and the limits. Where the baseline is not complete or cannot give
        limits, nothing is judged and `notes` says why.

    Raises:
        SpcError: If the points are not those of such a chart.
    """
    frame = checked_points(chart, points).with_columns(pl.col("period").cast(pl.Datetime("us")))
    there = frame.filter(pl.col("value").is_not_null())
    frozen = sorted(known, key=lambda one: one.since)
    estimated: list[Frozen] = []
    notes: list[str] = []
    if not frozen:
        window = _first_window(baseline, there)
        if window is None:
            return Charted(_nothing(), (), (), (_waiting(baseline, there),))
        try:
            limits = estimate(chart, window)
        except BaselineError as error:
            return Charted(_nothing(), (), (), (str(error),))
        first = Frozen(_after(window), limits, "first estimate, on the declared baseline")
        frozen.append(first)
        estimated.append(first)
    for due in _due(baseline, there, frozen[-1].since):
        try:
            limits = estimate(chart, due)
        except BaselineError as error:
            notes.append(
                f"The limits were not estimated again on {due['period'][0]:%Y-%m-%d} to "
                f"{due['period'][-1]:%Y-%m-%d} and stay as they are. {error}"
            )
            continue
        again = Frozen(
            _after(due), limits, f"declared: again after {baseline.reestimate_after} points"
        )
        frozen.append(again)
        estimated.append(again)
    judged = _judged(chart, frame, frozen, acknowledged)
    return Charted(judged, tuple(frozen), tuple(estimated), tuple(notes))


def estimate_again(
    chart: ChartSpec, points: pl.DataFrame, first: str, last: str, reason: str
) -> Frozen:
    """Limits that a person asks for; they hold for the points after the days they are made of.

    Args:
        chart: The chart.
        points: All its points.
        first: The first day to estimate on, ISO.
        last: The last day, included.
        reason: The person's reason, which is kept.

    Raises:
        SpcError: If these days cannot give limits.
    """
    for day in (first, last):
        if not is_iso_day(day):
            raise SpcError(f"expected days such as 2013-01-31 to estimate on, found {day!r}.")
    frame = checked_points(chart, points).with_columns(pl.col("period").cast(pl.Datetime("us")))
    day = pl.col("period").cast(pl.Date).cast(pl.String)
    window = frame.filter(pl.col("value").is_not_null(), day >= first, day <= last)
    return Frozen(_after(window) if window.height else last, estimate(chart, window), reason)


def _first_window(baseline: Baseline, there: pl.DataFrame) -> pl.DataFrame | None:
    """The baseline's points, once there are points after it or as many as declared."""
    if baseline.points is not None:
        return there.head(baseline.points) if there.height >= baseline.points else None
    day = pl.col("period").cast(pl.Date).cast(pl.String)
    complete = there.filter(day >= baseline.last).height > 0
    return there.filter((day >= baseline.first) & (day <= baseline.last)) if complete else None


def _waiting(baseline: Baseline, there: pl.DataFrame) -> str:
    newest = (
        f"the newest point is of {there['period'][-1]}" if there.height else "there are no points"
    )
    wanted = (
        f"{baseline.points} points, of which there are {there.height}"
        if baseline.points is not None
        else f"{baseline.first} to {baseline.last}"
    )
    return f"The baseline is not complete, so nothing is judged yet: {wanted}; {newest}."


def _due(baseline: Baseline, there: pl.DataFrame, since: str) -> list[pl.DataFrame]:
    """The stretches of points since a moment that limits are to be estimated anew on."""
    size = baseline.reestimate_after
    if size is None:
        return []
    later = there.filter(pl.col("period") >= pl.lit(since).str.to_datetime(time_unit="us"))
    return [later.slice(at, size) for at in range(0, later.height - size + 1, size)]


def _after(window: pl.DataFrame) -> str:
    """The first moment after a window's last point."""
    last = window["period"][-1]
    return str(
        pl.select(pl.lit(last).dt.offset_by("1us")).item().isoformat(timespec="microseconds")
    )


def _judged(
    chart: ChartSpec,
    frame: pl.DataFrame,
    frozen: Sequence[Frozen],
    acknowledged: Sequence[dt.datetime],
) -> Judgement:
    """Each stretch against its limits.

    Patterns and running sums begin anew with other limits, and after what a person acknowledged: a
    sum that stays above its limit for weeks after one bad day has nothing to say of these weeks.
    """
    moments = [dt.datetime.fromisoformat(one.since) for one in frozen]
    first = pl.lit(frozen[0].limits.first).str.to_datetime(time_unit="us", strict=False)
    period = pl.col("period")
    before = frame.filter((period < moments[0]) & (period >= first))
    parts = [(before, frozen[0].limits, BASELINE)]
    after = {through + dt.timedelta(microseconds=1) for through in acknowledged}
    starts = sorted({*moments, *(moment for moment in after if moment > moments[0])})
    for index, start in enumerate(starts):
        stretch = frame.filter(period >= start)
        if index + 1 < len(starts):
            stretch = stretch.filter(period < starts[index + 1])
        in_force = [one for one, since in zip(frozen, moments, strict=True) if since <= start]
        parts.append((stretch, in_force[-1].limits, MONITORING))
    judged = [(judge(chart, limits, part), phase) for part, limits, phase in parts if part.height]
    if not judged:
        return _nothing()
    return Judgement(
        pl.concat([one.points.with_columns(phase=pl.lit(phase)) for one, phase in judged]),
        pl.concat([one.signals.with_columns(phase=pl.lit(phase)) for one, phase in judged]),
    )


def _nothing() -> Judgement:
    phase = {"phase": pl.String()}
    return Judgement(
        pl.DataFrame(schema=JUDGED_SCHEMA | phase), pl.DataFrame(schema=SIGNALS_SCHEMA | phase)
    )
