"""Which failed runs are over: real runs of a small code location, on a real lake."""

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import pytest

from analytics_platform.components import failed_runs
from analytics_platform.components.failed_runs import run_evidence
from analytics_platform.lake import CheckRecord, Lake, WriteRecord
from analytics_platform.lake.records import WHOLE
from analytics_platform.monitoring.alerts import Alert, Evidence, Finding, Identity
from analytics_platform.settings import Settings

UI = "https://ui.example.org"
DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-02-01")
ONE, TWO, THREE = "2024-01-01", "2024-01-02", "2024-01-03"
LONG_AGO = dt.datetime.fromisoformat("2024-01-01")


@dataclass
class Shop:
    """A product of a few assets that fail when they are told to.

    Attributes:
        broken: Steps and assets that raise.
        bad: Days on which the blocking check of `raw_sales` fails.
        absent: Days of which `raw_sales` has no file.
    """

    lake: Lake
    instance: dg.DagsterInstance
    broken: set[str] = field(default_factory=set)
    bad: set[str] = field(default_factory=set)
    absent: set[str] = field(default_factory=set)
    repository: Any = None

    def run(self, job: str, *assets: str, days: tuple[str, str] | None = None) -> str:
        tags = {}
        if days is not None:
            tags = {"dagster/asset_partition_range_start": days[0],
                    "dagster/asset_partition_range_end": days[1]}  # fmt: skip
        return (
            self.repository.get_job(f"shop_{job}")
            .execute_in_process(
                instance=self.instance,
                asset_selection=[dg.AssetKey(["shop", asset]) for asset in assets] or None,
                tags=tags,
                raise_on_error=False,
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            )
            .run_id
        )

    def look(self, *alerts: Alert) -> Evidence:
        with self.lake.reader() as con:
            return run_evidence(con, self.instance, self.repository, UI, alerts)

    def open(self, *alerts: Alert) -> dict[str, set[str]]:
        """What is wrong, by subject: the partitions, or assets without any, that are not made."""
        found = {f.identity.subject: set(f.news) for f in self.look(*alerts).findings}
        assert all(f.identity.product == "shop" for f in self.look(*alerts).findings)
        return found

    def write(self, asset: str, days: list[str], run_id: str, *, kind: str = "write") -> None:
        with self.lake.transaction("write") as transaction:
            transaction.record_writes(
                [WriteRecord("shop", asset, day, run_id, 1, kind=kind) for day in days]
            )

    def check(self, asset: str, days: list[str], run_id: str) -> None:
        with self.lake.transaction("check") as transaction:
            transaction.record_checks(
                [CheckRecord("shop", asset, "holds", day, day not in self.bad, True, run_id, {})
                 for day in days],
                transaction.snapshot_id - 1,
            )  # fmt: skip


