"""Planning against a simulated product: whatever arrives, it comes to rest as a fresh build would.

What every partition should hold is said by `fresh`, a build of all at once that knows nothing of
snapshots and runs. Belongs here: many runs in a row. Cases worked out by hand are in
`test_planning`.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_platform.lake.records import WHOLE
from analytics_platform.planning import (
    History,
    Node,
    PlannedRun,
    ProductState,
    SourceState,
    next_run,
)

FIRST = dt.date(2013, 1, 7)  # A Monday.
DAYS = [str(FIRST + dt.timedelta(days=n)) for n in range(18)]
PAST = 1_000_000
"""Days that lie before any calendar: all the past."""

NODES = [
    Node("reference", "whole", "source", ()),
    Node("outcomes", "daily", "source", ()),
    Node("plan", "daily", "source", ()),
    Node("facts", "daily", "table", ("outcomes", "plan", "reference")),
    Node("mart", "whole", "table", ("facts", "reference")),
    Node("features", "daily", "table", ("plan",), history=(History("facts", -4, -2),)),
    Node("challenger", "whole", "challenger", ("features",), (FIRST, FIRST + dt.timedelta(days=2))),
    Node("model", "whole", "champion", ("challenger",)),
    Node("predictions", "daily", "table", ("features", "model")),
    # Of two histories, one is all the past, and the other has a history itself.
    Node(
        "outlook",
        "daily",
        "table",
        ("predictions",),
        history=(History("features", -3, -1), History("outcomes", -PAST, -2)),
    ),
    Node("drift", "weekly", "table", ("outlook",)),
    Node("release", "whole", "release", ("outlook", "drift", "mart")),
]
CADENCE = {node.name: node.cadence for node in NODES}
NOT_REMADE = {"reference", "model"}
MODELS = {"challenger", "champion"}
"""What is used for days to come and does not make past ones stale."""

Content = dict[str, dict[str, int]]


def shifted(day: str, days: int) -> str:
    return str(dt.date.fromisoformat(day) + dt.timedelta(days=days))


def made(node: Node, partition: str, content: Content) -> int:
    """What a partition holds once it is made of what stands: a number that any input changes."""
    inputs: list[object] = [node.name, partition]
    for name in node.upstreams:
        above = content[name]
        if name in NOT_REMADE and node.cadence == "daily":
            continue
        if CADENCE[name] == node.cadence:
            inputs.append(above.get(partition))
        elif node.cadence == "weekly":
            inputs.append([above.get(shifted(partition, day)) for day in range(7)])
        else:
            inputs.append(sorted(above.items()))
    inputs += [
        sorted(
            (day, held)
            for day, held in content[past.asset].items()
            if past.first_offset
            <= (dt.date.fromisoformat(day) - dt.date.fromisoformat(partition)).days
            <= past.last_offset
        )
        for past in node.history
    ]
    return hash(repr(inputs))


def fresh(delivered: Content) -> Content:
    """All that follows from the files, built at once and table by table."""
    content: Content = {node.name: dict(delivered.get(node.name, {})) for node in NODES}
    trained = {DAYS[0], DAYS[1], DAYS[2]} <= content["plan"].keys()
    for node in NODES:
        if node.role == "source" or node.role == "release":
            continue
        if node.role in MODELS:
            content[node.name] = {WHOLE: 0} if trained else {}
            continue
        if "model" in node.upstreams and not trained:
            continue
        daily = [content[name] for name in node.upstreams if CADENCE[name] == "daily"]
        partitions = {day for above in daily for day in above}
        if node.cadence == "whole":
            partitions = {WHOLE}
        if node.cadence == "weekly":
            ends = min(partitions, default=""), max(partitions, default="")
            partitions = {
                monday
                for day in partitions
                if ends[0] <= (monday := shifted(day, -dt.date.fromisoformat(day).weekday()))
                and shifted(monday, 6) <= ends[1]
            }
        content[node.name] = {key: made(node, key, content) for key in partitions}
    return content


@dataclass
class Simulated:
    """A product that runs what is planned, without Dagster and without a lake."""

    most_partitions: int | None = None
    content: Content = field(default_factory=lambda: {node.name: {} for node in NODES})
    written: dict[str, dict[str, int]] = field(default_factory=dict)
    landing: dict[str, dict[str, int]] = field(default_factory=dict)
    delivered: Content = field(default_factory=dict)
    snapshot: int = 0
    judged: int = -1
    # Of each partition, how often it was written since the last look.
    times: Counter[tuple[str, str]] = field(default_factory=Counter)

    def deliver(self, source: str, day: str, version: int) -> None:
        self.delivered.setdefault(source, {})[day] = version
        self.landing.setdefault(source, {})[day] = version

    def state(self) -> ProductState:
        waiting = {
            source: SourceState({day: (f"{source} {day} {files[day]}",) for day in files})
            for source, files in self.landing.items()
        }
        of = {role: [n.name for n in NODES if n.role == role] for role in MODELS}
        at = {name: max(parts.values()) for name, parts in self.written.items()}
        return ProductState(
            {name: parts for name, parts in self.written.items() if name not in of["challenger"]},
            waiting,
            judged_snapshot=self.judged,
            trained={name: at[name] for name in of["challenger"] if name in at},
            decided={name: at[name] for name in of["champion"] if name in at},
        )

    def next(self, without: set[str]) -> PlannedRun | None:
        return next_run(NODES, self.state(), without, self.most_partitions)

    def run(self, planned: PlannedRun, steps: int | None = None) -> None:
        """Write the planned assets, one after another; a run that fails stops after some."""
        step = 7 if planned.cadence == "weekly" else 1
        partitions = [planned.first]
        while partitions[-1] != planned.last:
            partitions.append(shifted(partitions[-1], step))
        assert self.most_partitions is None or len(partitions) <= self.most_partitions
        known = {node.name: node for node in NODES}
        assert list(planned.assets) == [name for name in known if name in planned.assets]
        for asset in planned.assets[:steps]:
            node = known[asset]
            assert node.cadence == planned.cadence
            self.snapshot += 1
            if node.role == "release":
                self.judged = self.snapshot - 1
                continue
            for partition in partitions:
                if node.role == "source":
                    held = self.landing[asset].pop(partition)
                else:
                    held = 0 if node.role in MODELS else made(node, partition, self.content)
                self.content[asset][partition] = held
                self.written.setdefault(asset, {})[partition] = self.snapshot
                self.times[asset, partition] += 1

    def settle(self, failures: Sequence[int] = ()) -> int:
        """Run until nothing is behind; some runs fail after their first steps.

        Args:
            failures: Per run, how many of its assets are written before it fails; below zero,
                and for all later runs, it succeeds.

        Returns:
            How many runs it took.
        """
        self.times.clear()
        left = list(failures)
        failed: set[str] = set()
        runs = 0
        while (planned := self.next(failed)) is not None:
            runs += 1
            assert runs <= 2 * len(DAYS) * len(NODES), "it does not come to rest"
            steps = left.pop(0) if left else -1
            if 0 <= steps < len(planned.assets):
                self.run(planned, steps)
                failed.add(planned.fingerprint)
            else:
                self.run(planned)
        return runs

    def is_fresh(self) -> bool:
        return self.content | {"release": {}} == fresh(self.delivered)


def started(most_partitions: int | None = None) -> Simulated:
    """A product with its reference and its first day."""
    product = Simulated(most_partitions)
    product.deliver("reference", WHOLE, 0)
    product.deliver("outcomes", DAYS[0], 0)
    product.deliver("plan", DAYS[0], 0)
    product.settle()
    assert product.is_fresh()
    return product


files = st.tuples(st.sampled_from(["outcomes", "plan"]), st.sampled_from(DAYS))
some_files = st.lists(files, min_size=1, max_size=25, unique=True)
cuts = st.none() | st.integers(1, 6)


@settings(max_examples=200, deadline=None)
@given(batches=st.lists(some_files, min_size=1, max_size=6), most_partitions=cuts)
def test_any_arrivals_and_corrections_end_in_what_a_fresh_build_gives(
    batches: list[list[tuple[str, str]]], most_partitions: int | None
) -> None:
    product = started(most_partitions)
    for version, batch in enumerate(batches, start=1):
        for source, day in batch:
            product.deliver(source, day, version)
        product.settle()
        assert product.is_fresh()
        assert product.next(set()) is None
        # Once with what it reads of its own day, and once more for each of the two histories, of
        # facts and of features, that are made in a run after that.
        assert max(product.times.values()) <= 3, product.times.most_common(3)


@settings(max_examples=200, deadline=None)
@given(
    batches=st.lists(
        st.tuples(some_files, st.lists(st.integers(-1, 6), max_size=30)), min_size=1, max_size=4
    ),
    most_partitions=cuts,
)
def test_runs_that_fail_hold_nothing_up_for_good(
    batches: list[tuple[list[tuple[str, str]], list[int]]], most_partitions: int | None
) -> None:
    product = started(most_partitions)
    for version, (batch, failures) in enumerate(batches, start=1):
        for source, day in batch:
            product.deliver(source, day, version)
        product.settle(failures)
    product.settle()
    assert product.is_fresh()
    assert product.next(set()) is None


@pytest.mark.parametrize("most_partitions", [None, 1, 2, 5, len(DAYS), 400])
def test_a_first_load_writes_every_partition_once(most_partitions: int | None) -> None:
    product = Simulated(most_partitions)
    product.deliver("reference", WHOLE, 0)
    for day in DAYS:
        product.deliver("outcomes", day, 0)
        product.deliver("plan", day, 0)
    product.settle()
    assert product.is_fresh()
    assert set(product.times.values()) == {1}


def test_a_day_after_the_other_no_features_are_made_again() -> None:
    product = started()
    product.deliver("plan", DAYS[1], 0)
    product.settle()
    for today in range(1, len(DAYS) - 1):
        # In the morning the outcomes of yesterday, in the evening what is planned for tomorrow.
        product.deliver("outcomes", DAYS[today - 1], 1)
        product.settle()
        assert not {day for asset, day in product.times if asset in {"features", "outlook"}}
        product.deliver("plan", DAYS[today + 1], 1)
        product.settle()
        assert {day for asset, day in product.times if asset == "features"} == {DAYS[today + 1]}
    assert product.is_fresh()
