"""A new source: decided from a sample, prepared in memory, written whole or not at all.

What the columns are is decided in `infer`, what the files say in `render`; here is where they lie
and what stands in the way. The terminal belongs to `cli`.
"""

from __future__ import annotations

import datetime as dt
import keyword
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from analytics_platform.contracts import SOURCE_FILE, SOURCE_LINE, apply_contract
from analytics_platform.scaffold import infer, render
from analytics_platform.scaffold.errors import ScaffoldError
from analytics_platform.scaffold.layout import load_yaml, with_entry
from analytics_platform.scaffold.names import column_names
from analytics_platform.scaffold.render import NewSource
from analytics_platform.scaffold.sample import Sample, read_sample

_COMPONENT = "analytics_platform.components.LandingSource"
_LONGEST_NAME = 40


@dataclass(frozen=True)
class Prepared:
    """A source's files, ready to be written.

    Attributes:
        source: What was decided.
        files: The bytes of each file by its path in the project, in the order to tell them.
        changed: Those of them that stand and are extended or replaced.
        notes: What a person should look at, beside the notes of single columns.
    """

    source: NewSource
    files: dict[Path, bytes]
    changed: frozenset[Path]
    notes: list[str]


def decide(
    product: str,
    name: str,
    sample: Sample,
    *,
    pattern: str | None = None,
    partition_column: str | None = None,
    key: Sequence[str] = (),
) -> tuple[NewSource, list[str]]:
    """What a source is, by its sample and by what a person says of it.

    Args:
        product: The product.
        name: The source's name.
        sample: The sample.
        pattern: The name of its files, with `{partition}` for the day; from the sample's unless
            given.
        partition_column: The date column of its partitions, by name or header; inferred unless
            given.
        key: The columns of its key, by name or header; guessed unless given.

    Returns:
        The source, and what a person should look at.

    Raises:
        ScaffoldError: What is given does not fit the sample.
    """
    table = infer.infer_table(
        sample.headers,
        column_names(sample.headers),
        sample.frame,
        sample.delimiter,
        has_types=sample.file_format == "parquet",
    )
    notes = list(sample.notes)
    if not table.columns:
        raise ScaffoldError(
            f"Inferring {name}: expected a column of a type that contracts hold; found "
            f"{', '.join(f'{h} ({t})' for h, t in table.left_out.items())}. Ask for plain columns."
        )
    notes += [
        f"column {header!r} of type {dtype} is left out: no contract holds it"
        for header, dtype in table.left_out.items()
    ]
    file_name = sample.file_name
    day = infer.date_in_name(file_name)
    partition = partition_column and _partition_given(table, partition_column)
    if partition is None and pattern is None:
        partition = infer.guess_partition(table, file_name)
        if day is not None and partition is None:
            notes.append(
                f"the file's name holds the day {day}, but no date column holds just that day: the "
                "source is taken for one delivered whole; name its column with --partition-column"
            )
    elif partition is None and pattern is not None and "{partition}" in pattern:
        partition = infer.guess_partition(table, file_name)
        if partition is None:
            raise ScaffoldError(
                f"Inferring {name}: expected a date column that holds the file's day throughout, "
                f"as the pattern {pattern!r} has one; found none. Name one with "
                "--partition-column, or leave {partition} out."
            )
    if pattern is None:
        pattern = infer.partition_pattern(file_name) if partition else file_name
    if (partition is not None) != (pattern.count("{partition}") == 1):
        raise ScaffoldError(
            f"Inferring {name}: expected {{partition}} once in the pattern of a source delivered "
            f"by day, and not in another's; found {pattern!r} and partition column {partition!r}. "
            "Give --pattern, such as 'name_{partition}.csv', or leave --partition-column out."
        )
    if pattern.startswith("."):
        raise ScaffoldError(
            f"Inferring {name}: expected the name of a file as it will be delivered; found the "
            f"hidden {pattern!r}. Hidden files are taken for unfinished and never loaded: rename "
            "the sample, or give --pattern."
        )
    if "/" in pattern or "\\" in pattern:
        raise ScaffoldError(
            f"Inferring {name}: expected a file's name as the pattern; found {pattern!r}. Leave "
            "the folder out."
        )
    columns = _key_given(table, key) if key else infer.guess_key(table, partition)
    if partition is not None and partition not in columns and key:
        notes.append(f"the key holds within a file; {partition} is not part of it")
    if not columns:
        notes.append(
            "no key: no three columns tell the sample's rows apart, or it has too few rows to "
            "say; name one with --key, as doubled rows go unseen without it"
        )
    return NewSource(product, name, sample, table, pattern, partition, columns, not key), notes