def _definitions(shop: Shop) -> dg.Definitions:
    def keyed(name: str) -> dg.AssetKey:
        return dg.AssetKey(["shop", name])

    def fails_if_broken(name: str) -> None:
        if name in shop.broken:
            raise ValueError(f"{name} is broken")

    daily: dict[str, Any] = {
        "partitions_def": DAYS, "backfill_policy": dg.BackfillPolicy.single_run()
    }  # fmt: skip

    @dg.asset(key=keyed("raw_sales"), **daily)
    def raw_sales(context: dg.AssetExecutionContext) -> None:
        fails_if_broken("raw_sales")
        days = [day for day in context.partition_keys if day not in shop.absent]
        shop.write("raw_sales", days, context.run.run_id)
        shop.check("raw_sales", days, context.run.run_id)
        if shop.bad & set(days):
            raise dg.Failure("a file cannot be read")

    @dg.asset(key=keyed("fct"), deps=[raw_sales], **daily)
    def fct(context: dg.AssetExecutionContext) -> None:
        fails_if_broken("fct")
        shop.write("fct", list(context.partition_keys), context.run.run_id)

    @dg.asset(key=keyed("left"))
    def left() -> None:
        fails_if_broken("left")

    @dg.asset(key=keyed("right"))
    def right() -> None:
        fails_if_broken("right")

    @dg.multi_asset(
        name="shop__dbt",
        specs=[dg.AssetSpec(keyed(name), skippable=True) for name in ("one", "other")],
        can_subset=True,
    )
    def dbt(context: dg.AssetExecutionContext) -> Iterator[Any]:
        for key in sorted(context.selected_asset_keys):
            name = key.path[-1]
            fails_if_broken(name)
            shop.write(name, [WHOLE], context.run.run_id)
            shop.check(name, [WHOLE], context.run.run_id)
            yield dg.MaterializeResult(asset_key=key)

    arrived = dg.AssetCheckSpec("arrived", asset=keyed("raw_sales"))

    @dg.multi_asset_check(name="shop__raw_sales__arrivals", specs=[arrived])
    def arrivals() -> dg.AssetCheckResult:
        fails_if_broken("arrivals")
        return dg.AssetCheckResult(asset_key=keyed("raw_sales"), check_name="arrived", passed=True)

    return dg.Definitions(
        assets=[raw_sales, fct, left, right, dbt],
        asset_checks=[arrivals],
        jobs=[
            dg.define_asset_job("shop_daily", selection=[raw_sales, fct]),
            dg.define_asset_job("shop_whole", selection=[left, right, dbt]),
            dg.define_asset_job("shop_checks", selection=dg.AssetSelection.checks(arrived.key)),
        ],
        executor=dg.in_process_executor,
    )


@pytest.fixture
def shop(lake: Lake, settings: Settings) -> Iterator[Shop]:
    with dg.DagsterInstance.ephemeral() as instance:
        made = Shop(lake, instance)
        made.repository = _definitions(made).get_repository_def()
        yield made


def alert(subject: str, *news: str, opened_at: dt.datetime | None = None) -> Alert:
    found = Finding(Identity("shop", "run", subject), "error", "it failed", UI, frozenset(news))
    return Alert(found, opened_at or dt.datetime.now(dt.UTC).replace(tzinfo=None))


def test_a_failed_run_is_not_made_good_by_another_run_of_the_same_job(shop: Shop) -> None:
    shop.broken = {"left"}
    failed = shop.run("whole", "left")
    shop.run("whole", "right")

    (finding,) = shop.look().findings
    assert finding.identity == Identity("shop", "run", "left")
    assert finding.summary == f"run {failed[:8]} failed: left: ValueError: left is broken"
    assert finding.link == f"{UI}/runs/{failed}"
    assert shop.open(alert("left", "left")) == {"left": {"left"}}, "nor is what is told of it over"

    shop.broken = set()
    shop.run("whole")
    assert shop.open() == {}
    assert shop.look(alert("left", "left", opened_at=LONG_AGO)) == Evidence(())


def test_only_the_steps_that_failed_are_wrong_and_are_made_good_one_by_one(shop: Shop) -> None:
    shop.broken = {"left", "right"}
    shop.run("whole", "left", "right", "one")
    assert shop.open() == {"left": {"left"}, "right": {"right"}}

    # Tried again, apart: one succeeds, the other fails in a run in which a third is made.
    shop.broken = {"right"}
    shop.run("whole", "left")
    again = shop.run("whole", "right", "other")
    assert shop.open() == {"right": {"right"}}
    assert shop.look().findings[0].link.endswith(again), "the newest of its failures is shown"

    shop.broken = set()
    shop.run("whole", "right")
    assert shop.open() == {}


def test_a_step_that_succeeded_in_a_run_that_failed_is_made_good(shop: Shop) -> None:
    shop.broken = {"left"}
    shop.run("whole", "left")
    shop.broken = {"right"}
    shop.run("whole", "left", "right")
    assert shop.open() == {"right": {"right"}}


