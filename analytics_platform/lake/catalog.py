"""The lake's catalog as data: which files a table is made of, a copy of it frozen or cloned.

DuckLake documents its catalog's tables, and they are its format (version 1.0, ducklake.select).
Belongs here: every statement on those tables. Does not belong here: what a release or a clone is
for.
"""

from __future__ import annotations

import datetime as dt
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import duckdb

from analytics_platform.lake import backup
from analytics_platform.lake.engine import open_duckdb
from analytics_platform.lake.errors import LakeError
from analytics_platform.lake.sql import identifier, literal

FORMAT = "1.0"
CATALOG = "{DUCKLAKE_CATALOG}"
"""Stands in a view's query for the name that its lake is attached under."""
_VISIBLE = "begin_snapshot <= {snapshot} AND (end_snapshot IS NULL OR end_snapshot > {snapshot})"
# Rows that a frozen catalog never has: its own snapshot is the only one, nothing waits to be
# deleted, and products keep no rows in the catalog (lake.INLINED_OPS_ROWS).
_LEFT_OUT = {
    "ducklake_files_scheduled_for_deletion",
    "ducklake_inlined_data_tables",
    "ducklake_macro",
    "ducklake_macro_impl",
    "ducklake_macro_parameters",
}
_FILE_TABLES = ("ducklake_data_file", "ducklake_delete_file")
_CHANGES = re.compile(
    r"(?:inserted_into_table|deleted_from_table|inlined_insert|inlined_delete|altered_table):(\d+)"
)
_ABSOLUTE = """
    CASE WHEN file.path_is_relative THEN
        CASE WHEN tab.path_is_relative THEN
            CASE WHEN sch.path_is_relative THEN
                (SELECT value FROM {m}ducklake_metadata WHERE key = 'data_path') ELSE '' END
            || sch.path ELSE '' END
        || tab.path ELSE '' END
    || file.path"""


def freeze(catalog: Path, schema: str, snapshot: int, target: Path) -> None:
    """Write a catalog that holds one schema at one snapshot and nothing else.

    It is a DuckDB file that any DuckDB with the `ducklake` extension attaches read-only. It names
    the lake's own data files, so it is small, and it never changes.

    Args:
        catalog: The lake's catalog.
        schema: The schema to keep.
        snapshot: The snapshot to keep.
        target: The file to write; must not exist.

    Raises:
        LakeError: If the catalog has another format, or a table of the schema keeps rows in it.
    """
    with _attached(catalog) as con:
        metadata = dict(
            con.execute("SELECT key, value FROM catalog.ducklake_metadata WHERE scope IS NULL")
            .fetchall()
        )  # fmt: skip
        if metadata["version"] != FORMAT:
            raise LakeError(
                f"Freezing {catalog}: its format is {metadata['version']}, expected {FORMAT}."
            )
        _require_no_inlined_rows(con, schema)
        # DuckLake makes the tables itself, with the types that a DuckDB file has. Small blocks,
        # because there are thirty tables of a few rows.
        con.execute("SET default_block_size = 16384")
        con.execute(
            f"ATTACH {literal(f'ducklake:{target}')} AS empty "
            f"(DATA_PATH {literal(metadata['data_path'])})"
        )
        con.execute("DETACH empty")
        con.execute(f"ATTACH {literal(str(target))} AS frozen")
        con.execute("BEGIN")
        kept = _kept(con, schema, snapshot)
        tables = con.execute(
            "SELECT table_name FROM duckdb_tables() WHERE database_name = 'frozen'"
        ).fetchall()
        for (table,) in tables:
            con.execute(f"DELETE FROM frozen.{table}")
            columns = _shared_columns(con, table)
            if table not in _LEFT_OUT and columns:
                names = ", ".join(identifier(name) for name in columns)
                con.execute(
                    f"INSERT INTO frozen.{table} ({names}) SELECT {names} FROM catalog.{table} "
                    f"WHERE {_condition(table, columns, snapshot, kept)}"
                )
        # What a snapshot changed names tables of whatever product wrote last.
        con.execute(
            "UPDATE frozen.ducklake_snapshot_changes SET changes_made = '', author = NULL, "
            "commit_message = NULL, commit_extra_info = NULL"
        )
        con.execute("COMMIT")
        con.execute("CHECKPOINT frozen")
        con.execute("DETACH frozen")


