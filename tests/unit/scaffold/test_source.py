"""`ap new source`: hostile samples become sources that load, pass lint and hold their sample."""

import codecs
import csv
import gzip
import importlib.util
import io
import os
import shutil
import subprocess
import sys
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import dataframely as dy
import polars as pl
import pytest
from typer.testing import CliRunner

from analytics_platform.contracts import (
    FileFormat,
    apply_contract,
    check_contract,
    read_file,
)
from analytics_platform.scaffold import SampleError, ScaffoldError, prepare, write
from analytics_platform.scaffold.layout import load_yaml
from analytics_platform.scaffold.sample import COPIED_ROWS, read_sample
from analytics_platform.settings import PROJECT_ROOT

PRODUCT = "flight_delays"
MODELS = Path("dbt_project", "models", "staging", PRODUCT)


def csv_of(*rows: list[str], delimiter: str = ",") -> bytes:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows(rows)
    return out.getvalue().encode()


def parquet_of(frame: pl.DataFrame) -> bytes:
    out = io.BytesIO()
    frame.write_parquet(out)
    return out.getvalue()


class Hostile(NamedTuple):
    """A sample, the types of its columns by their names, and options its reader needs."""

    file_name: str
    data: bytes
    types: dict[str, str]
    options: dict[str, str] = {}  # noqa: RUF012 (a default of a named tuple, never changed)


WIDE = [f"Measure {n} (kg)" for n in range(300)]
TYPED = pl.DataFrame(
    {
        "Id": pl.Series([1, 2, 3], dtype=pl.UInt16),
        "weight (kg)": pl.Series([0.5, float("nan"), None], dtype=pl.Float32),
        "day": [date(2024, 1, 1)] * 3,
        "at": pl.Series(
            [datetime.fromisoformat("2024-01-01T05:00:00")] * 3, dtype=pl.Datetime("ns")
        ),
        "kind": pl.Series(["a", "b", "a"], dtype=pl.Categorical),
        "code": ["01", "02", "03"],
        "ok": [True, False, None],
        "nothing": pl.Series([None, None, None], dtype=pl.Null),
        "tags": [["a"], ["b"], []],
    }
)

