"""The rules by which a pattern of points is a signal: Western Electric's four and Nelson's eight.

A rule looks at points in standard deviations from the centre line and says at which points its
pattern is complete, and which points the pattern covers. Sources: Western Electric, *Statistical
Quality Control Handbook* (1956); L. S. Nelson, "The Shewhart Control Chart: Tests for Special
Causes", Journal of Quality Technology 16 (1984).

Belongs here: patterns. Does not belong here: where centre line and limits come from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from analytics_platform.monitoring.spc.errors import SpcError

RuleSet = Literal["limits", "western_electric", "nelson"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        code: Short, as a picture has room for: WE2, N5.
        name: In full, as an alarm says it.
        points: How many consecutive points the pattern looks at.
        side: Gives +1 and -1 for a pattern that has a side, 0 for one that has none.
        complete: Of an array `(…, points)` of consecutive points, in standard deviations, and a
            side: which windows hold the pattern, complete with its last point.
        covers: Of one such window and a side, which of its points make the pattern.
    """

    code: str
    name: str
    points: int
    sides: tuple[int, ...]
    complete: Callable[[Floats, int], Flags]
    covers: Callable[[Floats, int], Flags]


@dataclass(frozen=True)
class Signal:
    """A rule's pattern, complete.

    Attributes:
        rule: The rule.
        side: +1 above the centre line or rising, -1 below or falling, 0 where it has no side.
        index: The point that completes it.
        covers: All points that make it, in order.
    """

    rule: Rule
    side: int
    index: int
    covers: tuple[int, ...]


def _beyond(count: int, sigmas: float) -> dict[str, Callable[[Floats, int], Flags]]:
    """At least `count` points of the window beyond a distance on one side, the last among them.

    A window in which the last point is not among them was complete before it.
    """

    def complete(window: Floats, side: int) -> Flags:
        beyond = side * window > sigmas
        return beyond[..., -1] & (beyond.sum(axis=-1) >= count)

    return {"complete": complete, "covers": lambda window, side: side * window > sigmas}


def _all(test: Callable[[Floats, int], Flags]) -> dict[str, Callable[[Floats, int], Flags]]:
    """Every point of the window passes a test."""
    return {
        "complete": lambda window, side: np.asarray(test(window, side).all(axis=-1)),
        "covers": lambda window, _: np.ones(window.shape, dtype=np.bool_),
    }


def _steps(
    test: Callable[[Floats, int], Flags],
) -> dict[str, Callable[[Floats, int], Flags]]:
    """Every step from one point of the window to the next passes a test."""
    return {
        "complete": lambda window, side: np.asarray(
            test(np.diff(window, axis=-1), side).all(axis=-1)
        ),
        "covers": lambda window, _: np.ones(window.shape, dtype=np.bool_),
    }


def _alternating(steps: Floats, side: int) -> Flags:  # noqa: ARG001 - the sides are one pattern
    turned = np.sign(steps) * np.where(np.arange(steps.shape[-1]) % 2 == 0, 1, -1)
    return (turned == turned[..., :1]) & (turned != 0)


BOTH, NEITHER = (1, -1), (0,)


def beyond_limits(width: float = 3.0, code: str = "LIMIT", named: str = "") -> Rule:
    """One point beyond the control limits, however wide they are.

    Args:
        width: The distance of the limits from the centre line, in standard deviations.
        code: The rule's short name.
        named: Whose rule it is; it stands before the name.
    """
    limits = code == "LIMIT"
    name = "one point beyond the control limits" if limits else f"one point beyond {width:g} sigma"
    return Rule(code, f"{named}: {name}" if named else name, 1, BOTH, **_beyond(1, width))


def western_electric(width: float = 3.0) -> tuple[Rule, ...]:
    """Western Electric's four rules.

    Args:
        width: The distance of the control limits, which the first rule looks at.
    """
    return (
        beyond_limits(width, "WE1", "Western Electric 1"),
        Rule(
            "WE2",
            "Western Electric 2: two of three points beyond 2 sigma, on one side",
            3,
            BOTH,
            **_beyond(2, 2.0),
        ),
        Rule(
            "WE3",
            "Western Electric 3: four of five points beyond 1 sigma, on one side",
            5,
            BOTH,
            **_beyond(4, 1.0),
        ),
        Rule(
            "WE4",
            "Western Electric 4: eight points in a row on one side",
            8,
            BOTH,
            **_all(lambda window, side: side * window > 0),
        ),
    )


