"""The lake: connect, write in one transaction, read, and remember what was written and checked.

Belongs here: DuckLake connections, the single writer, frames in and out, the record of writes and
of check results, and files kept by content. Does not belong here: what a table means, which file
it came from, and whether it may be released. `io_manager` is not among the names, because it
imports Dagster (3 s), which a consumer of a release does without.
"""

from analytics_platform.lake.errors import LakeError, SchemaChangedError, WriterBusyError
from analytics_platform.lake.files import FileStore, StoredFile
from analytics_platform.lake.lake import Lake, Transaction
from analytics_platform.lake.records import CheckRecord, FileRecord, WriteRecord
from analytics_platform.lake.schema_change import SCHEMA_CHANGES, SchemaChange

__all__ = [
    "SCHEMA_CHANGES",
    "CheckRecord",
    "FileRecord",
    "FileStore",
    "Lake",
    "LakeError",
    "SchemaChange",
    "SchemaChangedError",
    "StoredFile",
    "Transaction",
    "WriteRecord",
    "WriterBusyError",
]
