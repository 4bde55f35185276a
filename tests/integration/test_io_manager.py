"""The IO manager in real runs: eager and lazy frames, one partition and ranges, in and out."""

import datetime as dt

import dagster as dg
import polars as pl
import pytest

from analytics_platform.lake import Lake
from analytics_platform.lake.io_manager import LakeIOManager, LakeResource

DAYS = dg.DailyPartitionsDefinition("2013-01-01", end_date="2013-02-01")
POLICY = dg.BackfillPolicy.single_run()
COLUMN = {"partition_column": "day"}


def _frame(days: list[str], factor: int) -> pl.DataFrame:
    dates = [dt.date.fromisoformat(day) for day in days]
    return pl.DataFrame({"day": dates, "value": [factor * day.day for day in dates]})


@pytest.mark.parametrize("lazy", [False, True], ids=["eager", "lazy"])
def test_frames_go_in_and_come_out_by_partition(lake: Lake, lazy: bool) -> None:
    factor = 1

    @dg.asset(key=["p", "numbers"], partitions_def=DAYS, metadata=COLUMN, backfill_policy=POLICY)
    def numbers(context: dg.AssetExecutionContext) -> object:
        frame = _frame(list(context.partition_keys), factor)
        return frame.lazy() if lazy else frame

    seen: list[object] = []

    if lazy:

        @dg.asset(partitions_def=DAYS, backfill_policy=POLICY, key=["p", "copied"], metadata=COLUMN,
                  ins={"numbers": dg.AssetIn(key=["p", "numbers"])})  # fmt: skip
        def copied(numbers: pl.LazyFrame) -> object:
            seen.append(type(numbers))
            return numbers

    else:

        @dg.asset(partitions_def=DAYS, backfill_policy=POLICY, key=["p", "copied"], metadata=COLUMN,
                  ins={"numbers": dg.AssetIn(key=["p", "numbers"])})  # fmt: skip
        def copied(numbers: pl.DataFrame) -> object:
            seen.append(type(numbers))
            return numbers

    io_manager = LakeIOManager(resource=LakeResource())
    defs = dg.Definitions(
        [numbers, copied], resources={"io_manager": io_manager}, jobs=[dg.define_asset_job("all")]
    )
    job = defs.resolve_job_def("all")

    def run(first: str, last: str) -> None:
        tags = {
            "dagster/asset_partition_range_start": first,
            "dagster/asset_partition_range_end": last,
        }
        assert job.execute_in_process(tags=tags).success

    run("2013-01-01", "2013-01-03")
    factor = 10
    run("2013-01-02", "2013-01-02")
    stored = "SELECT value FROM lake.p.{} ORDER BY day"
    for table in ("numbers", "copied"):
        assert lake.query(stored.format(table))["value"].to_list() == [1, 20, 3]
    assert set(seen) == {pl.LazyFrame if lazy else pl.DataFrame}
    writes = lake.query(
        "SELECT count(*) FROM lake.ops.writes WHERE product = 'p' AND asset = 'numbers'"
    )
    assert writes.item() == 4, "three partitions, then one again"
