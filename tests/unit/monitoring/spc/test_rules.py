"""Rules against patterns drawn by hand, and against a second implementation on random series."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_platform.monitoring.spc import SpcError, rules_of, signals


def found(code: str, z: list[float]) -> list[tuple[int, int, tuple[int, ...]]]:
    return [(one.side, one.index, one.covers) for one in signals(rules_of([code]), np.array(z))]


@pytest.mark.parametrize(
    ("code", "z", "expected"),
    [
        pytest.param("WE1", [0, 3.1, -3.2, 3.0], [(1, 1, (1,)), (-1, 2, (2,))], id="WE1"),
        pytest.param("WE2", [0, 2.1, 0, 2.1, 0], [(1, 3, (1, 3))], id="WE2-two-of-three"),
        pytest.param("WE2", [2.1, 2.1], [(1, 1, (0, 1))], id="WE2-at-the-start"),
        pytest.param("WE2", [2.1, -2.1, 0], [], id="WE2-needs-one-side"),
        pytest.param("WE2", [0, 2.1, 2.1, 0], [(1, 2, (1, 2))], id="WE2-told-once"),
        pytest.param("WE3", [1.1, 1.1, 0, 1.1, 1.1], [(1, 4, (0, 1, 3, 4))], id="WE3"),
        pytest.param("WE3", [1.1, 1.1, 0, 0, 1.1, 1.1], [], id="WE3-too-thin"),
        pytest.param("WE4", [-0.1] * 8, [(-1, 7, tuple(range(8)))], id="WE4"),
        pytest.param("WE4", [0.1] * 7 + [0.0] + [0.1] * 7, [], id="WE4-the-centre-breaks-it"),
        pytest.param("N2", [0.1] * 9, [(1, 8, tuple(range(9)))], id="N2"),
        pytest.param("N2", [0.1] * 8, [], id="N2-eight-do-not"),
        pytest.param("N3", [0, 1, 2, 3, 4, 5], [(1, 5, tuple(range(6)))], id="N3-six-points"),
        pytest.param("N3", [5, 4, 3, 2, 2, 1], [], id="N3-a-tie-breaks-it"),
        pytest.param("N4", [0, 1] * 7, [(0, 13, tuple(range(14)))], id="N4-fourteen-points"),
        pytest.param("N4", [0, 1] * 6 + [0], [], id="N4-thirteen-do-not"),
        pytest.param("N7", [0.9, -0.9] * 7 + [0.5], [(0, 14, tuple(range(15)))], id="N7"),
        pytest.param("N8", [1.1, -1.1] * 4, [(0, 7, tuple(range(8)))], id="N8"),
        pytest.param("N8", [1.1, -1.1] * 3 + [0.9, 1.1], [], id="N8-one-within"),
    ],
)
def test_a_pattern_is_found_where_it_is_complete(code, z, expected) -> None:
    assert found(code, z) == expected


def naive(code: str, z: list[float]) -> set[int]:
    """Nelson's rules as one reads them, a point at a time."""
    out: set[int] = set()
    for i in range(len(z)):

        def last(n: int, i: int = i) -> list[float]:
            return z[max(0, i - n + 1) : i + 1]

        def many(n: int, k: int, limit: float, i: int = i) -> bool:
            return any(
                s * z[i] > limit and sum(s * x > limit for x in last(n)) >= k for s in (1, -1)
            )

        def full(n: int, i: int = i) -> bool:
            return i + 1 >= n

        steps6 = [b - a for a, b in itertools.pairwise(last(6))]
        steps14 = [b - a for a, b in itertools.pairwise(last(14))]
        holds = {
            "N1": abs(z[i]) > 3,
            "N2": full(9) and (all(x > 0 for x in last(9)) or all(x < 0 for x in last(9))),
            "N3": full(6) and (all(s > 0 for s in steps6) or all(s < 0 for s in steps6)),
            "N4": full(14) and all(a * b < 0 for a, b in itertools.pairwise(steps14)),
            "N5": many(3, 2, 2),
            "N6": many(5, 4, 1),
            "N7": full(15) and all(abs(x) < 1 for x in last(15)),
            "N8": full(8) and all(abs(x) > 1 for x in last(8)),
        }
        if holds[code]:
            out.add(i)
    return out


# Values on and around the zones' edges, so that patterns are frequent.
EDGES = st.lists(
    st.sampled_from([-3.5, -2.5, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5]),
    max_size=40,
)


@pytest.mark.parametrize("code", ["N1", "N2", "N3", "N4", "N5", "N6", "N7", "N8"])
@given(z=EDGES | st.lists(st.floats(-1.5, 1.5), min_size=14, max_size=40))
def test_rules_agree_with_a_second_implementation(code: str, z: list[float]) -> None:
    if code == "N4" and len(z) > 1:
        z = [x * (1 if i % 2 else -1) for i, x in enumerate(z)]
    assert {one.index for one in signals(rules_of([code]), np.array(z))} == naive(code, z)


@given(z=EDGES)
def test_a_mirrored_series_gives_the_mirrored_signals(z: list[float]) -> None:
    rules = rules_of("nelson")
    up = [(one.rule.code, one.index, one.side) for one in signals(rules, np.array(z))]
    down = [(one.rule.code, one.index, -one.side) for one in signals(rules, -np.array(z))]
    assert sorted(up) == sorted(down)


def test_rules_that_are_not_known_are_refused_by_name() -> None:
    with pytest.raises(SpcError, match=r"western_electric.*WE1.*found WE9"):
        rules_of(["WE1", "WE9"])
    with pytest.raises(SpcError, match="found none"):
        rules_of([])
