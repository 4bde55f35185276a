"""Which column of a file is which of the contract's, or why the file's columns will not do.

Reading values and judging types do not belong here.
"""

from collections.abc import Sequence

import dataframely as dy

from analytics_platform.contracts.definition import file_headers
from analytics_platform.contracts.errors import FileShapeError
from analytics_platform.contracts.format import FileFormat


def match_columns(
    found: Sequence[str],
    contract: type[dy.Schema],
    file_format: FileFormat,
    file: str,
    *,
    hint: str = "",
) -> dict[str, int]:
    """Where in the file each column of the contract stands; columns that may be missing are not in.

    Args:
        found: The file's columns.
        contract: The source's contract.
        file_format: What becomes of unknown and of missing columns.
        file: The file, as the ledger names it.
        hint: A sentence for the reader of the error, on what the cause may be.

    Raises:
        FileShapeError: Columns are missing, unknown or named twice.
    """
    headers = file_headers(contract)
    if faults := column_faults(found, contract, file_format):
        raise FileShapeError(
            "the columns are not the contract's: " + "; ".join(faults),
            file=file,
            expected=_listed(list(headers.values())),
            found=_listed(found),
            advice=f"{hint}Correct the file, or {contract.__name__} if the source has changed.",
        )
    places = {header: place for place, header in enumerate(found)}
    return {name: places[header] for name, header in headers.items() if header in places}


def column_faults(
    found: Sequence[str], contract: type[dy.Schema], file_format: FileFormat
) -> list[str]:
    """What keeps the columns of a file from being the contract's; empty if nothing does."""
    headers = file_headers(contract)
    known, present = set(headers.values()), set(found)
    columns = contract.columns()
    missing = [
        header
        for name, header in headers.items()
        if header not in present
        and not (file_format.missing_columns == "null" and columns[name].nullable)
    ]
    if not missing and not known & present:
        # With every column nullable, a file of something else altogether would be rows of nulls.
        missing = list(headers.values())
    counts: dict[str, int] = {}
    for name in found:
        counts[name] = counts.get(name, 0) + 1
    unknown = [name for name in counts if name not in known]
    if ignores_unknown := file_format.unknown_columns == "ignore":
        counts = {name: count for name, count in counts.items() if name in known}
    faults = []
    if missing:
        faults.append(f"missing {_listed(missing)}")
    if unknown and (missing or not ignores_unknown):
        faults.append(f"unknown {_listed([repr(name) for name in unknown])}")
    if twice := [name for name, count in counts.items() if count > 1]:
        faults.append(f"named twice {_listed(twice)}")
    return faults


def _listed(names: Sequence[str]) -> str:
    """The names, as many as a person reads."""
    shown = ", ".join(names[:50])
    if len(names) > 50:
        shown += f" and {len(names) - 50} more"
    return shown if len(shown) <= 2_000 else f"{shown[:2_000]}…"