def nelson(width: float = 3.0) -> tuple[Rule, ...]:
    """Nelson's eight rules.

    Args:
        width: The distance of the control limits, which the first rule looks at.
    """
    return (
        beyond_limits(width, "N1", "Nelson 1"),
        Rule(
            "N2",
            "Nelson 2: nine points in a row on one side",
            9,
            BOTH,
            **_all(lambda window, side: side * window > 0),
        ),
        Rule(
            "N3",
            "Nelson 3: six points in a row, all rising or all falling",
            6,
            BOTH,
            **_steps(lambda steps, side: side * steps > 0),
        ),
        Rule(
            "N4",
            "Nelson 4: fourteen points in a row, up and down in turn",
            14,
            NEITHER,
            **_steps(_alternating),
        ),
        Rule(
            "N5",
            "Nelson 5: two of three points beyond 2 sigma, on one side",
            3,
            BOTH,
            **_beyond(2, 2.0),
        ),
        Rule(
            "N6",
            "Nelson 6: four of five points beyond 1 sigma, on one side",
            5,
            BOTH,
            **_beyond(4, 1.0),
        ),
        Rule(
            "N7",
            "Nelson 7: fifteen points in a row within 1 sigma",
            15,
            NEITHER,
            **_all(lambda window, _: np.abs(window) < 1),
        ),
        Rule(
            "N8",
            "Nelson 8: eight points in a row beyond 1 sigma, on either side",
            8,
            NEITHER,
            **_all(lambda window, _: np.abs(window) > 1),
        ),
    )


def rules_of(declared: RuleSet | Sequence[str], width: float = 3.0) -> tuple[Rule, ...]:
    """The rules that a chart declares.

    Args:
        declared: A set of rules by its name, or rules by their codes.
        width: The distance of the control limits, in standard deviations.

    Raises:
        SpcError: If there is no such set or rule, or none is named.
    """
    sets = {
        "limits": (beyond_limits(width),),
        "western_electric": western_electric(width),
        "nelson": nelson(width),
    }
    if isinstance(declared, str) and declared in sets:
        return sets[declared]
    known = {rule.code: rule for rules in sets.values() for rule in rules}
    codes = [declared] if isinstance(declared, str) else list(declared)
    unknown = [code for code in codes if code not in known]
    if unknown or not codes:
        raise SpcError(
            f"Choosing the rules of a chart: expected one of {', '.join(sets)}, or codes among "
            f"{', '.join(known)}; found {', '.join(unknown) or 'none'}."
        )
    return tuple(known[code] for code in codes)


def flags(rule: Rule, z: Floats, side: int) -> Flags:
    """At which points a rule's pattern is complete.

    Args:
        rule: The rule.
        z: Points in standard deviations from the centre line, in order along the last axis.
        side: One of the rule's sides.

    Returns:
        An array of the shape of `z`.
    """
    return rule.complete(_windows(rule, z), side)


def _windows(rule: Rule, z: Floats) -> Floats:
    """The points that end at each point, `(…, points)`; what lies before the first is NaN.

    Two of three points are beyond a limit as soon as two are, though there is no third; NaN takes
    part in no comparison.
    """
    before = np.full((*z.shape[:-1], rule.points - 1), np.nan)
    if not z.shape[-1]:
        return np.empty((*z.shape, rule.points))
    padded = np.concatenate([before, z], axis=-1)
    return np.lib.stride_tricks.sliding_window_view(padded, rule.points, axis=-1)


def signals(rules: Sequence[Rule], z: Floats) -> list[Signal]:
    """Every completed pattern in one series.

    Args:
        rules: The rules.
        z: Points in standard deviations from the centre line, in order, none missing.

    Returns:
        In the order of the points that complete them, then of the rules.
    """
    found: list[tuple[int, int, Signal]] = []
    for order, rule in enumerate(rules):
        windows = _windows(rule, z)
        for side in rule.sides:
            for index in np.flatnonzero(rule.complete(windows, side)).tolist():
                covered = (
                    np.flatnonzero(rule.covers(windows[index], side)) + index - rule.points + 1
                )
                found.append((index, order, Signal(rule, side, index, tuple(covered.tolist()))))
    return [signal for _, _, signal in sorted(found, key=lambda item: item[:2])]
