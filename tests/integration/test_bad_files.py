"""A file that cannot be used fails its own day, says why, and takes nothing else with it."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from analytics_platform.lake import Lake
from analytics_platform.release import ReleaseLog

Run = Callable[[], tuple[bool, str]]
Arrive = Callable[[str, str], None]
Materialize = Callable[[str, str, str], tuple[bool, str]]


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _drop_column(path: Path) -> None:
    pl.read_csv(path).drop("carrier").write_csv(path)


def _add_column(path: Path) -> None:
    pl.read_csv(path).with_columns(surprise=pl.lit(1)).write_csv(path)


def _change_type(path: Path) -> None:
    pl.read_parquet(path).with_columns(pl.col("wind_speed_mph").cast(pl.String)).write_parquet(path)


# The file, what is done to it, what is said, and the table that must lack the day.
CASES = {
    "truncated parquet": (
        "weather/weather_2013-01-03.parquet",
        _truncate,
        "Parquet",
        "raw_weather",
    ),
    "empty csv": ("outcomes/outcomes_2013-01-03.csv", _empty, "found", "raw_outcomes"),
    "missing column": (
        "schedules/schedules_2013-01-03.csv",
        _drop_column,
        "missing carrier",
        "raw_schedules",
    ),
    "extra column": (
        "schedules/schedules_2013-01-03.csv",
        _add_column,
        "surprise",
        "raw_schedules",
    ),
    "wrong type": (
        "weather/weather_2013-01-03.parquet",
        _change_type,
        "wind_speed_mph",
        "raw_weather",
    ),
}


def days(lake: Lake, table: str) -> list[str]:
    found = lake.query(
        f"SELECT DISTINCT flight_date::VARCHAR FROM lake.flight_delays.{table} ORDER BY 1"
    )
    return found.to_series().to_list()


@pytest.mark.parametrize(("file", "spoil", "said", "table"), CASES.values(), ids=CASES.keys())
def test_a_bad_file_is_rejected_and_the_others_are_loaded(
    file: str,
    spoil: Callable[[Path], None],
    said: str,
    table: str,
    landing: Path,
    arrive: Arrive,
    materialize: Materialize,
    lake: Lake,
) -> None:
    arrive("2013-01-01", "2013-01-03")
    good = (landing / file).read_bytes()
    spoil(landing / file)
    succeeded, message = materialize(table, "2013-01-02", "2013-01-03")
    assert not succeeded
    assert file in message
    assert said in message
    assert days(lake, table) == ["2013-01-02"]
    status = f"SELECT path, status FROM lake.ops.arrivals WHERE path = '{file}'"
    assert lake.query(status).rows() == [(file, "rejected")]

    (landing / file).write_bytes(good)
    assert materialize(table, "2013-01-03", "2013-01-03")[0]
    assert days(lake, table) == ["2013-01-02", "2013-01-03"]

    # A day that was loaded stays as it is when a later file for it cannot be read.
    spoil(landing / file)
    assert not materialize(table, "2013-01-03", "2013-01-03")[0]
    assert days(lake, table) == ["2013-01-02", "2013-01-03"]


@pytest.mark.slow
def test_a_bad_file_holds_back_its_day_and_the_release_until_it_is_mended(
    landing: Path, arrive: Arrive, run: Run, lake: Lake, log: ReleaseLog
) -> None:
    file = landing / "schedules/schedules_2013-01-02.csv"
    arrive("2013-01-01", "2013-01-03")
    good = file.read_bytes()
    _drop_column(file)
    succeeded, printed = run()
    assert not succeeded
    assert "missing carrier" in printed
    assert days(lake, "fct_flights") == ["2013-01-01", "2013-01-03"]
    assert days(lake, "features_flights") == ["2013-01-01", "2013-01-03"]
    assert "files_are_readable" in printed, "the gate names the check"
    refusal = log.newest()
    assert refusal is not None
    assert refusal.serving is None

    file.write_bytes(good)
    succeeded, printed = run()
    assert succeeded, printed
    assert days(lake, "fct_flights") == ["2013-01-01", "2013-01-02", "2013-01-03"]
    assert log.serving().number == 1


@pytest.mark.slow
def test_a_bad_row_is_kept_aside_with_its_reason(
    landing: Path, arrive: Arrive, run: Run, lake: Lake
) -> None:
    arrive("2013-01-01", "2013-01-02")
    file = landing / "schedules/schedules_2013-01-02.csv"
    lines = file.read_text().splitlines(keepends=True)
    fields = lines[5].split(",")
    spoiled = ",".join([*fields[:6], "2575", *fields[7:]])
    file.write_text("".join([*lines[:5], spoiled, *lines[6:]]))
    # Its outcome would have no schedule; the sender knows of neither.
    outcomes = landing / "outcomes/outcomes_2013-01-02.csv"
    key = ",".join(fields[1:4])
    outcomes.write_text(
        "".join(
            line
            for line in outcomes.read_text().splitlines(keepends=True)
            if f",{key}," not in line
        )
    )
    succeeded, printed = run()
    assert succeeded, printed
    kept = lake.query("FROM lake.flight_delays.quarantine_schedules").to_dicts()
    assert len(kept) == 1
    assert kept[0]["_source_file"] == "schedules/schedules_2013-01-02.csv"
    assert kept[0]["_source_line"] == 6
    assert "scheduled_arrival_hhmm" in kept[0]["rules"]
    assert "2575" in kept[0]["row"]
    in_file = len(lines) - 1
    loaded = lake.query(
        "SELECT count(*) FROM lake.flight_delays.raw_schedules WHERE flight_date = '2013-01-02'"
    ).item()
    assert in_file == loaded + 1
