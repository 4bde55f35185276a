"""The lake: connect, write in one transaction, read, and remember what was written and checked.

Belongs here: DuckLake connections, the single writer, frames in and out, the record of writes and
of check results, and files kept by content. Does not belong here: what a table means, which file
it came from, and whether it may be released.
"""

from analytics_platform.lake.errors import LakeError, SchemaChangedError, WriterBusyError
from analytics_platform.lake.files import FileStore, StoredFile
from analytics_platform.lake.io_manager import LakeIOManager, LakeResource
from analytics_platform.lake.lake import Lake, Transaction
from analytics_platform.lake.records import CheckRecord, WriteRecord

__all__ = [
    "CheckRecord",
    "FileStore",
    "Lake",
    "LakeError",
    "LakeIOManager",
    "LakeResource",
    "SchemaChangedError",
    "StoredFile",
    "Transaction",
    "WriteRecord",
    "WriterBusyError",
]
