"""How long 10 million rows of 20 columns take to score, and how much memory.

Run it with `.venv/bin/python -m benchmarks.drift_scale`, which measures in processes of their own.
Rows lie in Parquet, in no order of days; 100 days, of which the last 7 are the window. Everything a
run does is measured but the report: reading, scores of all rows, null windows, p-values,
thresholds. DuckDB is held to half a gigabyte and two threads.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROWS, DAYS, WINDOW = 10_000_000, 100, 7
NUMERIC, CATEGORICAL = 15, 5
PARTS = 10


def main() -> None:
    """Write the rows, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--measure", type=Path, help="a folder of Parquet files, for the child")
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure)
        return
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), arguments.rows)
        for blocks in ("day", "window"):
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.drift_scale", "--measure", folder],
                capture_output=True,
                text=True,
                check=True,
                env=os.environ | {"AP_BLOCKS": blocks},
            )
            m = json.loads(done.stdout)
            print(
                f"{arguments.rows:,} rows, {NUMERIC + CATEGORICAL} columns, blocks of a {blocks}: "
                f"{m['seconds']:.1f} s, {m['cpu']:.1f} s of CPU, peak {m['mb']:.0f} MB, "
                f"{m['drifted']} columns drifted"
            )


def write(folder: Path, rows: int) -> None:
    """Rows whose days come in no order; one column of each kind drifts."""
    import duckdb

    each = rows // PARTS
    numbers = [
        # Continuous, skew, rounded and with nulls.
        ("random() + random() + random() + day_ % 7 * 0.01", 5),
        ("-ln(1 - random())", 4),
        ("round(-30 * ln(1 - random()))", 3),
        ("CASE WHEN random() < 0.05 THEN NULL ELSE random() * 100 END", 2),
    ]
    columns = []
    for expression, count in numbers:
        columns += [f"{expression} AS x{len(columns) + at}" for at in range(count)]
    columns.append(f"random() + CASE WHEN day_ >= {DAYS - WINDOW} THEN 0.1 ELSE 0 END AS moved")
    names = [f"'k' || (random() * {30 * (at + 1)})::INTEGER AS c{at}" for at in range(CATEGORICAL)]
    with duckdb.connect(config={"threads": 2, "memory_limit": "2GB"}) as con:
        con.execute("SELECT setseed(0.5)")
        for part in range(PARTS):
            con.execute(
                f"COPY (SELECT day_::INTEGER AS unit_, {', '.join([*columns, *names])} FROM "
                f"(SELECT floor(random() * {DAYS}) AS day_ FROM range({each}))) "
                f"TO '{folder / f'part_{part}.parquet'}' (FORMAT parquet)"
            )


def measure(folder: Path) -> None:
    """Score the window and print what it took, as JSON."""
    import duckdb
    import numpy as np

    from analytics_platform.monitoring.drift import (
        Calibration,
        DriftColumns,
        Rows,
        Window,
        score_windows,
    )

    query = f"SELECT * FROM read_parquet('{folder}/*.parquet')"
    with duckdb.connect(config={"threads": 2, "memory_limit": "512MB"}) as con:
        started, cpu = time.perf_counter(), time.process_time()
        found = score_windows(
            Rows(con, query, range(DAYS), "rows"),
            [Window("now", np.arange(DAYS - WINDOW, DAYS), np.arange(DAYS - WINDOW), "before")],
            DriftColumns(
                [f"x{at}" for at in range(NUMERIC - 1)] + ["moved"],
                [f"c{at}" for at in range(CATEGORICAL)],
            ),
            ordinals=np.arange(730_000, 730_000 + DAYS),
            calibration=Calibration(blocks=os.environ.get("AP_BLOCKS", "day")),  # type: ignore[arg-type]
        )
        ended, cpu_ended = time.perf_counter(), time.process_time()
    print(
        json.dumps(
            {
                "seconds": ended - started,
                "cpu": cpu_ended - cpu,
                # The whole process's peak, Python and libraries included.
                "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "drifted": len(found[0].drifted),
            }
        )
    )


if __name__ == "__main__":
    main()