def _partition_given(table: infer.Table, wanted: str) -> str:
    column = table.column(wanted)
    if column is None or column.dtype != pl.Date or column.nullable:
        found = "no such column" if column is None else f"{column.dtype} ({column.reason})"
        raise ScaffoldError(
            f"Partitioning by {wanted!r}: expected a date column without nulls; found {found}. "
            f"There are {', '.join(c.name for c in table.columns[:40])}."
        )
    days = table.values[column.name].n_unique()
    if days != 1:
        raise ScaffoldError(
            f"Partitioning by {wanted!r}: expected one day in the sample, as a file holds the rows "
            f"of its own day; found {days}. Ask for a file a day, or deliver the source whole."
        )
    return column.name


def _key_given(table: infer.Table, wanted: Sequence[str]) -> list[str]:
    columns = [(name, table.column(name)) for name in wanted]
    names = [column.name for _, column in columns if column is not None]
    faults = [f"no column {name!r}" for name, column in columns if column is None]
    faults += [
        f"nulls in {column.name}" for _, column in columns if column is not None and column.nullable
    ]
    if not faults and not infer.is_unique(table.values, names):
        faults.append("rows that are alike in them")
    if faults:
        raise ScaffoldError(
            f"Taking {', '.join(wanted)} as the key: expected columns without nulls that tell the "
            f"sample's rows apart; found {'; '.join(faults)}. There are "
            f"{', '.join(c.name for c in table.columns[:40])}."
        )
    order = [column.name for column in table.columns]
    return sorted(set(names), key=order.index)


def prepare(
    root: Path,
    product: str,
    name: str,
    sample: Path,
    *,
    pattern: str | None = None,
    partition_column: str | None = None,
    key: Sequence[str] = (),
    force: bool = False,
) -> Prepared:
    """Everything that a new source needs, in memory.

    Args:
        root: The project.
        product: The product, which has a folder under `assets/`.
        name: The source's name.
        sample: The sample file.
        pattern: See `decide`.
        partition_column: See `decide`.
        key: See `decide`.
        force: Whether the files of a source that stands may be written anew.

    Raises:
        ScaffoldError: The sample, the names, or what stands in the project forbids it.
    """
    _check_names(root, product, name)
    folder = Path("assets", product, name)
    _check_free(root, folder, product, name, force)
    source, notes = decide(
        product, name, read_sample(sample),
        pattern=pattern, partition_column=partition_column, key=key,
    )  # fmt: skip
    _check_contract(source)

    notes += _days_noted(root, source)

    models = Path("dbt_project", "models", "staging", product)
    tests = Path("tests", "products", product)
    docs, kept = render.docs_text(source, _text(root / models / "columns.md"))
    if kept:
        notes.append(
            f"{', '.join(kept)}: the product describes a column of that name already, in "
            f"{models / 'columns.md'}; look whether it is the same quantity"
        )
    texts = {
        folder / "__init__.py": render.init_text(source),
        folder / "defs.yaml": render.defs_text(source),
        folder / "contract.py": render.contract_text(source),
        models / f"stg_{name}.sql": render.model_text(source),
        models / "models.yml": _models(root / models / "models.yml", source),
        models / "sources.yml": _sources(root / models / "sources.yml", source),
        models / "columns.md": docs,
        tests / f"test_{name}.py": render.contract_test_text(source),
    }
    files = {path: text.encode() for path, text in texts.items()}
    files[tests / "samples" / f"{name}.{source.sample.file_format}"] = source.sample.copy
    if not force:
        shared = {models / "models.yml", models / "sources.yml", models / "columns.md"}
        _refuse(sorted(p for p in files if p not in shared and (root / p).exists()), name)
    changed = frozenset(path for path in files if (root / path).exists())
    return Prepared(source, files, changed, notes)


def _check_names(root: Path, product: str, name: str) -> None:
    for what, given in (("product", product), ("source", name)):
        is_name = re.fullmatch(r"[a-z][a-z0-9_]*", given) and not keyword.iskeyword(given)
        if not is_name or len(given) > _LONGEST_NAME:
            raise ScaffoldError(
                f"Naming the {what}: expected lower-case letters, digits and '_', at most "
                f"{_LONGEST_NAME}, and no word of Python; found {given!r}. Choose another name."
            )
    if not (root / "assets" / product / "product" / "defs.yaml").is_file():
        known = sorted(p.parents[1].name for p in (root / "assets").glob("*/product/defs.yaml"))
        raise ScaffoldError(
            f"Adding to {product!r}: expected a product under assets/; found "
            f"{', '.join(known) or 'none'}. Write assets/{product}/product/defs.yaml first."
        )


