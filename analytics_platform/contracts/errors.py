"""Errors of contracts: whose move it is can be read from the class.

A `DataError` is the sender's move: a file as a whole cannot be used. A `ContractDefinitionError`
is ours: the contract itself is wrong. A row that breaks a rule is no error at all: it is
quarantined. Errors of tables and of the lake do not belong here.
"""


class ContractError(Exception):
    """Anything that keeps a contract from being applied."""


class ContractDefinitionError(ContractError):
    """The contract, as written in the product, cannot be used; no file is to blame."""


class DataError(ContractError):
    """A delivered file that cannot be used as a whole.

    Args:
        problem: What is wrong, in a few words.
        file: The file, as the ledger names it.
        expected: What the contract or the format asks for.
        found: What the file holds.
        advice: What to do next.
        column: The column concerned, where it is one.
        line: The physical line in the file, 1-based, where it is one.
    """

    def __init__(
        self,
        problem: str,
        *,
        file: str,
        expected: str,
        found: str,
        advice: str,
        column: str | None = None,
        line: int | None = None,
    ) -> None:
        place = f"{file}, line {line}" if line is not None else file
        if column is not None:
            place += f", column {column!r}"
        super().__init__(
            f"Reading {place}: {problem}. Expected {expected}; found {found}. {advice}"
        )
        self.problem = problem
        self.file = file
        self.expected = expected
        self.found = found
        self.advice = advice
        self.column = column
        self.line = line


class UnreadableFileError(DataError):
    """The bytes are not a whole file of the stated format: size, encoding, truncation, quoting."""


class EmptyFileError(DataError):
    """The file holds no row."""


class FileShapeError(DataError):
    """The columns are not the contract's: missing, unknown or named twice."""


class ColumnTypeError(DataError):
    """A column's type is not the contract's, nor one that widens to it without loss."""
