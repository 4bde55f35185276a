"""`ap` with a landing zone in a bucket."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import boto3
import polars as pl
import pytest
from typer.testing import CliRunner

from analytics_platform.cli.main import app
from analytics_platform.lake import Lake, ledger
from analytics_platform.settings import Settings, get_settings
from assets.flight_delays.delivery import deliver

DAYS = ["--from", "2013-01-01", "--through", "2013-01-02"]


def test_a_delivery_to_a_bucket_puts_the_same_files(
    home: Path, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AP_LANDING", f"s3://{bucket}/landing")
    get_settings.cache_clear()
    near = tmp_path / "near"
    deliver(near, dt.date(2013, 1, 1), dt.date(2013, 1, 2))
    expected = {
        f"landing/flight_delays/{file.relative_to(near)}": file.read_bytes()
        for file in near.rglob("*.*")
    }

    first = CliRunner().invoke(app, ["deliver", "flight_delays", *DAYS])
    assert first.exit_code == 0, first.output
    client = boto3.client("s3")
    there = {
        item["Key"]: client.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
        for item in client.list_objects_v2(Bucket=bucket)["Contents"]
    }
    assert there == expected
    assert f"{len(expected)} files written, 0 unchanged" in first.output

    again = CliRunner().invoke(app, ["deliver", "flight_delays", *DAYS])
    assert f"0 files written, {len(expected)} unchanged" in again.output


def test_a_bucket_that_is_not_there_ends_the_command(
    home: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AP_LANDING", f"s3://{bucket}-not/landing")
    get_settings.cache_clear()
    done = CliRunner().invoke(app, ["deliver", "flight_delays", *DAYS])
    assert done.exit_code == 1
    assert f"s3://{bucket}-not/landing/flight_delays" in done.output
    assert "Traceback" not in done.output


@pytest.mark.slow
def test_a_product_runs_from_a_bucket(
    settings: Settings,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[[], tuple[bool, str]],
    lake: Lake,
) -> None:
    monkeypatch.setenv("AP_LANDING", f"s3://{bucket}/landing")
    get_settings.cache_clear()
    delivered = CliRunner().invoke(app, ["deliver", "flight_delays", *DAYS])
    assert delivered.exit_code == 0, delivered.output

    succeeded, said = run()

    assert succeeded, said
    with lake.reader() as con:
        files = ledger.ledger(con, "flight_delays")
    assert files.height == 3 + 2 * 3
    assert files["status"].unique().to_list() == ["loaded"]
    assert files["rows_in_file"].sum() == files["rows_loaded"].sum() > 0

    # A corrected object supersedes; the same once more under another day's name does not run.
    client, key = boto3.client("s3"), "landing/flight_delays/outcomes/outcomes_2013-01-02.csv"
    content = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    rows = content.splitlines(keepends=True)
    client.put_object(Bucket=bucket, Key=key, Body=b"".join(rows[:-1]))
    client.put_object(Bucket=bucket, Key=key.replace("01-02", "01-03"), Body=content)
    succeeded, said = run()
    assert not succeeded, "the whole file of a day came under the name of the next"
    with lake.reader() as con:
        files = ledger.ledger(con, "flight_delays").filter(source="outcomes")
    history = dict(
        files.group_by("path").agg(pl.col("status").sort_by("first_seen_at")).iter_rows()
    )
    assert history["outcomes/outcomes_2013-01-02.csv"] == ["superseded", "loaded"]
