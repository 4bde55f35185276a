"""Contracts: what a source promises of every row, and what became of the rows that break it.

The room's public names. A product declares a `dataframely.Schema` per source and, where its files
are not written as usual, a `FileFormat`; `read_file` reads one delivered file, `apply_contract`
parts the good rows from the bad ones, `contract_columns` tells documentation what the columns are.
Nothing here writes a table or knows a product.
"""

from analytics_platform.contracts.definition import (
    SOURCE_FAULT,
    SOURCE_FILE,
    SOURCE_LINE,
    SOURCE_TEXT,
    ContractColumn,
    check_contract,
    contract_columns,
    references,
)
from analytics_platform.contracts.errors import (
    ColumnTypeError,
    ContractDefinitionError,
    ContractError,
    DataError,
    EmptyFileError,
    FileShapeError,
    UnreadableFileError,
)
from analytics_platform.contracts.filtering import ContractResult, apply_contract
from analytics_platform.contracts.format import FileFormat, FileKind
from analytics_platform.contracts.reader import read_file, read_records

__all__ = [
    "SOURCE_FAULT",
    "SOURCE_FILE",
    "SOURCE_LINE",
    "SOURCE_TEXT",
    "ColumnTypeError",
    "ContractColumn",
    "ContractDefinitionError",
    "ContractError",
    "ContractResult",
    "DataError",
    "EmptyFileError",
    "FileFormat",
    "FileKind",
    "FileShapeError",
    "UnreadableFileError",
    "apply_contract",
    "check_contract",
    "contract_columns",
    "read_file",
    "read_records",
    "references",
]
