"""What receipts cost: `ap run` on a few days with and without them, in turns.

Run it with `.venv/bin/python -m benchmarks.receipts --days 3 --pairs 2`. Each run has a home of its
own. CPU time is what to compare where the machine has other work; wall time where it has not.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

PRODUCT = "flight_delays"
RUN = """
import sys
import analytics_platform.components.receipts as receipts
if sys.argv[1] == "without":
    receipts.with_receipts = lambda defs: defs
from rich.console import Console
from analytics_platform.cli.run import run_product
sys.exit(not run_product("flight_delays", Console(quiet=True)))
"""


def measure(kind: str, days: int) -> tuple[float, float, int, int]:
    """Seconds of wall and CPU of one `ap run`, and how many receipts and steps there were."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"AP_HOME": folder, "AP_SETTLE_SECONDS": "0", "TZ": "UTC"}
        last = f"2013-01-{days:02}"
        subprocess.run(
            [sys.executable, "-c", "from analytics_platform.cli.main import app; app()",
             "deliver", PRODUCT, "--from", "2013-01-01", "--through", last],
            env=environment, check=True, capture_output=True,
        )  # fmt: skip
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", RUN, kind], env=environment, check=True
        )
        wall = time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        listed = subprocess.run(
            [sys.executable, "-c", "from analytics_platform.cli.main import app; app()",
             "receipts", PRODUCT, "--format", "json"],
            env=environment, check=True, capture_output=True,
        )  # fmt: skip
        found = json.loads(listed.stdout)
        return wall, cpu, len(found), len({(r["run_id"], r["started_at"]) for r in found})


def main() -> None:
    """Measure in turns and print the medians."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--days", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=2)
    asked = parser.parse_args()
    taken: dict[str, list[tuple[float, float, int, int]]] = {"without": [], "with": []}
    for _ in range(asked.pairs):
        for kind, measured in taken.items():
            measured.append(measure(kind, asked.days))
            wall, cpu, receipts, steps = measured[-1]
            print(f"{kind:8} {wall:6.1f} s wall {cpu:6.1f} s CPU {receipts} receipts {steps} steps")
    steps = taken["with"][0][3]
    for place, name in ((0, "wall"), (1, "CPU")):
        less, more = (statistics.median(run[place] for run in taken[k]) for k in taken)
        print(
            f"{name}: {less:.2f} s without, {more:.2f} s with: "
            f"{(more - less) / steps * 1e3:.0f} ms a step, {more / less - 1:.1%}; "
            f"load {os.getloadavg()[0]:.1f}"
        )


if __name__ == "__main__":
    main()
