"""How long a look at 10,000 files takes, and how much memory, in a process of its own.

Run it with `.venv/bin/python -m benchmarks.look`. What the sensor does in a tick is measured: list
the landing zone, ask and tell the ledger, read the product's state, and plan. Each state is
measured in a fresh process; memory is the growth of the process's peak.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FILES = 10_000
NODES = 8
STATES = ("all new", "all waiting", "all loaded", "all loaded, one new", "all touched")


def main() -> None:
    """Measure every state and print a table."""
    with tempfile.TemporaryDirectory() as folder:
        _deliver(Path(folder))
        print(f"{'state':<22}{'tick s':>8}{'look s':>8}{'plan s':>8}{'MB':>8}  due")
        for state in STATES:
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.look", state, folder],
                capture_output=True,
                text=True,
                check=True,
            )
            m = json.loads(done.stdout)
            print(
                f"{state:<22}{m['tick']:>8.2f}{m['look']:>8.2f}{m['plan']:>8.2f}{m['mb']:>8.0f}"
                f"  {m['due']:,}"
            )


def _deliver(folder: Path) -> None:
    landing = folder / "landing" / "p" / "sales"
    landing.mkdir(parents=True)
    for number in range(FILES):
        day = dt.date(2000, 1, 1) + dt.timedelta(days=number)
        (landing / f"sales_{day}.csv").write_text(f"day,pieces\n{day},{number:08}\n")


def measure(state: str, folder: Path) -> None:
    """Bring about a state, and measure one tick in it."""
    from analytics_platform.arrivals import LandingFolder, landing_zone, look, write_down
    from analytics_platform.lake import Lake, ledger, records
    from analytics_platform.planning import Node, ProductState, SourceState, next_run

    lake = Lake(folder / "home" / "local")
    zone = landing_zone(str(folder / "landing"))
    source = LandingFolder(
        product="p",
        name="sales",
        folder="sales",
        pattern="sales_{partition}.csv",
        first_day=dt.date(2000, 1, 1),
        end_day=dt.date(2040, 1, 1),
    )
    nodes = [Node("raw_sales", "daily", "source", ())]
    for number in range(NODES):
        nodes.append(Node(f"t{number}", "daily", "table", (nodes[-1].name,)))
    with lake.reader():
        pass  # make the lake
    if state == "all loaded":
        _load_all(lake, zone, ledger)
    if state == "all loaded, one new":
        day = dt.date(2000, 1, 1) + dt.timedelta(days=FILES)
        (folder / f"landing/p/sales/sales_{day}.csv").write_text(f"day,pieces\n{day},{FILES:08}\n")
    if state == "all touched":
        for path in (folder / "landing/p/sales").iterdir():
            os.utime(path)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    with lake.reader() as con:
        found = look(con, zone, "p", [source])
    write_down(lake, found)
    looked = time.perf_counter()
    with lake.reader() as con:
        writes: dict[str, dict[str, int]] = {}
        for write in records.latest_writes(con, "p").iter_rows(named=True):
            writes.setdefault(write["asset"], {})[write["partition"]] = write["snapshot_id"]
        records.unverified(con, "p", [("raw_sales", "sound")], tries=2)
    waits = {f"raw_{name}": SourceState(due) for name, due in found.due.items()}
    next_run(nodes, ProductState(writes, waits))
    ended = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        json.dumps(
            {
                "tick": ended - started,
                "look": looked - started,
                "plan": ended - looked,
                "mb": (peak - before) / 1024,
                "due": sum(len(of) for of in found.due.values()),
            }
        )
    )


def _load_all(lake, zone, ledger) -> None:  # type: ignore[no-untyped-def]
    """Say of every file that it was loaded, as 10,000 loads would have."""
    import hashlib

    from analytics_platform.lake import WriteRecord

    entries = []
    writes = []
    for file in zone.files("p"):
        if file.kind != "file":
            continue
        content = (zone.folder / "p" / file.path).read_bytes()
        day = file.name[6:16]
        entries.append(
            ledger.LedgerEntry(
                "p", "sales", day, file.path, "loaded", file.size_bytes, file.version,
                hashlib.sha256(content).hexdigest(), file.name, rows_in_file=1, rows_loaded=1,
                rows_quarantined=0,
            )
        )  # fmt: skip
        writes += [WriteRecord("p", name, day, "run", 1)
                   for name in ("raw_sales", *(f"t{n}" for n in range(NODES)))]  # fmt: skip
    with lake.transaction("load") as transaction:
        ledger.append(transaction.connection, entries, transaction.snapshot_id)
        transaction.record_writes(writes)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(sys.argv[1], Path(sys.argv[2]))
    else:
        main()
