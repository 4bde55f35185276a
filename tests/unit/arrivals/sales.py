"""A source of a landing zone of the test's own."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
from pathlib import Path
from typing import Any

import dataframely as dy
import polars as pl

from analytics_platform.arrivals import (
    LoadReport,
    Source,
    landing_zone,
    load,
    look,
    replay,
    write_down,
)
from analytics_platform.contracts import FileFormat
from analytics_platform.lake import FileStore, Lake, ledger

D1, D2, D3 = "2013-01-01", "2013-01-02", "2013-01-03"


class Sale(dy.Schema):
    """One sale."""

    day = dy.Date(primary_key=True, description="Day.")
    shop = dy.String(primary_key=True, description="Shop.")
    pieces = dy.Int32(min=0, description="Pieces.")


def source(**changes: Any) -> Source:
    """The source `sales`, as declared but for the changes."""
    declared: dict[str, Any] = {
        "product": "p",
        "name": "sales",
        "folder": "sales",
        "pattern": "sales_{partition}.csv",
        "file_format": FileFormat("csv"),
        "contract": Sale,
        "partition_column": "day",
        "max_quarantined_share": 0.5,
        "first_day": dt.date(2013, 1, 1),
        "end_day": dt.date(2014, 1, 1),
    }
    return Source(**declared | changes)


class Shop:
    """A landing zone, a lake and a source, and what a person does with them."""

    def __init__(self, folder: Path, lake: Lake, store: FileStore, **changes: Any) -> None:
        self.folder = folder / "landing"
        self.lake = lake
        self.store = store
        self.source = source(**changes)
        self.zone = landing_zone(str(self.folder))

    def path(self, name: str) -> Path:
        """Where a file of the source lies."""
        path = self.folder / "p" / "sales" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def put(self, name: str, *rows: str, header: str = "day,shop,pieces") -> Path:
        """Deliver a file as senders should: under another name first."""
        path = self.path(name)
        hidden = path.with_name(".incoming")
        hidden.write_text("\n".join([header, *rows]) + "\n")
        os.replace(hidden, path)  # noqa: PTH105 - as senders do
        return path

    def day(self, day: str, *sales: tuple[str, int], name: str = "") -> Path:
        """Deliver the file of a day."""
        return self.put(name or f"sales_{day}.csv", *(f"{day},{shop},{n}" for shop, n in sales))

    def look(self) -> dict[str, tuple[str, ...]]:
        """Look and write it down; the partitions that are due, with their files."""
        with self.lake.reader() as con:
            found = look(con, self.zone, "p", [self.source])
        write_down(self.lake, found)
        due = found.due.get("sales", {})
        return {day: tuple(file.split(" ")[0] for file in files) for day, files in due.items()}

    def load(self, *days: str, run_id: str = "run", is_planned: bool = False) -> LoadReport:
        """Load some days, as who asks for them."""
        return load(
            self.lake, self.store, self.source, self.zone, days, run_id, is_planned=is_planned
        )

    def replay(self, *days: str, run_id: str = "again", **changes: Any) -> LoadReport:
        """Replay what is quarantined of some days by the source with these changes."""
        self.source = dataclasses.replace(self.source, **changes)
        return replay(self.lake, self.store, self.source, days, run_id)

    def kept(self) -> list[tuple[str, int, str]]:
        """What is quarantined: file, line and rules."""
        found = self.lake.query(
            "SELECT _source_file, _source_line, rules FROM lake.p.quarantine_sales ORDER BY ALL"
        )
        return [(file.rpartition("/")[2], line, rules) for file, line, rules in found.rows()]

    def run(self) -> list[str]:
        """Load all that is due, as the sensor's runs would; the days."""
        days = sorted(self.look())
        if days:
            self.load(*days, is_planned=True)
        return days

    def status(self) -> dict[str, str]:
        """The newest status of each path in the ledger, by the file's name."""
        return {name: statuses[-1] for name, statuses in self.history().items()}

    def history(self) -> dict[str, list[str]]:
        """The status of every content that each path had, oldest first, by the file's name."""
        with self.lake.reader() as con:
            rows = ledger.ledger(con, "p").sort("first_seen_at")
        found: dict[str, list[str]] = {}
        for path, status in rows.select("path", "status").iter_rows():
            found.setdefault(path.rpartition("/")[2], []).append(status)
        return found

    def rows(self) -> list[tuple[str, str, int]]:
        """What is loaded."""
        found = self.lake.query(
            "SELECT day::VARCHAR, shop, pieces FROM lake.p.raw_sales ORDER BY ALL"
        )
        return found.rows()

    def ledger(self) -> pl.DataFrame:
        """The ledger."""
        with self.lake.reader() as con:
            return ledger.ledger(con, "p")