def test_days_are_made_good_by_the_runs_that_have_them(shop: Shop) -> None:
    shop.broken = {"fct"}
    shop.run("daily", "raw_sales", "fct", days=(ONE, THREE))
    assert shop.open() == {"fct": {ONE, TWO, THREE}}, "raw was made"

    shop.broken = set()
    shop.run("daily", "raw_sales", days=(ONE, THREE))
    shop.run("daily", "fct", days=("2024-01-04", "2024-01-05"))
    assert shop.open() == {"fct": {ONE, TWO, THREE}}, "other assets, and other days"
    shop.run("daily", "fct", days=(ONE, ONE))
    shop.run("daily", "raw_sales", "fct", days=(THREE, "2024-01-04"))
    assert shop.open() == {"fct": {TWO}}
    assert shop.look().findings[0].summary.startswith(f"{TWO}; run ")
    shop.run("daily", "fct", days=(TWO, TWO))
    assert shop.open() == {}


def test_more_days_of_the_same_step_are_news_of_one_alert(shop: Shop) -> None:
    shop.broken = {"fct"}
    shop.run("daily", "fct", days=(ONE, ONE))
    newest = shop.run("daily", "fct", days=(ONE, TWO))
    (finding,) = shop.look().findings
    assert finding.news == {ONE, TWO}
    assert finding.link.endswith(newest)


def test_of_many_days_only_those_that_fail_their_check_are_wrong(shop: Shop) -> None:
    # What holds is not read again, so no later run would ever speak of it.
    shop.bad, shop.absent = {TWO}, {THREE}
    shop.run("daily", "raw_sales", days=(ONE, THREE))
    assert shop.open() == {"raw_sales": {TWO}}
    shop.bad = set()
    shop.run("daily", "raw_sales", days=(TWO, TWO))
    assert shop.open() == {}


def test_a_day_that_was_taken_out_is_made_good(shop: Shop) -> None:
    shop.bad = {TWO}
    shop.run("daily", "raw_sales", days=(ONE, THREE))
    shop.write("raw_sales", [TWO], "", kind="removed")
    assert shop.open() == {}


def test_of_a_step_of_several_assets_those_are_wrong_that_it_did_not_make(shop: Shop) -> None:
    shop.broken = {"other"}
    shop.run("whole", "one", "other")
    assert shop.open() == {"dbt": {"other"}}
    shop.broken = set()
    shop.run("whole", "one")
    assert shop.open() == {"dbt": {"other"}}
    shop.run("whole", "other")
    assert shop.open() == {}


def test_a_run_that_was_killed_is_wrong_until_its_work_is_done(shop: Shop) -> None:
    run = shop.instance.create_run_for_job(
        shop.repository.get_job("shop_whole"),
        asset_selection=frozenset({dg.AssetKey(["shop", "left"]), dg.AssetKey(["shop", "right"])}),
    )
    shop.instance.report_run_failed(run, "The process of this run is gone.")
    (finding,) = shop.look().findings
    assert finding.identity == Identity("shop", "run", "shop_whole")
    assert set(finding.news) == {"left", "right"}

    shop.run("whole", "left")
    assert [set(finding.news) for finding in shop.look().findings] == [{"right"}]
    shop.run("whole", "right", "one")
    assert shop.look().findings == ()


def test_a_step_that_only_checks_is_made_good_by_the_next_one(shop: Shop) -> None:
    shop.broken = {"arrivals"}
    shop.run("checks")
    shop.run("daily", "raw_sales", days=(ONE, TWO))
    shop.broken = set()
    shop.run("daily", "fct", days=(ONE, ONE))
    assert shop.open() == {"raw_sales__arrivals": {"raw_sales__arrivals"}}
    told = alert("raw_sales__arrivals", "raw_sales__arrivals", opened_at=LONG_AGO)
    shop.run("checks")
    assert shop.look(told) == Evidence(())


def test_a_run_of_an_asset_runs_its_checks(shop: Shop) -> None:
    shop.broken = {"arrivals"}
    shop.run("checks")
    shop.broken = set()
    shop.run("daily", "raw_sales", days=(ONE, ONE))
    assert shop.open() == {}


