"""The other process of `parity.fresh_process`: loads an artifact and predicts, and does no more.

Reads one JSON object from standard input: `trainer` (a dotted path), `folder` (with `artifact` and
`rows.arrow`) and `path` (where to import from). Writes `scores.arrow` into the folder.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import polars as pl

from analytics_platform.modeling.trainer import resolve


def main() -> None:
    """Answer one request."""
    request = json.loads(sys.stdin.read())
    sys.path[:] = request["path"]
    folder = Path(request["folder"])
    trainer = resolve(request["trainer"])
    model = trainer.load((folder / "artifact").read_bytes())
    scores = trainer.predict(model, pl.read_ipc(folder / "rows.arrow"))
    scores.alias("probability").to_frame().write_ipc(folder / "scores.arrow")


if __name__ == "__main__":
    main()