def _check_free(root: Path, folder: Path, product: str, name: str, force: bool) -> None:
    """Raise if the name is taken, or stands and may not be written anew."""
    for path in sorted((root / "assets" / product).rglob("defs.yaml")):
        if path.parent == root / folder:
            continue
        declared = load_yaml(path.read_bytes()) or {}
        attributes = declared.get("attributes") or {}
        if declared.get("type") == _COMPONENT and attributes.get("name") == name:
            raise ScaffoldError(
                f"Adding {name!r}: expected a new name; found the source in "
                f"{path.parent.relative_to(root)}. Choose another name."
            )
    own = Path("dbt_project", "models", "staging", product)
    for path in sorted((root / "dbt_project" / "models").rglob(f"stg_{name}.sql")):
        if path.parent != root / own:
            raise ScaffoldError(
                f"Adding {name!r}: expected no dbt model stg_{name}, as dbt knows a name once; "
                f"found {path.relative_to(root)}. Choose another name."
            )
    if not (root / folder).exists():
        _refuse(
            [
                path
                for path in (
                    own / f"stg_{name}.sql",
                    Path("tests", "products", product, f"test_{name}.py"),
                )
                if (root / path).exists()
            ],
            name,
            force_helps=False,
        )
        return
    if not force:
        _refuse([folder], name)
    defs = root / folder / "defs.yaml"
    if not defs.is_file() or (load_yaml(defs.read_bytes()) or {}).get("type") != _COMPONENT:
        raise ScaffoldError(
            f"Writing {folder} anew: expected the folder of a source; found another's. Choose "
            "another name."
        )


def _refuse(standing: Sequence[Path], name: str, *, force_helps: bool = True) -> None:
    if standing:
        advice = "Choose another name"
        advice += ", or write it anew with --force." if force_helps else ", or remove it."
        raise ScaffoldError(
            f"Adding {name!r}: expected nothing of that name; found "
            f"{', '.join(map(str, standing))}. {advice}"
        )


def _check_contract(source: NewSource) -> None:
    """Raise unless every row of the sample keeps the contract: nothing is written on a guess."""
    frame = source.table.values.with_columns(
        pl.lit(source.sample.file_name).alias(SOURCE_FILE),
        pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias(SOURCE_LINE),
    )
    counts = apply_contract(frame, source.contract).counts
    if counts:
        raise ScaffoldError(
            f"Checking the contract of {source.name} on its own sample: expected every row to "
            f"hold; found {counts}. This is a fault of the platform: report it, with the sample."
        )


def _days_noted(root: Path, source: NewSource) -> list[str]:
    """A word on a sample of a day that the product does not have."""
    if source.partition_column is None:
        return []
    path = root / "assets" / source.product / "product" / "defs.yaml"
    days = (load_yaml(path.read_bytes()) or {}).get("attributes") or {}
    day = source.table.values[source.partition_column][0]
    first, end = days.get("first_day"), days.get("end_day")
    is_before = isinstance(first, dt.date) and day < first
    is_after = isinstance(end, dt.date) and day >= end
    if not (is_before or is_after):
        return []
    return [
        f"the sample's day {day} is none of the product's, {first} to before {end}: such files are "
        f"not loaded until {path.relative_to(root)} has their days"
    ]


def _text(path: Path) -> str:
    # Not read_text, which would turn the file's line ends into others.
    return path.read_bytes().decode() if path.exists() else ""


def _models(path: Path, source: NewSource) -> str:
    entry, text = render.model_entry(source), _text(path)
    if not text.strip():
        return render.new_models(entry)
    return with_entry(text, ("models",), entry, where=path.name)


def _sources(path: Path, source: NewSource) -> str:
    entry, text = render.table_entry(source), _text(path)
    if not text.strip():
        return render.new_sources(source, entry)
    return with_entry(text, ("sources", source.product, "tables"), entry, where=path.name)


def write(root: Path, files: Mapping[Path, bytes]) -> None:
    """Write all of some files, or leave everything as it was.

    Args:
        root: The folder that the paths start from.
        files: The bytes of each file.

    Raises:
        OSError: A file could not be written; what had been written is taken back.
    """
    before: dict[Path, bytes | None] = {}
    made: list[Path] = []
    try:
        for path, content in files.items():
            target = root / path
            lacking = [p for p in target.parents if not p.exists()]
            for folder in reversed(lacking):
                folder.mkdir()
                made.append(folder)
            before[target] = target.read_bytes() if target.exists() else None
            _replace(target, content)
    except BaseException:
        for target, content in before.items():
            if content is not None:
                _replace(target, content)
            else:
                target.unlink(missing_ok=True)
        for folder in reversed(made):
            folder.rmdir()
        raise


def _replace(target: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old one or the new one."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        temporary.chmod(target.stat().st_mode & 0o777 if target.exists() else 0o644)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
