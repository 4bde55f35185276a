"""The sensor: what it starts, whatever becomes of its cursor, however many look at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from analytics_platform.lake import Lake, ledger
from analytics_platform.lake.io_manager import LakeResource
from analytics_platform.settings import Settings

PRODUCT = "flight_delays"
DAY, NEXT = "2013-01-02", "2013-01-03"

Arrive = Callable[[str, str], None]


class Daemon:
    """A sensor daemon: it ticks, and runs what a tick asks for."""

    def __init__(self, repository: dg.RepositoryDefinition) -> None:
        self.repository = repository
        self.instance = dg.DagsterInstance.ephemeral()
        self.cursor: str | None = None

    def tick(self) -> dg.RunRequest | str:
        """One evaluation; the run that it asks for, or why it asks for none."""
        context = dg.build_sensor_context(
            instance=self.instance,
            repository_def=self.repository,
            cursor=self.cursor,
            resources={"lake": LakeResource()},
        )
        sensor = self.repository.get_sensor_def(f"{PRODUCT}_arrivals")
        data = sensor.evaluate_tick(context)
        self.cursor = data.cursor
        return data.run_requests[0] if data.run_requests else data.skip_message or ""

    def execute(self, request: dg.RunRequest, *assets: str) -> bool:
        """Run what was asked for, or some assets of it."""
        selection = [key for key in request.asset_selection or () if key.path[-1] in assets]
        result = self.repository.get_job(request.job_name or "").execute_in_process(
            instance=self.instance,
            asset_selection=selection or request.asset_selection,
            tags=request.tags,
            raise_on_error=False,
        )
        return result.success


@pytest.fixture
def daemon(repository: dg.RepositoryDefinition, settings: Settings) -> Iterator[Daemon]:
    made = Daemon(repository)
    with made.instance:
        yield made


def asked(request: dg.RunRequest | str) -> tuple[set[str], str, str]:
    assert not isinstance(request, str), request
    tags = request.tags
    return (
        {key.path[-1] for key in request.asset_selection or ()},
        tags.get("dagster/asset_partition_range_start", ""),
        tags.get("dagster/asset_partition_range_end", ""),
    )


def files(lake: Lake) -> pl.DataFrame:
    with lake.reader() as con:
        return ledger.ledger(con, PRODUCT)


def rows(lake: Lake, table: str) -> list[tuple[object, ...]]:
    return lake.query(
        f"SELECT flight_date, count(*), count(DISTINCT (carrier, flight_number, origin)) "
        f"FROM lake.{PRODUCT}.{table} GROUP BY 1 ORDER BY 1"
    ).rows()


def test_two_sensors_at_once_neither_skip_nor_repeat(
    daemon: Daemon, repository: dg.RepositoryDefinition, arrive: Arrive, lake: Lake
) -> None:
    arrive("2013-01-01", NEXT)
    assert asked(daemon.tick())[1:] == ("", ""), "references go first"
    reference = daemon.tick()
    assert not isinstance(reference, str)
    assert daemon.execute(reference, "raw_airlines", "raw_airports", "raw_aircraft")

    other = Daemon(repository)
    with other.instance:
        first, second = daemon.tick(), other.tick()
        assert asked(first) == asked(second)
        assert not isinstance(first, str)
        assert not isinstance(second, str)
        if asked(first)[1] == "":
            # The tables that follow from the references.
            assert daemon.execute(first)
            assert other.execute(second)
            first, second = daemon.tick(), other.tick()
        assert asked(first) == asked(second)
        assert asked(first)[1:] == ("2013-01-01", NEXT)
        assert not isinstance(first, str)
        assert not isinstance(second, str)
        raw = ("raw_schedules", "raw_outcomes", "raw_weather")
        assert daemon.execute(first, *raw)
        once = [rows(lake, table) for table in raw[:2]]
        assert other.execute(second, *raw)

    assert [rows(lake, table) for table in raw[:2]] == once
    assert all(count == keys for table in once for _, count, keys in table)
    standing = files(lake)
    assert standing["status"].unique().to_list() == ["loaded"]
    assert standing.height == standing["path"].n_unique() == 3 + 3 * 3


def test_a_lost_cursor_changes_nothing(daemon: Daemon, arrive: Arrive, lake: Lake) -> None:
    arrive(DAY, DAY)
    request = daemon.tick()
    daemon.cursor = "of another time"
    assert asked(daemon.tick()) == asked(request), "what is behind is behind until it is done"
    daemon.cursor = None
    assert not isinstance(request, str)
    assert daemon.execute(request)

    following = daemon.tick()
    assert not asked(following)[0] & asked(request)[0], "what is done is not done again"
    daemon.cursor = None
    assert asked(daemon.tick()) == asked(following)
    assert asked(following)[1:] == (DAY, DAY)
    loaded = files(lake).filter(status="loaded")["source"].to_list()
    assert sorted(loaded) == ["aircraft", "airlines", "airports"]


def test_once_all_is_done_a_look_is_spared_until_something_changes(
    daemon: Daemon, arrive: Arrive, landing: Path, lake: Lake
) -> None:
    assert "Nothing is behind" in str(daemon.tick())
    assert daemon.cursor
    assert "Nothing has changed" in str(daemon.tick())

    stranger = landing / "schedules" / "sched_2013-01-01.csv"
    stranger.parent.mkdir(parents=True)
    stranger.write_text("day\n")
    (landing / "schedules" / "schedules_2012-12-31.csv").write_text("day\n")
    assert "Nothing is behind" in str(daemon.tick())
    found = files(lake).select("path", "status").rows()
    assert found == [
        ("schedules/sched_2013-01-01.csv", "unmatched"),
        ("schedules/schedules_2012-12-31.csv", "out_of_range"),
    ]
    assert "Nothing has changed" in str(daemon.tick())
    stranger.unlink()
    assert "Nothing is behind" in str(daemon.tick())
    assert dict(files(lake).select("path", "status").rows())[found[0][0]] == "vanished"


def test_what_never_came_and_what_lies_aside_is_named_by_checks(
    daemon: Daemon, arrive: Arrive, landing: Path
) -> None:
    arrive("2013-01-01", NEXT)
    (landing / f"weather/weather_{DAY}.parquet").unlink()
    (landing / "outcomes" / "outcomes_2013-02-30.csv").write_text("x")
    daemon.tick()

    result = daemon.repository.get_job(f"{PRODUCT}_arrivals_check").execute_in_process(
        instance=daemon.instance
    )

    failed = {
        (check.asset_key.path[-1], check.check_name): check.metadata["first"].value
        for check in result.get_asset_check_evaluations()
        if not check.passed
    }
    assert set(failed) == {
        ("raw_weather", "files_have_arrived"),
        ("raw_outcomes", "files_are_accounted_for"),
    }
    assert f"weather/weather_{DAY}.parquet" in failed["raw_weather", "files_have_arrived"]
    assert "outcomes_2013-02-30.csv" in failed["raw_outcomes", "files_are_accounted_for"]
