"""Windows: which units are judged, and against which others.

Belongs here: the calendar of windows and references, and the null windows that are drawn from a
reference. Does not belong here: scores of them.
"""

from __future__ import annotations

import calendar
import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from analytics_platform.monitoring.drift.declared import Blocks, DriftError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Units = NDArray[np.int64]

Length = Literal["day", "week", "month"]

LEAST_BLOCKS = 5
"""Fewer whole windows in a reference tell nothing of how windows vary."""


def last_day(first: dt.date, length: Length) -> dt.date:
    """The last day of the window that begins on a day.

    Args:
        first: A day; a Monday for a week, the first of a month.
        length: How long the window is.
    """
    if length == "day":
        return first
    if length == "week":
        return first + dt.timedelta(days=6)
    following = dt.date(first.year + first.month // 12, first.month % 12 + 1, 1)
    return following - dt.timedelta(days=1)


@dataclass(frozen=True)
class Window:
    """A window to judge and its reference, as positions among the units.

    Attributes:
        name: What reports and errors call it.
        current: The units judged, ascending.
        reference: The units they are compared with; none of them is among `current`.
        reference_name: What reports call the reference.
    """

    name: str
    current: Units
    reference: Units
    reference_name: str


def window_between(
    days: Sequence[dt.date],
    first: dt.date,
    last: dt.date,
    reference_first: dt.date,
    reference_last: dt.date,
) -> Window:
    """The window of some days against a reference of others.

    Days of the window that lie in the reference are left out of it: a window is never compared
    with itself.

    Args:
        days: The days that have rows, ascending.
        first: The first day to judge.
        last: The last day to judge.
        reference_first: The first day of the reference.
        reference_last: The last day of the reference.
    """
    positions = np.arange(len(days))
    ordinals = np.array([day.toordinal() for day in days], np.int64)
    is_current = (ordinals >= first.toordinal()) & (ordinals <= last.toordinal())
    is_reference = (
        (ordinals >= reference_first.toordinal())
        & (ordinals <= reference_last.toordinal())
        & ~is_current
    )
    name = str(first) if first == last else f"{first} to {last}"
    return Window(
        name,
        positions[is_current],
        positions[is_reference],
        f"{reference_first} to {reference_last}",
    )


def of_its_weekday(window: Window, ordinals: NDArray[np.int64] | None) -> Window:
    """A window of one day against the days of its weekday only; any other as it is.

    A week holds every weekday, and so does whatever it is compared with. A Sunday compared with
    days of all kinds would drift each week.

    Args:
        window: The window.
        ordinals: The day of each unit as a number; None where units are no days.
    """
    if ordinals is None or window.current.size != 1:
        return window
    weekday = int(ordinals[window.current[0]] - 1) % 7
    is_alike = (ordinals[window.reference] - 1) % 7 == weekday
    if is_alike.all():
        return window
    return replace(
        window,
        reference=window.reference[is_alike],
        reference_name=f"{window.reference_name}, {calendar.day_name[weekday]}s",
    )


@dataclass(frozen=True)
class NullWindows:
    """Windows without drift, against which a window is judged.

    Attributes:
        pool: The units they are drawn from; each is compared with the rest.
        windows: A row of units each. The last row is the window itself, where days may change
            places.
        independent: How many of them do not overlap; None where they are drawn at random.
        window_units: Units of the window judged.
        reference_units: Units of its reference.
    """

    pool: Units
    windows: NDArray[np.int64]
    independent: float | None
    window_units: int
    reference_units: int


def null_windows(
    window: Window, ordinals: NDArray[np.int64] | None, blocks: Blocks, draws: int, seed: int
) -> NullWindows:
    """The null windows of a window.

    Where days may change places, they are those of a permutation test: without drift the window's
    days are no other than the reference's, so any days of the same weekdays, drawn from both
    together, could have been the window. A rank among such draws is an exact p-value (Lehmann and
    Romano, Testing Statistical Hypotheses, 2005, section 15.2).

    Where a window's days go together, they are all runs of as many following days in the reference,
    with `independent` of them side by side; for a window of one day, all days of its weekday.

    Args:
        window: The window.
        ordinals: The day of each unit as a number; None where units are no days.
        blocks: What goes together.
        draws: How many to draw.
        seed: Of the draws.

    Raises:
        DriftError: If a side has no unit.
    """
    window = of_its_weekday(window, ordinals)
    for name, units in (("window", window.current), ("reference", window.reference)):
        if units.size == 0:
            of = window.name if name == "window" else window.reference_name
            raise DriftError(
                f"Scoring drift: expected rows in the {name} {of!r}, found none. "
                "Check that its data has arrived, or skip the window."
            )
    sizes = (window.current.size, window.reference.size)
    if _is_drawn(window, blocks):
        pool = np.sort(np.concatenate([window.reference, window.current]))
        drawn = _drawn(window.current, pool, ordinals, draws, np.random.default_rng(seed))
        return NullWindows(pool, np.vstack([drawn, window.current]), None, *sizes)
    runs, independent = _runs(window, ordinals)
    return NullWindows(window.reference, runs, float(independent), *sizes)


def not_judged_because(
    window: Window, ordinals: NDArray[np.int64] | None, blocks: Blocks, budget: float
) -> str | None:
    """Why a window cannot be judged; None where it can.

    It cannot where nothing that its rows could hold would be drift.

    Args:
        window: The window.
        ordinals: The day of each unit as a number; None where units are no days.
        blocks: What goes together.
        budget: The false-alarm budget.
    """
    window = of_its_weekday(window, ordinals)
    length = window.current.size
    if not length:
        return "it has no rows"
    holds = f"its reference {window.reference_name} holds"
    if _is_drawn(window, blocks):
        units = "days" if ordinals is not None else "parts"
        if window.reference.size < 2 * length:
            return (
                f"{holds} {window.reference.size} {units}, and {2 * length} are needed to say how "
                "windows vary"
            )
        ways = _ways(window, ordinals)
        if ways * budget < 1:
            return (
                f"{holds} so few days of its weekdays that only {ways} windows can be drawn from "
                f"both, and {math.ceil(1 / budget)} are needed for a budget of {budget:g}"
            )
        return None
    _, independent = _runs(window, ordinals)
    if independent >= LEAST_BLOCKS:
        return None
    if ordinals is None:
        parts = "windows"
    elif length == 1:
        parts = "days of its weekday"
    else:
        parts = f"windows of {length} days in a row without one that has no rows"
    return f"{holds} {independent} {parts}, and {LEAST_BLOCKS} are needed to say how windows vary"


def _is_drawn(window: Window, blocks: Blocks) -> bool:
    """Whether null windows are drawn from both sides, rather than all that the reference holds."""
    return blocks == "day" and window.current.size > 1


def _runs(window: Window, ordinals: NDArray[np.int64] | None) -> tuple[NDArray[np.int64], int]:
    """All windows of the reference as long as this one, and how many lie side by side.

    Days of a run follow one another; a day without rows ends it.
    """
    # Units that are no days follow one another.
    places = window.reference if ordinals is None else ordinals[window.reference]
    length = window.current.size
    starts = np.flatnonzero(
        places[length - 1 :] - places[: max(places.size - length + 1, 0)] == length - 1
    )
    runs = window.reference[starts[:, None] + np.arange(length)]
    gaps = np.flatnonzero(np.diff(places) != 1) + 1
    return runs, sum(part.size // length for part in np.split(places, gaps))


def _strata(pool: Units, ordinals: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """The weekday of each unit of a pool."""
    return np.zeros(pool.size, np.int64) if ordinals is None else ordinals[pool] % 7


def _ways(window: Window, ordinals: NDArray[np.int64] | None) -> int:
    """How many different windows `_drawn` can draw."""
    wanted = np.bincount(_strata(window.current, ordinals), minlength=7).tolist()
    others = np.bincount(_strata(window.reference, ordinals), minlength=7).tolist()
    return math.prod(math.comb(among + own, own) for own, among in zip(wanted, others, strict=True))


def _drawn(
    current: Units,
    pool: Units,
    ordinals: NDArray[np.int64] | None,
    draws: int,
    generator: np.random.Generator,
) -> NDArray[np.int64]:
    """Windows of as many units of each weekday as the current one has."""
    weekday = _strata(pool, ordinals)
    is_current = np.isin(pool, current)
    found = []
    for day in np.unique(weekday[is_current]):
        stratum = pool[weekday == day]
        wanted = int((is_current & (weekday == day)).sum())
        order = np.argsort(generator.random((draws, stratum.size)), axis=1)[:, :wanted]
        found.append(stratum[order])
    return np.hstack(found)
