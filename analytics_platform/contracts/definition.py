"""What a contract may say, checked once, and what its columns are.

A contract is a `dataframely.Schema`. It is checked here when it is first used, so that a mistake
in it surfaces as the code location loads and not with tonight's file. Reading files and filtering
rows do not belong here.
"""

import re
from functools import cache
from types import new_class
from typing import NamedTuple

import dataframely as dy
import polars as pl

from analytics_platform.contracts.errors import ContractDefinitionError
from analytics_platform.contracts.time_format import time_format_fault

#: The two columns the platform adds to every row of a source: where it was delivered.
SOURCE_FILE = "_source_file"
SOURCE_LINE = "_source_line"

#: Two columns of rows that were read and not yet filtered: the record's text as it stands in the
#: file, and the rule (`shape`) that keeps the record from being a row, if one does.
SOURCE_TEXT = "_source_text"
SOURCE_FAULT = "_source_fault"

#: Rule names the platform gives itself; a contract may not use them for its own.
PARTITION_RULE = "partition"
PRIMARY_KEY_RULE = "primary_key"
SHAPE_RULE = "shape"

#: What a column's metadata may say of its files; other keys are the product's own.
_HEADER = "header"
_FORMAT = "format"
_REFERENCES = "references"

ROW = "_row"
"""The position of a row in a frame under test; never leaves this room."""

DELIVERY = "_delivery"
"""What the files of a frame were delivered for; never leaves this room."""

_REFERENCE = re.compile(r"[a-z][a-z0-9_]*\.\w+")

_DUCKDB_TYPES: dict[type[pl.DataType], str] = {
    pl.Int8: "TINYINT",
    pl.Int16: "SMALLINT",
    pl.Int32: "INTEGER",
    pl.Int64: "BIGINT",
    pl.UInt8: "UTINYINT",
    pl.UInt16: "USMALLINT",
    pl.UInt32: "UINTEGER",
    pl.UInt64: "UBIGINT",
    pl.Float32: "FLOAT",
    pl.Float64: "DOUBLE",
    pl.String: "VARCHAR",
    pl.Boolean: "BOOLEAN",
    pl.Date: "DATE",
}


class ContractColumn(NamedTuple):
    """One column of a contract, as a table and its documentation need it."""

    name: str
    duckdb_type: str
    description: str
    nullable: bool


def contract_columns(contract: type[dy.Schema]) -> list[ContractColumn]:
    """The columns a contract declares, in its order, with their DuckDB types.

    Args:
        contract: The source's contract.

    Returns:
        One entry a column; the platform's own `_source_file` and `_source_line` are not among
        them.

    Raises:
        ContractDefinitionError: The contract cannot be used.
    """
    check_contract(contract)
    return [
        ContractColumn(
            name=name,
            duckdb_type=str(_duckdb_type(column.dtype)),
            description=str(column.description),
            nullable=column.nullable,
        )
        for name, column in contract.columns().items()
    ]


def _duckdb_type(dtype: pl.DataType) -> str | None:
    """DuckDB's name of a type, or None for one that a contract may not use."""
    if isinstance(dtype, pl.Datetime):
        # Zoned times are refused: a lake of naive UTC has one reading of every time.
        if dtype.time_zone is not None:
            return None
        return {"us": "TIMESTAMP", "ms": "TIMESTAMP_MS", "ns": "TIMESTAMP_NS"}[dtype.time_unit]
    return _DUCKDB_TYPES.get(type(dtype))


@cache
def check_contract(contract: type[dy.Schema]) -> None:
    """Raise if a contract cannot be used, naming every fault it has.

    A column's `metadata` may say how its files spell it: `{"header": "Flight Date"}` is the name
    it has in the file, `{"format": "%d/%m/%Y"}` the format of its own dates or times. It may also
    say where its values should be known: `{"references": "airlines.carrier"}`.

    Rules must look at one row at a time: rows of many files are checked together, and a rule over
    a group would let one file's rows condemn another's. Uniqueness belongs in `primary_key=True`,
    which is tested within each delivery.

    Args:
        contract: The source's contract.

    Raises:
        ContractDefinitionError: The contract is no `dataframely.Schema`, has no columns, a column
            has no description, a reserved name or a type the lake has none for, two columns have
            one header or names that differ by case alone, a format is none, or a rule cannot be
            evaluated or looks at more than one row.
    """
    if not (isinstance(contract, type) and issubclass(contract, dy.Schema)):
        raise ContractDefinitionError(
            f"Checking a contract: expected a subclass of dataframely.Schema; found {contract!r}. "
            "Name the contract's class."
        )
    faults = [*_column_faults(contract), *_rule_faults(contract)]
    if faults:
        raise ContractDefinitionError(
            f"Checking contract {contract.__module__}.{contract.__qualname__}: "
            + "; ".join(faults)
            + ". Correct the class; no file is to blame."
        )
    located = located_contract(contract)
    try:
        located.filter(located.create_empty())
    except pl.exceptions.PolarsError as error:
        raise unusable_rule(contract, error) from error


def unusable_rule(contract: type[dy.Schema], error: Exception) -> ContractDefinitionError:
    """The error for rules that Polars cannot evaluate on columns of the contract's types."""
    return ContractDefinitionError(
        f"Evaluating the rules of contract {contract.__module__}.{contract.__qualname__}: "
        f"expected an expression over its own columns that gives true or false; found: "
        f"{str(error).splitlines()[0] if str(error) else type(error).__name__}. "
        "Correct the rule; no file is to blame."
    )


