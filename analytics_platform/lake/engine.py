"""DuckDB with the extensions that a lake needs.

Belongs here: opening DuckDB. Does not belong here: what is attached to it (`lake`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from functools import cache

import duckdb

EXTENSIONS = ("sqlite_scanner", "ducklake")


@cache
def install_extensions() -> None:
    """Put the DuckDB extensions that came as Python packages where DuckDB looks for them.

    They are loaded once, and DuckDB verifies their signatures. Nothing is fetched from a network.
    """
    import duckdb_extensions

    with closing(duckdb.connect()) as con:
        for extension in EXTENSIONS:
            duckdb_extensions.import_extension(extension)
            con.load_extension(extension)


def open_duckdb(extensions: Sequence[str] = EXTENSIONS) -> duckdb.DuckDBPyConnection:
    """A DuckDB of its own, in memory, with the lake's extensions and UTC.

    Args:
        extensions: Those of `EXTENSIONS` to load; a frozen catalog needs `ducklake` only.
    """
    install_extensions()
    # Verified once in this process, by `install_extensions`; verifying takes 0.3 s, and every
    # connection would do it again.
    con = duckdb.connect(config={"allow_unsigned_extensions": True})
    try:
        for extension in extensions:
            con.load_extension(extension)
        con.execute("SET TimeZone = 'UTC'")
    except BaseException:
        con.close()
        raise
    return con
