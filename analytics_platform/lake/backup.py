"""Copy an SQLite database that is in use: `python backup.py <database> <copy>`.

A program of its own, because a process must not open one database with two copies of SQLite, that
of Python and that of DuckDB: when either closes the file, the locks of the other are gone
(https://www.sqlite.org/howtocorrupt.html, section 2.2.1).
"""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path


def backup(database: Path, copy: Path) -> None:
    """Write a copy of one state of a database, whoever reads or writes it meanwhile."""
    with (
        closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=30)) as origin,
        closing(sqlite3.connect(copy)) as target,
    ):
        origin.backup(target)


if __name__ == "__main__":
    backup(Path(sys.argv[1]), Path(sys.argv[2]))
