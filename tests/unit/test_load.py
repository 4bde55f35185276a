"""Loading files: what their contracts leave of them, in the lake."""

from pathlib import Path

import dataframely as dy

from analytics_platform.arrivals.landing import Source
from analytics_platform.arrivals.load import load
from analytics_platform.contracts import FileFormat
from analytics_platform.lake import FileStore, Lake


class Sale(dy.Schema):
    day = dy.Date(description="Day.")
    pieces = dy.Int32(description="Pieces.")


SOURCE = Source(
    product="p",
    name="sales",
    folder="sales",
    pattern="sales_{partition}.csv",
    file_format=FileFormat("csv"),
    contract=Sale,
    partition_column="day",
    max_quarantined_share=0.5,
)


def arrive(landing: Path, day: str, rows: str) -> None:
    folder = landing / "p" / "sales"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"sales_{day}.csv").write_text(f"day,pieces\n{rows}")


def test_a_ragged_row_is_quarantined_and_the_others_are_loaded(
    tmp_path: Path, lake: Lake, store: FileStore
) -> None:
    arrive(tmp_path, "2013-01-01", "2013-01-01,1\n2013-01-01,2,\n2013-01-01,3\n")

    report = load(lake, store, SOURCE, tmp_path, ["2013-01-01"], "run")

    assert all(report.passed.values())
    assert [(o.rows, o.quarantined) for o in report.outcomes] == [(3, 1)]
    kept = lake.query('SELECT rules, "row", "text", _source_line FROM lake.p.quarantine_sales')
    assert kept.rows() == [("shape", None, "2013-01-01,2,", 3)]


def test_a_quarantine_from_before_the_records_text_gets_the_column(
    tmp_path: Path, lake: Lake, store: FileStore
) -> None:
    arrive(tmp_path, "2013-01-01", "2013-01-01,1\n2013-01-01,x\n")
    load(lake, store, SOURCE, tmp_path, ["2013-01-01"], "run")
    with lake.transaction("as it was") as transaction:
        transaction.connection.execute('ALTER TABLE lake.p.quarantine_sales DROP COLUMN "text"')

    arrive(tmp_path, "2013-01-02", "2013-01-02,1\n2013-01-02,y\n")
    report = load(lake, store, SOURCE, tmp_path, ["2013-01-02"], "run")

    assert all(report.passed.values())
    kept = lake.query('SELECT day::VARCHAR, "text" FROM lake.p.quarantine_sales ORDER BY day')
    assert kept.rows() == [("2013-01-01", None), ("2013-01-02", "2013-01-02,y")]