def _column_faults(contract: type[dy.Schema]) -> list[str]:
    columns = contract.columns()
    if not columns:
        return ["it declares no column"]
    faults = []
    for name, column in columns.items():
        if name.startswith("_") or "|" in name:
            faults.append(f"column {name!r}: names with a leading '_' or a '|' are reserved")
        if not (column.description or "").strip():
            faults.append(f"column {name!r} has no description: give description='…'")
        if _duckdb_type(column.dtype) is None:
            faults.append(
                f"column {name!r} has type {column.dtype}: use a string, integer, float, boolean, "
                "date or naive datetime"
            )
        if column.unique:
            faults.append(
                f"column {name!r} is unique=True, which would compare rows of different files: "
                "use primary_key=True"
            )
        if fault := _metadata_fault(column):
            faults.append(f"column {name!r}: {fault}")
    spelled: dict[str, list[str]] = {}
    for name in columns:
        spelled.setdefault(name.lower(), []).append(name)
    faults += [
        f"columns {', '.join(map(repr, names))} differ by case alone: a table could not tell them "
        "apart"
        for names in spelled.values()
        if len(names) > 1
    ]
    headers = list(file_headers(contract).values())
    if all(isinstance(header, str) for header in headers):
        faults += [
            f"header {header!r} is that of {headers.count(header)} columns: a file could not tell "
            "them apart"
            for header in dict.fromkeys(headers)
            if headers.count(header) > 1
        ]
    return faults


def _metadata_fault(column: dy.Column) -> str | None:
    metadata = column.metadata or {}
    if _HEADER in metadata:
        header = metadata[_HEADER]
        if not isinstance(header, str) or not header:
            return f"its header {header!r} must be the text that stands in the file"
    if _REFERENCES in metadata and not _REFERENCE.fullmatch(str(metadata[_REFERENCES])):
        return f"its reference {metadata[_REFERENCES]!r} must be written <source>.<column>"
    if _FORMAT not in metadata:
        return None
    if not (column.dtype == pl.Date or isinstance(column.dtype, pl.Datetime)):
        return f"its format {metadata[_FORMAT]!r} is of no effect: only dates and times have one"
    fault = time_format_fault(metadata[_FORMAT], of_a_date=column.dtype == pl.Date)
    return f"its format {metadata[_FORMAT]!r} {fault}" if fault else None


def file_headers(contract: type[dy.Schema]) -> dict[str, str]:
    """The name each column of a contract has in a file."""
    return {
        name: (column.metadata or {}).get(_HEADER, name)
        for name, column in contract.columns().items()
    }


def references(contract: type[dy.Schema]) -> dict[str, tuple[str, str]]:
    """The columns whose values should be among those of another source: its name and column."""
    return {
        name: tuple(column.metadata[_REFERENCES].split(".", 1))
        for name, column in contract.columns().items()
        if column.metadata and _REFERENCES in column.metadata
    }


def own_formats(contract: type[dy.Schema]) -> dict[str, str]:
    """The formats of the columns whose dates or times are not written as their file's others."""
    return {
        name: column.metadata[_FORMAT]
        for name, column in contract.columns().items()
        if column.metadata and _FORMAT in column.metadata
    }


def _rule_faults(contract: type[dy.Schema]) -> list[str]:
    rules = own_rules(contract)
    faults = [
        f"rule {name!r} is the platform's own: choose another name"
        for name in (PARTITION_RULE, SHAPE_RULE)
        if name in rules
    ]
    for name, column in contract.columns().items():
        if not column.unique:
            rules |= {
                f"{name}|{rule}": expression
                for rule, expression in column.validation_rules(pl.col(name)).items()
            }
    faults += [
        f"rule {name!r} looks at more than one row: state it of one row, or use primary_key=True"
        for name, expression in rules.items()
        if not _looks_at_one_row(expression)
    ]
    return faults


def own_rules(contract: type[dy.Schema]) -> dict[str, pl.Expr]:
    """The rules a contract states across columns, by name."""
    # dataframely has no public list of them; the pin `<4` guards this use.
    return {name: rule.expr for name, rule in contract._schema_validation_rules().items()}


def columns_needed(contract: type[dy.Schema], rule: str) -> list[str]:
    """The columns a rule's verdict rests on."""
    column, bar, _ = rule.partition("|")
    if bar:
        return [column]
    if rule == PRIMARY_KEY_RULE:
        return contract.primary_key()
    expressions = own_rules(contract)
    if rule in expressions and (names := expressions[rule].meta.root_names()):
        return names
    return contract.column_names()


def _looks_at_one_row(expression: pl.Expr) -> bool:
    try:
        separable = expression.meta.is_row_separable()
    except pl.exceptions.PolarsError:
        # Polars cannot say of a selector or a Python function alone; its inputs still count.
        separable = True
    return separable and all(_looks_at_one_row(part) for part in expression.meta.pop())


@cache
def located_contract(contract: type[dy.Schema]) -> type[dy.Schema]:
    """The contract with the columns that tell rows apart: position, file and delivery.

    The delivery becomes part of the primary key, so that a key is unique within each: of two days
    checked together, a misplaced row in one does not condemn the right row in the other.
    """
    extra: dict[str, dy.Column] = {
        ROW: dy.UInt32(),
        SOURCE_FILE: dy.String(),
        DELIVERY: dy.String(primary_key=bool(contract.primary_key())),
    }
    return new_class(
        f"Located{contract.__name__}", (contract,), exec_body=lambda ns: ns.update(extra)
    )
