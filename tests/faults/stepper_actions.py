"""Small actions for the tests of the stepper itself; actions on the platform do not belong here.

Each is run in a child of the stepper, by name, with the folder it works in.
"""

import os
import shutil
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import polars as pl


def files(folder: str) -> str:
    """Make, move, link, copy and remove files, one step after another."""
    here = Path(folder)
    (here / "inner").mkdir()
    (here / "a.txt").write_text("one")
    os.replace(here / "a.txt", here / "b.txt")  # noqa: PTH105  (the call under test)
    (here / "link").symlink_to("b.txt")
    shutil.copyfile(here / "b.txt", here / "inner" / "c.txt")
    os.link(here / "b.txt", here / "hard.txt")
    with (here / "b.txt").open("r+b") as file:
        file.truncate(1)
        os.fsync(file.fileno())
    (here / "hard.txt").chmod(0o600)
    (here / "hard.txt").unlink()
    shutil.rmtree(here / "inner")
    return "done"


def nothing(folder: str) -> None:
    """Make calls of which none changes anything below the folder."""
    here = Path(folder)
    here.mkdir(exist_ok=True)
    (here / "missing").unlink(missing_ok=True)
    (here / "present").read_bytes()
    (here / "present").open("r+b").close()
    beside = here.with_name(here.name + "-beside")
    beside.mkdir()
    (beside / "file").write_text("outside")
    (beside / "link").symlink_to(here)
    # The name is below the folder; the file is not.
    (here / "out").joinpath("file").write_text("outside")
    read, write = os.pipe()
    os.write(write, b"pipe")
    os.close(read)
    os.close(write)


def through_link(link: str) -> None:
    """Write below the folder by a name outside of it."""
    (Path(link) / "by-link.txt").write_text("inside")


def duckdb_file(folder: str) -> int:
    """Write a table to a DuckDB file and a Parquet file."""
    with duckdb.connect(str(Path(folder) / "file.duckdb"), config={"threads": 1}) as con:
        con.execute("CREATE TABLE t AS SELECT range AS a FROM range(1000)")
        con.execute("CHECKPOINT")
        con.execute(f"COPY t TO '{folder}/t.parquet'")
        row = con.execute("SELECT sum(a) FROM t").fetchone()
    assert row is not None
    return int(row[0])


def sqlite_file(folder: str) -> int:
    """Write a table to an SQLite file with Python's own SQLite."""
    con = sqlite3.connect(Path(folder) / "file.sqlite")
    con.execute("CREATE TABLE t (a INTEGER)")
    con.execute("INSERT INTO t VALUES (1), (2)")
    con.commit()
    total = con.execute("SELECT sum(a) FROM t").fetchone()[0]
    con.close()
    return total


def ducklake(folder: str) -> int:
    """Write a table to a DuckLake with an SQLite catalog, and read it with polars."""
    import duckdb_extensions

    with duckdb.connect() as con:
        for extension in ("sqlite_scanner", "ducklake"):
            duckdb_extensions.import_extension(extension)
            con.load_extension(extension)
        con.execute(
            f"ATTACH 'ducklake:sqlite:{folder}/catalog.sqlite' AS lake "
            f"(DATA_PATH '{folder}/data/', META_JOURNAL_MODE 'WAL', DATA_INLINING_ROW_LIMIT 0)"
        )
        con.execute("CREATE TABLE lake.t AS SELECT range AS a FROM range(100000)")
        frame = con.execute("FROM lake.t").pl()
        con.execute("DETACH lake")
    return int(frame.lazy().group_by(pl.col("a") % 7).agg(pl.len()).collect()["len"].sum())


def parquet(folder: str) -> int:
    """Write a Parquet file with polars, on its threads, and read it again."""
    frame = pl.DataFrame({"a": range(100_000)}).with_columns(b=pl.col("a") % 7)
    frame.write_parquet(Path(folder) / "frame.parquet")
    frame.lazy().group_by("b").agg(pl.sum("a")).sink_parquet(Path(folder) / "sums.parquet")
    return int(pl.read_parquet(Path(folder) / "sums.parquet")["a"].sum())


def threads(folder: str) -> None:
    """Make a hundred empty files from four threads at once, one step each."""

    def touch(name: int) -> None:
        (Path(folder) / str(name)).touch()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(touch, range(100)))


def environment(names: list[str]) -> dict[str, str | None]:
    """The child's environment variables of these names."""
    return {name: os.environ.get(name) for name in names}


def fail(folder: str) -> None:
    """Take a step, then raise."""
    (Path(folder) / "before").touch()
    raise ValueError("as asked")


def hang(folder: str) -> None:
    """Take a step, then never end."""
    (Path(folder) / "before").touch()
    while True:
        time.sleep(1)


def end_itself() -> None:
    """Die in a way that the stepper did not ask for."""
    os._exit(3)


def fork_and_write(folder: str) -> int:
    """Take one step, and one more in a forked child, which does not count."""
    (Path(folder) / "own").touch()
    pid = os.fork()
    if pid == 0:
        (Path(folder) / "child").touch()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
