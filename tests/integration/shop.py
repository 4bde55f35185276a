"""A code location as small as one can be, whose assets know nothing of receipts."""

import os
from collections.abc import Iterator
from typing import Any

import dagster as dg
import polars as pl

from analytics_platform.components.receipts import RESOURCE, ReceiptResource, with_receipts
from analytics_platform.lake import WriteRecord
from analytics_platform.lake.io_manager import LakeIOManager, LakeResource


def key(name: str) -> dg.AssetKey:
    return dg.AssetKey(["shop", name])


@dg.asset(key=key("orders"))
def orders() -> pl.DataFrame:
    return pl.DataFrame({"number": range(100)})


@dg.asset(key=key("totals"), deps=[orders])
def totals() -> pl.DataFrame:
    return pl.DataFrame({"total": [1, 2, 3]})


@dg.asset(key=key("no_frame"))
def no_frame() -> str:
    return "the IO manager takes frames only"


@dg.asset(key=key("broken"))
def broken() -> pl.DataFrame:
    raise ValueError("broken on purpose")


@dg.asset(key=key("flaky"), retry_policy=dg.RetryPolicy(max_retries=1))
def flaky(context: dg.AssetExecutionContext) -> pl.DataFrame:
    """Fails at first, and may not be luckier the second time."""
    attempts = int(os.environ.get("SHOP_FLAKY_FAILS", "1"))
    if context.op_execution_context.retry_number < attempts:
        raise ValueError("a shaky connection")
    return pl.DataFrame({"n": [1, 2]})


@dg.asset(
    key=key("refused"),
    check_specs=[dg.AssetCheckSpec("holds", asset=key("refused"), blocking=True)],
)
def refused() -> Iterator[Any]:
    yield dg.MaterializeResult(value=pl.DataFrame({"n": [1]}))
    yield dg.AssetCheckResult(check_name="holds", passed=False)


@dg.multi_asset(
    specs=[
        dg.AssetSpec(key("slow"), deps=[orders], skippable=True),
        dg.AssetSpec(key("quick"), deps=[orders], skippable=True),
        dg.AssetSpec(key("never"), deps=[orders], skippable=True),
    ],
    can_subset=True,
)
def several(context: dg.AssetExecutionContext, lake: LakeResource) -> Iterator[Any]:
    """Makes two of its three assets, as dbt does: with the seconds of each, and then it fails."""
    with lake.lake.transaction("write") as transaction:
        for name in ("slow", "quick"):
            transaction.replace("shop", name, pl.DataFrame({"n": [1, 2]}))
        transaction.record_writes(
            [WriteRecord("shop", name, "", context.run.run_id, 2) for name in ("slow", "quick")]
        )
    yield dg.MaterializeResult(key("slow"), metadata={"seconds": 3.0})
    yield dg.MaterializeResult(key("quick"), metadata={"seconds": 1.0})
    if os.environ.get("SHOP_FAILS"):
        raise dg.Failure("the third broke", allow_retries=False)


def definitions() -> dg.Definitions:
    lake = LakeResource()
    return with_receipts(
        dg.Definitions(
            assets=[orders, totals, no_frame, broken, flaky, refused, several],
            jobs=[
                dg.define_asset_job("sound", selection=["shop/orders", "shop/totals"]),
                dg.define_asset_job("shaky", selection=["shop/flaky"]),
                dg.define_asset_job("everything", selection="*"),
            ],
            resources={
                "lake": lake,
                "io_manager": LakeIOManager(resource=lake),
                RESOURCE: ReceiptResource(lake=lake),
            },
            executor=dg.in_process_executor,
        )
    )


defs = definitions()
