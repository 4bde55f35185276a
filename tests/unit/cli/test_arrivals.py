"""`ap arrivals`: what became of the files, of one source or of all."""

from __future__ import annotations

import csv
import io

from typer.testing import CliRunner

from analytics_platform.cli.main import app
from analytics_platform.lake import Lake, ledger
from analytics_platform.lake.ledger import LedgerEntry

PRODUCT = "flight_delays"


def test_a_source_of_which_no_file_was_seen_is_told_from_one_without_news(lake: Lake) -> None:
    entries = [
        LedgerEntry(PRODUCT, "weather", "2013-01-01", "weather/a.parquet", "waiting", 1, "v"),
        LedgerEntry(PRODUCT, "", "", "weather/b.txt", "unmatched", 1, "v", reason="no source"),
    ]
    with lake.transaction("files") as transaction:
        ledger.append(transaction.connection, entries, transaction.snapshot_id)

    found = CliRunner().invoke(app, ["arrivals", PRODUCT, "--source", "weather", "-f", "csv"])
    assert [row["path"] for row in csv.DictReader(io.StringIO(found.output))] == [
        "weather/a.parquet"
    ]
    found = CliRunner().invoke(app, ["arrivals", PRODUCT, "--source", "wether"])
    assert found.exit_code == 1
    assert "'wether' was seen; of these: weather." in found.output