def copy_catalog(catalog: Path, place: Path) -> None:
    """Write a copy of a catalog into a lake's place, without copying data.

    The copy names the origin's files where they lie and puts its own into its own folder. The
    caller holds the origin's turn.

    Args:
        catalog: The catalog to copy.
        place: A folder from `Lake.new_place`.
    """
    target = place / "catalog.sqlite"
    done = subprocess.run(
        [sys.executable, "-I", backup.__file__, str(catalog), str(target)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise LakeError(f"Copying {catalog} to {target}: {done.stderr.strip()}")
    # Nobody else has opened the copy yet, so this copy of SQLite may (see `backup`).
    with closing(sqlite3.connect(target)) as copy:
        for table in _FILE_TABLES:
            copy.execute(
                f"UPDATE {table} AS file SET path = (SELECT {_ABSOLUTE.format(m='')} "
                "FROM ducklake_table tab JOIN ducklake_schema sch USING (schema_id) "
                "WHERE tab.table_id = file.table_id LIMIT 1), path_is_relative = 0 "
                "WHERE path_is_relative"
            )
        # What the origin has done with is the origin's to remove.
        copy.execute("DELETE FROM ducklake_files_scheduled_for_deletion")
        copy.execute(
            "UPDATE ducklake_metadata SET value = ? WHERE key = 'data_path'", [f"{place}/data/"]
        )
        copy.commit()
        copy.execute("PRAGMA journal_mode = WAL")


def data_folder(catalog: Path) -> Path:
    """The folder that a lake's catalog says its own data lies in, without links."""
    with _attached(catalog) as con:
        row = con.execute(
            "SELECT value FROM catalog.ducklake_metadata WHERE key = 'data_path' AND scope IS NULL"
        ).fetchone()
    if row is None:
        raise LakeError(f"{catalog} does not say where its data lies.")
    return Path(row[0]).resolve()


def referenced_files(catalog: Path) -> set[str]:
    """The absolute path of every data and delete file that a lake's catalog names.

    Those of snapshots that were not expired yet count; those that wait to be deleted do not.
    """
    with _attached(catalog) as con:
        return _files(con, "catalog.")


def scheduled_files(catalog: Path) -> set[str]:
    """The absolute path of every file that a catalog has done with and not forgotten."""
    with _attached(catalog) as con:
        rows = con.execute(
            "SELECT CASE WHEN path_is_relative THEN "
            "(SELECT value FROM catalog.ducklake_metadata WHERE key = 'data_path') ELSE '' END "
            "|| path FROM catalog.ducklake_files_scheduled_for_deletion"
        ).fetchall()
    return {path for (path,) in rows}


def forget_scheduled(catalog: Path, before: dt.datetime) -> None:
    """Strike off what a catalog has done with since before a moment. The caller holds the turn."""
    with _attached(catalog, read_only=False) as con:
        con.execute(
            "DELETE FROM catalog.ducklake_files_scheduled_for_deletion "
            "WHERE schedule_start::TIMESTAMPTZ < ?::TIMESTAMPTZ",
            [before],
        )


def files_of_frozen(catalogs: Iterable[Path]) -> set[str]:
    """The absolute path of every file that any of some frozen catalogs names."""
    found: set[str] = set()
    # One DuckDB for all of them: opening one for each takes four times as long.
    with closing(duckdb.connect()) as con:
        for catalog in catalogs:
            con.execute(f"ATTACH {literal(str(catalog))} AS frozen (READ_ONLY)")
            found |= _files(con, "frozen.")
            con.execute("DETACH frozen")
    return found


def files_of_attached(con: duckdb.DuckDBPyConnection, alias: str) -> set[str]:
    """The absolute path of every file that a catalog attached under a name names."""
    return _files(con, identifier(f"__ducklake_metadata_{alias}") + ".")


def table_files(catalog: Path, schema: str) -> dict[str, frozenset[str]]:
    """The data and delete files that each table of a schema is made of now.

    Equal sets mean equal rows, in any clone of the same lake: files never change. Views have none.
    """
    of_schema = (
        "JOIN catalog.ducklake_schema sch USING (schema_id) WHERE sch.schema_name = ? "
        "AND tab.end_snapshot IS NULL AND sch.end_snapshot IS NULL"
    )
    found: dict[str, set[str]] = {}
    with _attached(catalog) as con:
        tables = con.execute(
            f"SELECT tab.table_name FROM catalog.ducklake_table tab {of_schema}", [schema]
        ).fetchall()
        for (name,) in tables:
            found[name] = set()
        for table in _FILE_TABLES:
            rows = con.execute(
                f"SELECT tab.table_name, {_ABSOLUTE.format(m='catalog.')} "
                f"FROM catalog.{table} file JOIN catalog.ducklake_table tab USING (table_id) "
                f"{of_schema} AND file.end_snapshot IS NULL",
                [schema],
            ).fetchall()
            for name, path in rows:
                found[name].add(path)
    return {name: frozenset(paths) for name, paths in found.items()}


def view_definitions(con: duckdb.DuckDBPyConnection, alias: str, schema: str) -> dict[str, str]:
    """The query of each view of a schema, with `CATALOG` where it names its own catalog.

    Args:
        con: A connection with the lake attached.
        alias: The name that it is attached under.
        schema: The schema.
    """
    metadata = identifier(f"__ducklake_metadata_{alias}")
    rows = con.execute(
        f"SELECT v.view_name, v.sql FROM {metadata}.ducklake_view v "
        f"JOIN {metadata}.ducklake_schema s USING (schema_id) "
        "WHERE s.schema_name = ? AND v.end_snapshot IS NULL AND s.end_snapshot IS NULL",
        [schema],
    ).fetchall()
    return dict(rows)


def reads_of_views(con: duckdb.DuckDBPyConnection, alias: str, schema: str) -> dict[str, set[str]]:
    """The tables and views of its own schema that each view of a schema reads, at any depth.

    Args:
        con: A connection with the lake attached.
        alias: The name that it is attached under.
        schema: The schema.
    """
    direct = {
        view: {
            name.rpartition(".")[2].strip('"')
            for name in con.get_table_names(sql.replace(CATALOG, identifier(alias)), qualified=True)
            if name.split(".")[-2:-1] in ([schema], [identifier(schema)])
        }
        for view, sql in view_definitions(con, alias, schema).items()
    }
    found: dict[str, set[str]] = {}
    for view in direct:
        reads, ahead = set[str](), [view]
        while ahead:
            new = direct.get(ahead.pop(), set()) - reads
            reads |= new
            ahead += new
        found[view] = reads
    return found


def last_changes(con: duckdb.DuckDBPyConnection, schema: str, since: int = -1) -> dict[str, int]:
    """The snapshot at which each table or view of a schema last changed, from DuckLake's records.

    Args:
        con: A connection with the lake attached as `lake`, possibly inside a transaction.
        schema: The schema.
        since: Leave out what changed at this snapshot or before.
    """
    relations = _relations(con, schema)
    stands = {str(number): name for number, name, _, end in relations if end is None}
    # A row of the catalog begins where a table is made, renamed or replaced.
    moments = [(name, begin) for _, name, begin, end in relations if end is None]
    listed = con.execute(
        """
        SELECT snapshot_id, changes_made FROM __ducklake_metadata_lake.ducklake_snapshot_changes
        WHERE snapshot_id > ? AND snapshot_id <= (SELECT id FROM lake.current_snapshot())
        """,
        [since],
    ).fetchall()
    moments += [
        (stands[number], snapshot_id)
        for snapshot_id, changes in listed
        for number in _CHANGES.findall(changes or "")
        if number in stands
    ]
    changed: dict[str, int] = {}
    for name, snapshot_id in moments:
        if snapshot_id > max(since, changed.get(name, -1)):
            changed[name] = snapshot_id
    return changed


def drops(con: duckdb.DuckDBPyConnection, schema: str) -> dict[str, int]:
    """The snapshot at which each table or view of a schema that is gone was dropped.

    It is known for as long as the snapshots before are kept.
    """
    relations = _relations(con, schema)
    stand = {name for _, name, _, end in relations if end is None}
    gone: dict[str, int] = {}
    for _, name, _, end in relations:
        if end is not None and name not in stand:
            gone[name] = max(end, gone.get(name, -1))
    return gone


def _relations(
    con: duckdb.DuckDBPyConnection, schema: str
) -> list[tuple[int, str, int, int | None]]:
    """Number, name, first and last snapshot of each table and view, those that are gone too."""
    return con.execute(
        """
        WITH metadata AS (
            SELECT table_id AS number, table_name AS name, begin_snapshot, end_snapshot, schema_id
            FROM __ducklake_metadata_lake.ducklake_table
            UNION ALL SELECT view_id, view_name, begin_snapshot, end_snapshot, schema_id
            FROM __ducklake_metadata_lake.ducklake_view)
        SELECT number, name, begin_snapshot, end_snapshot FROM metadata
        WHERE schema_id IN (SELECT schema_id FROM __ducklake_metadata_lake.ducklake_schema
                            WHERE schema_name = ? AND end_snapshot IS NULL)
        """,
        [schema],
    ).fetchall()


@contextmanager
def _attached(catalog: Path, *, read_only: bool = True) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with the tables of an SQLite catalog attached as `catalog`."""
    with closing(open_duckdb()) as con:
        mode = " (READ_ONLY)" if read_only else ""
        con.execute(f"ATTACH {literal(f'sqlite:{catalog}')} AS catalog{mode}")
        yield con


def _files(con: duckdb.DuckDBPyConnection, metadata: str) -> set[str]:
    return {
        path
        for table in _FILE_TABLES
        for (path,) in con.execute(_all_files(table, metadata)).fetchall()
    }


def _all_files(table: str, m: str) -> str:
    return (
        f"SELECT DISTINCT {_ABSOLUTE.format(m=m)} FROM {m}{table} file "
        f"JOIN {m}ducklake_table tab USING (table_id) "
        f"JOIN {m}ducklake_schema sch USING (schema_id)"
    )


def _require_no_inlined_rows(con: duckdb.DuckDBPyConnection, schema: str) -> None:
    tables = con.execute(
        "SELECT tab.table_name, inlined.table_name "
        "FROM catalog.ducklake_inlined_data_tables inlined "
        "JOIN catalog.ducklake_table tab USING (table_id) "
        "JOIN catalog.ducklake_schema sch USING (schema_id) "
        "WHERE sch.schema_name = ? AND tab.end_snapshot IS NULL",
        [schema],
    ).fetchall()
    for table, inlined in tables:
        if con.execute(f"SELECT 1 FROM catalog.{identifier(inlined)} LIMIT 1").fetchone():
            raise LakeError(
                f"Freezing {schema}: table {table} keeps rows in the catalog. Was "
                "data_inlining_row_limit changed? Set it to 0 and materialise the asset again."
            )


def _kept(con: duckdb.DuckDBPyConnection, schema: str, snapshot: int) -> dict[str, str]:
    """Lists of the identifiers to keep, as SQL."""
    visible = _VISIBLE.format(snapshot=snapshot)

    def ids(sql: str) -> str:
        return ", ".join(str(row[0]) for row in con.execute(sql).fetchall()) or "NULL"

    def named(*names: str) -> str:
        return ids(
            f"SELECT schema_id FROM catalog.ducklake_schema WHERE {visible} "
            f"AND schema_name IN ({', '.join(map(literal, names))})"
        )

    # An attached catalog needs its schema `main`, not what somebody made there.
    schemas, own = named("main", schema), named(schema)
    tables = ids(
        f"SELECT table_id FROM catalog.ducklake_table WHERE {visible} AND schema_id IN ({own})"
    )
    views = ids(
        f"SELECT view_id FROM catalog.ducklake_view WHERE {visible} AND schema_id IN ({own})"
    )
    files = ids(
        f"SELECT data_file_id FROM catalog.ducklake_data_file WHERE {visible} "
        f"AND table_id IN ({tables})"
    )
    return {"schema_id": schemas, "table_id": tables, "view_id": views, "data_file_id": files,
            "object_id": f"{schemas}, {tables}, {views}"}  # fmt: skip


def _shared_columns(con: duckdb.DuckDBPyConnection, table: str) -> list[str]:
    found = con.execute(
        "SELECT column_name FROM duckdb_columns() "
        "WHERE database_name IN ('catalog', 'frozen') AND table_name = ? "
        "GROUP BY column_name HAVING count(*) = 2 ORDER BY ALL",
        [table],
    ).fetchall()
    return [name for (name,) in found]


def _condition(table: str, columns: list[str], snapshot: int, kept: dict[str, str]) -> str:
    if table == "ducklake_metadata":
        return "scope IS NULL"
    if table in {"ducklake_snapshot", "ducklake_snapshot_changes"}:
        return f"snapshot_id = {snapshot:d}"
    conditions = [f"{key} IN ({ids})" for key, ids in kept.items() if key in columns]
    if "begin_snapshot" in columns and "end_snapshot" in columns:
        conditions.append(_VISIBLE.format(snapshot=snapshot))
    return " AND ".join(conditions) or "true"
