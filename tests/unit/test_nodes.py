"""What planning is told of the asset graph: which days of another asset a dependency reads."""

import dagster as dg
import pytest

from analytics_platform.arrivals import Look
from analytics_platform.components.product_spec import ROLE
from analytics_platform.components.state import nodes_of, product_state
from analytics_platform.lake import FileStore, Lake
from analytics_platform.planning import History
from tests.unit.lake.writing import FIRST, check, frame, write

DAILY = dg.DailyPartitionsDefinition("2013-01-01")
WEEKLY = dg.WeeklyPartitionsDefinition("2013-01-07", day_offset=1)

# The window of a reader and its partitions; whether it reads its own partition, and its history.
CASES = {
    "its own day": (DAILY, (0, 0), True, ()),
    "earlier days": (DAILY, (-91, -2), False, (History("read", -91, -2),)),
    "earlier days and its own": (DAILY, (-6, 0), True, (History("read", -6, 0),)),
    "its own week": (WEEKLY, (0, 0), True, ()),
    # Dagster counts in weeks; the days are those from the first Monday to the last Sunday.
    "earlier weeks": (WEEKLY, (-2, -1), False, (History("read", -14, -1),)),
}


@pytest.mark.parametrize(("partitions", "window", "own", "history"), CASES.values(), ids=CASES)
def test_a_window_is_told_in_days(
    partitions: dg.PartitionsDefinition,
    window: tuple[int, int],
    own: bool,
    history: tuple[History, ...],
) -> None:
    mapping = dg.TimeWindowPartitionMapping(start_offset=window[0], end_offset=window[1])
    key = dg.AssetKey(["product", "read"])
    metadata = {ROLE: "table"}

    @dg.asset(key=key, partitions_def=DAILY, metadata=metadata)
    def read() -> None: ...

    @dg.asset(
        key=["product", "reader"],
        partitions_def=partitions,
        metadata=metadata,
        deps=[dg.AssetDep(key, partition_mapping=mapping)],
    )
    def reader() -> None: ...

    graph = dg.Definitions(assets=[read, reader]).get_repository_def().asset_graph
    first, second = nodes_of(graph, "product")
    assert (first.name, first.upstreams, first.history) == ("read", (), ())
    assert second.upstreams == (("read",) if own else ())
    assert second.history == history


@pytest.mark.parametrize(
    ("declared", "failing"),
    [
        pytest.param([dg.AssetCheckSpec("sound", asset=["p", "t"], blocking=True)], True, id="is"),
        pytest.param([dg.AssetCheckSpec("sound", asset=["p", "t"])], False, id="warns-now"),
        pytest.param([], False, id="was-deleted"),
    ],
)
def test_a_day_fails_by_the_checks_that_are_declared_now(
    lake: Lake, store: FileStore, declared: list[dg.AssetCheckSpec], failing: bool
) -> None:
    """A check that was deleted runs no more, and would bar what is made of the day for good."""

    @dg.asset(key=["p", "t"], partitions_def=DAILY, metadata={ROLE: "table"}, check_specs=declared)
    def t() -> dg.MaterializeResult:
        raise NotImplementedError

    write(lake, frame(FIRST, 1), FIRST)
    check(lake, str(FIRST), passed=False)
    graph = dg.Definitions(assets=[t]).get_repository_def().asset_graph
    state = product_state(lake, store, graph, "p", Look("p", ()))
    assert state.failing == ({"t": frozenset({str(FIRST)})} if failing else {})