HOSTILE = {
    "odd_headers": Hostile(
        "a.csv",
        csv_of(["Order ID", "Unit Price ($)", "2013 sales", "order", "Temp [°C]"], ["1"] * 5),
        {
            "order_id": "Int32",
            "unit_price_usd": "Int32",
            "column_2013_sales": "Int32",
            "order_": "Int32",
            "temp_celsius": "Int32",
        },
    ),
    "headers_that_differ_by_case": Hostile(
        "a.csv", csv_of(["a", "A"], ["1", "x"]), {"a": "Int32", "a_2": "String"}
    ),
    "headers_with_marks": Hostile(
        "a.csv",
        csv_of(
            ['say "hi"', "it's", "back\\slash", "new\nline", "{{ x }}", "\u2013 dash"], ["1"] * 6
        ),
        {
            "say_hi": "Int32",
            "it_s": "Int32",
            "back_slash": "Int32",
            "new_line": "Int32",
            "x": "Int32",
            "dash": "Int32",
        },
    ),
    "headers_of_other_scripts": Hostile(
        "a.csv",
        csv_of(
            [
                "\u0430",
                "\u0414\u0430\u0442\u0430",
                "\u65e5\u4ed8",
                "caf\u00e9",
                "\u039f\u0394",
                "\uff21",
            ],
            ["1"] * 6,
        ),
        {
            "a": "Int32",
            "data": "Int32",
            "column_3": "Int32",
            "cafe": "Int32",
            "od": "Int32",
            "a_2": "Int32",
        },
    ),
    "long_header": Hostile(
        "a.csv", csv_of(["very long " * 20], ["1"]), {("very_long_" * 20)[:63].rstrip("_"): "Int32"}
    ),
    "dates": Hostile(
        "a.csv",
        csv_of(
            ["iso", "eu", "us", "unclear", "dotted", "stamp"],
            [
                "2024-01-31",
                "31/01/2024",
                "01/31/2024",
                "01/02/2024",
                "31.01.2024",
                "2024-01-31 05:15",
            ],
        ),
        {
            "iso": "Date",
            "eu": "Date",
            "us": "Date",
            "unclear": "String",
            "dotted": "Date",
            "stamp": "Datetime",
        },
    ),
    "leading_zeros": Hostile(
        "a.csv",
        csv_of(["zip", "n"], ["01234", "0"], ["98101", "5"]),
        {"zip": "String", "n": "Int32"},
    ),
    "empty_column": Hostile(
        "a.csv", csv_of(["a", "b"], ["1", ""], ["2", ""]), {"a": "Int32", "b": "String"}
    ),
    "spelled_nulls": Hostile(
        "a.csv", csv_of(["a", "b"], ["1", "NA"], ["2", "5"]), {"a": "Int32", "b": "String"}
    ),
    "decimal_comma": Hostile(
        "a.csv",
        b"Menge;Betrag\r\n1,5;1.234,50\r\n2,0;7,25\r\n",
        {"menge": "Float64", "betrag": "Float64"},
        {"delimiter": ";", "decimal": ",", "thousands": "."},
    ),
    "thousands": Hostile(
        "a.csv",
        csv_of(["n", "x"], ["1,234", "1,234.5"], ["12", "0.5"]),
        {"n": "Int32", "x": "Float64"},
        {"thousands": ","},
    ),
    "hard_spaces": Hostile(
        "a.csv",
        "n;x\n1\u00a0234;0,5\n7;1,5\n".encode(),
        {"n": "Int32", "x": "Float64"},
        {"delimiter": ";", "decimal": ",", "thousands": "\u00a0"},
    ),
    "bom": Hostile("a.csv", codecs.BOM_UTF8 + b"a,b\n1,x\n", {"a": "Int32", "b": "String"}),
    "utf_16": Hostile(
        "a.csv",
        "größe,b\n1,é\n".encode("utf-16"),
        {"grosse": "Int32", "b": "String"},
        {"encoding": "utf-16"},
    ),
    "cp1252": Hostile(
        "a.csv",
        "größe,b\n1,€\n".encode("cp1252"),
        {"grosse": "Int32", "b": "String"},
        {"encoding": "cp1252"},
    ),
    "latin_1": Hostile(
        "a.csv", b"a,b\n1,\xe9\x81\n", {"a": "Int32", "b": "String"}, {"encoding": "latin-1"}
    ),
    "tab": Hostile(
        "a.tsv",
        csv_of(["a", "b,c"], ["1", "x,y"], delimiter="\t"),
        {"a": "Int32", "b_c": "String"},
        {"delimiter": "\t"},
    ),
    "pipe": Hostile("a.txt", b"a|b\n1|x;y\n", {"a": "Int32", "b": "String"}, {"delimiter": "|"}),
    "quoted_newlines": Hostile(
        "a.csv",
        csv_of(["a", "b"], *([str(n), f'two\nlines, "{n}"'] for n in range(80))),
        {"a": "Int32", "b": "String"},
    ),
    "carriage_returns": Hostile("a.csv", b"a,b\r1,2\r3,4\r", {"a": "Int32", "b": "Int32"}),
    "booleans": Hostile(
        "a.csv",
        csv_of(["a", "is_b", "c"], ["true", "1", "yes"], ["FALSE", "0", "no"]),
        {"a": "Boolean", "is_b": "Boolean", "c": "String"},
    ),
    "one_row": Hostile("a.csv", b"a\n1\n", {"a": "Int32"}),
    "packed": Hostile("a.csv.gz", gzip.compress(b"a,b\n1,x\n"), {"a": "Int32", "b": "String"}),
    "typed_file": Hostile(
        "a.parquet",
        parquet_of(TYPED),
        {
            "id": "UInt16",
            "weight_kg": "Float32",
            "day": "Date",
            "at_": "Datetime",
            "kind": "String",
            "code": "String",
            "ok": "Boolean",
            "nothing": "String",
        },
        {"unknown_columns": "ignore"},
    ),
    "wide": Hostile(
        "a.csv",
        csv_of(WIDE, ["1.5"] * 300),
        {f"measure_{n}_kg": "Float64" for n in range(300)},
    ),
}

