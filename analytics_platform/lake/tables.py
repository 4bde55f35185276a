"""Which tables an asset has, and what stands under a table's name.

An asset's table has its name. A landing source has a second one, of the rows that broke a rule.
"""

from __future__ import annotations

import duckdb

RAW = "raw_"
QUARANTINE = "quarantine_"


def tables_of(asset: str) -> tuple[str, ...]:
    """An asset's table and, of a landing source, the table of what it keeps aside."""
    if asset.startswith(RAW):
        return asset, QUARANTINE + asset.removeprefix(RAW)
    return (asset,)


def asset_of(table: str) -> str:
    """The asset that a table belongs to."""
    return RAW + table.removeprefix(QUARANTINE) if table.startswith(QUARANTINE) else table


def table_kinds(
    con: duckdb.DuckDBPyConnection, schema: str, table: str, other: str
) -> dict[str, str]:
    """What stands under a name in the lake and in another attached catalog.

    Returns:
        `BASE TABLE` or `VIEW` by catalog; a catalog that has neither is not there.
    """
    return dict(
        con.execute(
            "SELECT table_catalog, table_type FROM information_schema.tables "
            "WHERE table_schema = ? AND table_name = ? AND table_catalog IN ('lake', ?)",
            [schema, table, other],
        ).fetchall()
    )