def test_what_ended_last_counts_and_not_what_began_last(shop: Shop) -> None:
    shop.broken = {"left"}
    failed = shop.run("whole", "left")
    shop.broken = set()
    succeeded = shop.run("whole", "left")
    assert shop.open() == {}

    ends = {
        record.dagster_run.run_id: record.end_time for record in shop.instance.get_run_records()
    }
    real = shop.instance.get_run_records

    def swapped(*given: Any, **more: Any) -> list[Any]:
        other = {failed: ends[succeeded], succeeded: ends[failed]}
        return [r._replace(end_time=other[r.dagster_run.run_id]) for r in real(*given, **more)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shop.instance, "get_run_records", swapped)
        assert shop.open() == {"left": {"left"}}


@pytest.mark.parametrize(
    ("subject", "news", "makes_good"),
    [
        pytest.param("left", ["left"], lambda shop: shop.run("whole", "left"), id="an asset"),
        pytest.param("fct", [ONE, TWO], lambda shop: shop.run("daily", "fct", days=(ONE, TWO)),
                     id="days"),
        pytest.param("fct", [ONE, TWO],
                     lambda shop: [shop.run("daily", "fct", days=(d, d)) for d in (ONE, TWO)],
                     id="days, one by one"),
        pytest.param("fct", [ONE, TWO], lambda shop: shop.write("fct", [ONE, TWO], "a run of old"),
                     id="days, by the lake alone"),
        pytest.param("shop_whole", [], lambda shop: shop.run("whole", "one"), id="a job"),
    ],
)  # fmt: skip
def test_an_alert_of_a_run_whose_log_is_gone_is_judged_by_what_it_names(
    subject: str, news: list[str], makes_good: Callable[[Shop], object], shop: Shop
) -> None:
    told = alert(subject, *news)
    shop.run("whole", "right")
    shop.run("daily", "raw_sales", days=(ONE, TWO))
    if subject != "shop_whole":
        assert shop.look(told) == Evidence((), frozenset({told.identity})), "it stays as it is"
    makes_good(shop)
    assert shop.look(told) == Evidence(()), "it is over"


def test_an_alert_keeps_the_days_whose_run_is_gone_beside_those_of_another(shop: Shop) -> None:
    shop.broken = {"fct"}
    shop.run("daily", "fct", days=(THREE, THREE))
    told = alert("fct", ONE, THREE)
    assert shop.open(told) == {"fct": {ONE, THREE}}
    shop.broken = set()
    shop.run("daily", "fct", days=(THREE, THREE))
    assert shop.look(told) == Evidence((), frozenset({told.identity}))
    shop.run("daily", "fct", days=(ONE, ONE))
    assert shop.look(told) == Evidence(())


def test_an_alert_of_what_the_code_location_no_longer_has_is_over(shop: Shop) -> None:
    assert shop.look(alert("of_another_time", ONE)) == Evidence(())


def test_a_look_reads_so_many_runs_and_no_more(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failed_runs, "MOST_FAILURES", 2)
    monkeypatch.setattr(failed_runs, "MOST_SUCCESSES", 1)
    shop.broken = {"left", "right", "one"}
    for asset in ("one", "right", "left"):
        shop.run("whole", asset)
    read: list[int] = []
    logs: list[str] = []
    runs, log = shop.instance.get_run_records, shop.instance.all_logs

    def counted(*given: Any, **more: Any) -> Any:
        found = runs(*given, **more)
        read.append(len(found))
        return found

    monkeypatch.setattr(shop.instance, "get_run_records", counted)
    monkeypatch.setattr(
        shop.instance, "all_logs", lambda run, **more: logs.append(run) or log(run, **more)
    )
    # What is told already stays as it is when newer failures crowd it out.
    told = alert("dbt", "one")
    evidence = shop.look(told)
    assert {finding.identity.subject for finding in evidence.findings} == {"left", "right"}
    assert evidence.unjudged == {told.identity}
    assert read == [2, 0]
    assert len(logs) == 2

    shop.broken = set()
    shop.run("whole", "left", "right")
    read.clear(), logs.clear()
    assert shop.look().findings == ()
    assert (read, logs) == ([2, 1], []), "what a later run did whole needs no log"


def test_nothing_is_read_where_nothing_failed(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.run("whole", "left")
    monkeypatch.setattr(failed_runs, "MOST_SUCCESSES", 0)
    assert shop.look() == Evidence(())