#: Samples that become sources through the command.
END_TO_END = {
    "daily_orders": Hostile(
        "orders_2024-03-05.csv",
        csv_of(
            ["order_id", "order_date", "zip", "price", "is_gift", "placed_at", "note"],
            *(
                [
                    f"{n}",
                    "2024-03-05",
                    f"0{n}",
                    f"{n}.5",
                    "true",
                    "2024-03-05T10:00:00",
                    "" if n % 2 else "é",
                ]
                for n in range(1000, 1080)
            ),
        ),
        {
            "order_id": "Int32",
            "order_date": "Date",
            "zip": "String",
            "price": "Float64",
            "is_gift": "Boolean",
            "placed_at": "Datetime",
            "note": "String",
        },
    ),
    "whole_parquet": Hostile(
        "prices.parquet",
        parquet_of(pl.DataFrame({"sku": ["a", "b"] * 3, "n": [1, 1, 2, 2, 3, 3]})),
        {"sku": "String", "n": "Int64"},
    ),
    "lines_in_values": HOSTILE["quoted_newlines"],
    "with_mark": HOSTILE["bom"],
    "codes": HOSTILE["leading_zeros"],
    "nulls": HOSTILE["spelled_nulls"],
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what `ap new` looks at, which the command takes for the project."""
    root = tmp_path / "project"
    for path in ("assets", "dbt_project", "tests/products"):
        shutil.copytree(
            PROJECT_ROOT / path, root / path, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(PROJECT_ROOT / "pyproject.toml", root)
    monkeypatch.setattr("analytics_platform.settings.PROJECT_ROOT", root)
    return root


def sample_in(folder: Path, hostile: Hostile, name: str = "") -> Path:
    path = folder / (name or hostile.file_name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(hostile.data)
    return path


def tree(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def contract_at(root: Path, name: str) -> type[dy.Schema]:
    path = root / "assets" / PRODUCT / name / "contract.py"
    spec = importlib.util.spec_from_file_location(f"scaffolded_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (contract,) = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, dy.Schema)
    ]
    return contract


def run(*arguments: str) -> Any:
    from analytics_platform.cli.main import app

    return CliRunner().invoke(app, ["new", "source", *arguments], env={"COLUMNS": "200"})


def lint(root: Path) -> str:
    """What the project's own lint and format say of the product's files."""
    # The linter tells the project's own packages by their folders, of which the copy lacks one.
    own = 'lint.isort.known-first-party=["analytics_platform", "assets"]'
    folders = [f"assets/{PRODUCT}", f"tests/products/{PRODUCT}"]
    output = ""
    for command in (["check", "--config", own], ["format", "--check", "--diff"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--no-cache", "-q", *folders],
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
        )
        output += done.stdout + done.stderr if done.returncode else ""
    return output


def test_hostile_samples_become_sources(project: Path, tmp_path: Path) -> None:
    for name, hostile in HOSTILE.items():
        prepared = prepare(project, PRODUCT, name, sample_in(tmp_path / name, hostile))
        write(project, prepared.files)
        columns = prepared.source.table.columns
        kinds = {c.name: type(c.dtype).__name__ for c in columns}
        assert kinds == hostile.types, name
        assert prepared.source.options == hostile.options, name

        contract = contract_at(project, name)
        check_contract(contract)
        dtypes = {column: declared.dtype for column, declared in contract.columns().items()}
        assert dtypes == {c.name: c.dtype for c in columns}, name
        for column in columns:
            declared = contract.columns()[column.name]
            header = (declared.metadata or {}).get("header", column.name)
            assert header == column.header, name
            assert (declared.metadata or {}).get("format") == column.text_format, name

        defs = load_yaml((project / "assets" / PRODUCT / name / "defs.yaml").read_text())
        attributes = defs["attributes"]
        assert {key: attributes[key] for key in hostile.options} == hostile.options, name
        assert attributes["name"] == name
        sql = (project / MODELS / f"stg_{name}.sql").read_text()
        named = sql.removeprefix("select\n").partition("\nfrom ")[0].split(",\n")
        assert [line.strip() for line in named] == list(hostile.types), name

        file = sample_in(tmp_path / name, hostile)
        hold(file, contract, hostile)

        # The kept rows say what the whole sample says.
        copy = project / "tests" / "products" / PRODUCT / "samples"
        again = read_sample(next(copy.glob(f"{name}.*")))
        assert again.headers == prepared.source.sample.headers, name
        assert again.frame.equals(prepared.source.sample.frame.head(COPIED_ROWS)), name
    assert lint(project) == ""
    check_yaml(project, list(HOSTILE))


def check_yaml(project: Path, names: list[str]) -> None:
    """The product's files say what they said, in the same lines, and then the new."""
    for file, entries in (("models.yml", names), ("sources.yml", names)):
        before = (PROJECT_ROOT / MODELS / file).read_text()
        after = (project / MODELS / file).read_text()
        assert after.startswith(before)
        added = after.removeprefix(before)
        assert [n for n in entries if f"- name: stg_{n}\n" not in added] == [
            n for n in entries if f"- name: raw_{n}\n" in added
        ]
    models = load_yaml((project / MODELS / "models.yml").read_text())["models"]
    (source,) = load_yaml((project / MODELS / "sources.yml").read_text())["sources"]
    docs = (project / MODELS / "columns.md").read_text()
    assert {f"stg_{name}" for name in names} <= {model["name"] for model in models}
    assert {f"raw_{name}" for name in names} <= {table["name"] for table in source["tables"]}
    for described in [*models, *source["tables"]]:
        for column in described["columns"]:
            doc = column["description"].split("'")[1]
            assert docs.count(f"{{% docs {doc} %}}") == 1


@pytest.mark.parametrize("name", END_TO_END)
def test_the_command_writes_a_source_that_holds_its_sample(
    name: str, project: Path, tmp_path: Path
) -> None:
    hostile = END_TO_END[name]
    path = sample_in(tmp_path, hostile)
    result = run(PRODUCT, name, "--sample", str(path))
    assert result.exit_code == 0, result.output
    assert f"assets/{PRODUCT}/{name}/contract.py" in result.output
    assert f"ap materialize {PRODUCT} raw_{name}" in result.output

    contract = contract_at(project, name)
    for file in (path, *(project / f"tests/products/{PRODUCT}/samples").glob(f"{name}.*")):
        hold(file, contract, hostile)
    assert lint(project) == ""


def hold(file: Path, contract: type[dy.Schema], hostile: Hostile) -> None:
    """The platform's reader takes every row of the file under the contract that was written."""
    file_format = FileFormat("parquet" if file.suffix == ".parquet" else "csv", **hostile.options)
    frame = read_file(file, contract, file_format)
    held = apply_contract(frame, contract, file_format=file_format)
    assert held.counts == {}, file
    assert held.good.height == frame.height == read_sample(file).rows
    assert {n: type(t).__name__ for n, t in held.good.schema.items()} == {
        **hostile.types,
        "_source_file": "String",
        "_source_line": "Int64",
    }


def test_a_written_test_runs(project: Path, tmp_path: Path) -> None:
    path = sample_in(tmp_path, END_TO_END["daily_orders"])
    assert run(PRODUCT, "daily_orders", "--sample", str(path)).exit_code == 0
    done = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--noconftest",
            "-c", os.devnull, "--rootdir", str(project), "--import-mode=importlib",
            f"tests/products/{PRODUCT}/test_daily_orders.py",
        ],
        cwd=project,
        env={**os.environ, "PYTHONPATH": f"{project}{os.pathsep}{PROJECT_ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_a_daily_sample_is_partitioned_and_keyed(project: Path, tmp_path: Path) -> None:
    path = sample_in(tmp_path, END_TO_END["daily_orders"])
    result = run(PRODUCT, "daily_orders", "--sample", str(path))
    defs = load_yaml((project / f"assets/{PRODUCT}/daily_orders/defs.yaml").read_text())
    assert defs["type"] == "analytics_platform.components.LandingSource"
    assert defs["attributes"] | {"description": ""} == {
        "name": "daily_orders",
        "description": "",
        "folder": "daily_orders",
        "pattern": "orders_{partition}.csv",
        "file_format": "csv",
        "partition_column": "order_date",
    }
    contract = contract_at(project, "daily_orders")
    assert contract.primary_key() == ["order_id", "order_date"]
    assert "is a guess" in result.output
    assert "2024-03-05 is none of the product's" in result.output
    assert "--partition 2024-03-05" in result.output
    nullable = [name for name, column in contract.columns().items() if column.nullable]
    assert nullable == ["note"]


def test_what_a_person_gives_goes_before_what_is_guessed(project: Path, tmp_path: Path) -> None:
    rows = [["Line No", "Order", "Day"], *([str(n), str(n), "2024-01-01"] for n in range(6))]
    path = sample_in(tmp_path, Hostile("export.csv", csv_of(*rows), {}))
    result = run(
        PRODUCT, "lines", "--sample", str(path), "--partition-column", "Day",
        "--pattern", "lines-{partition}.csv", "--key", "Order", "--key", "day",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    attributes = load_yaml((project / f"assets/{PRODUCT}/lines/defs.yaml").read_text())[
        "attributes"
    ]
    assert attributes["pattern"] == "lines-{partition}.csv"
    assert attributes["partition_column"] == "day"
    text = (project / f"assets/{PRODUCT}/lines/contract.py").read_text()
    assert text.count("primary_key=True") == 2
    assert "guess" not in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--key", "b"], "rows that are alike"),
        (["--key", "c"], "nulls in c"),
        (["--key", "z"], "no column 'z'"),
        (["--partition-column", "a"], "expected a date column"),
        (["--partition-column", "d", "--pattern", "x.csv"], "expected {partition} once"),
        (["--partition-column", "e"], "expected one day"),
        (["--pattern", "x_{partition}.csv", "--partition-column", "zz"], "no such column"),
        (["--pattern", "folder/x.csv"], "Leave the folder out"),
        (["--pattern", ".x.csv"], "the hidden '.x.csv'"),
    ],
)
def test_what_does_not_fit_the_sample_is_refused(
    arguments: list[str], said: str, project: Path, tmp_path: Path
) -> None:
    rows = (["a", "b", "c", "d", "e"], ["1", "1", "", "2024-01-01", "2024-01-01"],
            ["2", "1", "1", "2024-01-01", "2024-01-02"])  # fmt: skip
    path = sample_in(tmp_path, Hostile("x.csv", csv_of(*rows), {}))
    before = tree(project)
    result = run(PRODUCT, "things", "--sample", str(path), *arguments)
    assert result.exit_code == 1
    assert said in result.output
    assert tree(project) == before


