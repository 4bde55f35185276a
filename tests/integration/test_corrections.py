"""A corrected file of a past day reaches every later day that looks back on it, and no other."""

import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from analytics_platform.lake import Lake
from analytics_platform.settings import Settings, get_settings

Run = Callable[[], tuple[bool, str]]
Arrive = Callable[[str, str], None]

TABLES = ("fct_flights", "features_flights", "mart_daily_operations")


def _snapshots(lake: Lake, asset: str) -> dict[str, int]:
    """The newest write of each partition."""
    found = lake.query(
        'SELECT "partition", max(snapshot_id) FROM lake.ops.writes WHERE asset = ? GROUP BY ALL',
        [asset],
    )
    return dict(found.rows())


def _rows(lake: Lake, table: str) -> pl.DataFrame:
    return lake.query(f"FROM lake.flight_delays.{table} ORDER BY ALL")


def _delay(path: Path) -> None:
    """Every flight left and arrived a day later than was first said: no clock changes."""
    outcomes = pl.read_csv(path, infer_schema_length=None)
    delays = pl.col("departure_delay_minutes", "arrival_delay_minutes")
    outcomes.with_columns(delays + 24 * 60).write_csv(path)


@pytest.mark.slow
def test_a_corrected_past_ends_as_if_it_had_arrived_so(
    landing: Path,
    arrive: Arrive,
    run: Run,
    lake: Lake,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Ranges of four days, so that the first load takes two runs.
    monkeypatch.setenv("AP_RUN_PARTITIONS", "4")
    get_settings.cache_clear()
    arrive("2013-01-01", "2013-01-06")
    succeeded, printed = run()
    assert succeeded, printed
    before = _snapshots(lake, "features_flights")
    assert sorted(before) == [f"2013-01-0{day}" for day in range(1, 7)]
    assert before["2013-01-01"] == before["2013-01-04"] < before["2013-01-05"]
    assert "Nothing new" in run()[1]
    old = _rows(lake, "features_flights")

    _delay(landing / "outcomes/outcomes_2013-01-03.csv")
    succeeded, printed = run()
    assert succeeded, printed
    after = _snapshots(lake, "features_flights")
    remade = {day for day, snapshot in after.items() if snapshot > before[day]}
    assert remade == {"2013-01-05", "2013-01-06"}, "the day before is not known on the eve"
    corrected = {table: _rows(lake, table) for table in TABLES}
    assert not corrected["features_flights"].equals(old)
    assert "Nothing new" in run()[1]

    # The same files in a home where nothing ever stood, in one range.
    home = tmp_path / "fresh"
    shutil.copytree(settings.landing_path, home / "landing")
    monkeypatch.setenv("AP_HOME", str(home))
    monkeypatch.delenv("AP_RUN_PARTITIONS")
    get_settings.cache_clear()
    monkeypatch.setenv("DAGSTER_HOME", str(get_settings().dagster_home))
    succeeded, printed = run()
    assert succeeded, printed
    fresh = Lake.from_settings(get_settings())
    for table in TABLES:
        assert corrected[table].equals(_rows(fresh, table)), table