UNREADABLE = {
    "header only": ("x.csv", b"a,b\n", "at least one row"),
    "double header": ("x.csv", b"a,b,a\n1,2,3\n", "'a' twice"),
    "empty header": ("x.csv", b"a,,c\n1,2,3\n", "none over column 2"),
    "nothing": ("x.csv", b"", "no byte"),
    "blank lines": ("x.csv", b"\n\n", "blank lines"),
    "ragged": ("x.csv", b"a,b\n1,2\n3\n", "line 3"),
    "title": ("x.csv", b"Report\na,b\n1,2\n", "line 2"),
    "unpaired quote": ("x.csv", b'a,b\n1,"2\n', "quoted"),
    "utf-16 without mark": ("x.csv", "a,b\n1,2\n".encode("utf-16-le"), "NUL"),
    "cut gzip": ("x.csv.gz", gzip.compress(b"a,b\n" * 99)[:-9], "whole gzip"),
    "no gzip": ("x.csv.gz", b"a,b\n1,2\n", "whole gzip"),
    "no parquet": ("x.parquet", b"PAR1", "whole Parquet"),
    "parquet without rows": ("x.parquet", parquet_of(TYPED.clear()), "at least one row"),
    "another kind": ("x.xlsx", b"PK", "ends with .csv"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_is_no_table_is_said(case: str, tmp_path: Path) -> None:
    name, data, said = UNREADABLE[case]
    with pytest.raises(SampleError, match=said):
        read_sample(sample_in(tmp_path, Hostile(name, data, {})))


def test_a_source_that_stands_is_written_anew_only_by_force(project: Path, tmp_path: Path) -> None:
    first = sample_in(tmp_path, Hostile("x.csv", b"a,b\n1,2\n", {}))
    assert run(PRODUCT, "things", "--sample", str(first)).exit_code == 0
    # Another source behind it: what is replaced must be its own entry only.
    assert run(PRODUCT, "others", "--sample", str(first)).exit_code == 0
    before = tree(project)
    second = sample_in(tmp_path, Hostile("y.csv", b"a,c\nx,2\n", {}))
    refused = run(PRODUCT, "things", "--sample", str(second))
    assert refused.exit_code == 1
    assert "--force" in refused.output
    assert tree(project) == before

    assert run(PRODUCT, "things", "--sample", str(second), "--force").exit_code == 0
    assert list(contract_at(project, "things").columns()) == ["a", "c"]
    models = load_yaml((project / MODELS / "models.yml").read_text())["models"]
    names = [model["name"] for model in models]
    assert names[-2:] == ["stg_things", "stg_others"]
    assert [column["name"] for column in models[-2]["columns"]] == ["a", "c"]
    again = tree(project)
    assert run(PRODUCT, "things", "--sample", str(second), "--force").exit_code == 0
    assert tree(project) == again


@pytest.mark.parametrize(
    ("product", "name", "said"),
    [
        (PRODUCT, "airlines", "reference/airlines"),
        (PRODUCT, "features", "features"),
        (PRODUCT, "contracts", "test_contracts.py"),
        (PRODUCT, "Orders", "lower-case"),
        (PRODUCT, "class", "no word of Python"),
        (PRODUCT, "../x", "lower-case"),
        ("nothing", "orders", "expected a product"),
    ],
)
def test_a_name_that_is_taken_or_odd_is_refused_even_with_force(
    product: str, name: str, said: str, project: Path, tmp_path: Path
) -> None:
    path = sample_in(tmp_path, Hostile("x.csv", b"a,b\n1,2\n", {}))
    before = tree(project)
    with pytest.raises(ScaffoldError, match=said):
        prepare(project, product, name, path, force=True)
    assert tree(project) == before


def test_a_product_without_models_gets_its_files(project: Path, tmp_path: Path) -> None:
    folder = project / "assets" / "shop" / "product"
    folder.mkdir(parents=True)
    (folder / "defs.yaml").write_text("type: analytics_platform.components.DataProduct\n")
    path = sample_in(tmp_path, Hostile("x.csv", b"a,b\n1,2\n", {}))
    write(project, prepare(project, "shop", "things", path).files)
    models = project / "dbt_project/models/staging/shop"
    (model,) = load_yaml((models / "models.yml").read_text())["models"]
    (source,) = load_yaml((models / "sources.yml").read_text())["sources"]
    assert (model["name"], source["name"]) == ("stg_things", "shop")
    assert [table["name"] for table in source["tables"]] == ["raw_things"]
    assert "docs shop__source_line" in (models / "columns.md").read_text()


@pytest.mark.parametrize("fails_at", range(9))
def test_all_or_nothing_is_written(
    fails_at: int, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = sample_in(tmp_path, Hostile("x.csv", b"a,b\n1,2\n", {}))
    prepared = prepare(project, PRODUCT, "things", path)
    before = tree(project)
    folders = {p for p in project.rglob("*") if p.is_dir()}
    replace, calls = Path.replace, iter(range(1000))

    def failing(self: Path, target: Path) -> Path:
        if next(calls) == fails_at:
            raise OSError("the disk is full")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(OSError, match="the disk is full"):
        write(project, prepared.files)
    assert tree(project) == before
    assert {p for p in project.rglob("*") if p.is_dir()} == folders


@pytest.fixture(autouse=True)
def no_bytecode(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contracts are imported from the copied project, which is compared with what it was."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
