"""What a contract may say, and what is told of its columns."""

from types import new_class

import dataframely as dy
import polars as pl
import pytest

from analytics_platform.contracts import (
    ContractColumn,
    ContractDefinitionError,
    ContractError,
    check_contract,
    contract_columns,
)


class EveryType(dy.Schema):
    day = dy.Date(primary_key=True, description="A day.")
    name = dy.String(nullable=True, description="A name.")
    tiny = dy.Int8(description="Tiny.")
    small = dy.Int16(description="Small.")
    count = dy.Int32(description="Count.")
    big = dy.Int64(description="Big.")
    natural = dy.UInt32(description="Natural.")
    ratio = dy.Float32(description="Ratio.")
    amount = dy.Float64(nullable=True, description="Amount.")
    flag = dy.Bool(description="Flag.")
    at = dy.Datetime(description="At.")


def test_columns_are_told_as_duckdb_knows_them() -> None:
    import duckdb

    columns = contract_columns(EveryType)

    assert columns[0] == ContractColumn("day", "DATE", "A day.", nullable=False)
    assert [c.name for c in columns if c.nullable] == ["name", "amount"]
    # DuckDB is the judge: it gives a frame of the contract's types these very types.
    empty = EveryType.create_empty()  # noqa: F841  (DuckDB finds it by name)
    told = duckdb.sql("describe select * from empty").fetchall()
    assert [(c.name, c.duckdb_type) for c in columns] == [(row[0], row[1]) for row in told]


def schema(name: str, members: dict[str, object]) -> type[dy.Schema]:
    return new_class(name, (dy.Schema,), exec_body=lambda body: body.update(members))


def column(new: dy.Column) -> dict[str, object]:
    return {"column": new}


def rule(expression: pl.Expr) -> dict[str, object]:
    return {
        "column": dy.Int32(description="A number."),
        "rule": dy.rule()(lambda _: expression),
    }


@pytest.mark.parametrize(
    ("members", "said"),
    [
        pytest.param({}, "declares no column", id="no column"),
        pytest.param(column(dy.Int32()), "'column' has no description", id="no description"),
        pytest.param(
            column(dy.Int32(description=" ")), "'column' has no description", id="blank description"
        ),
        pytest.param(
            {"_line": dy.Int32(description="x")}, "'_line': names with a leading '_'", id="reserved"
        ),
        pytest.param(column(dy.Decimal(description="x")), "has type Decimal", id="no such type"),
        pytest.param(
            column(dy.Datetime(time_zone="UTC", description="x")), "naive datetime", id="zoned time"
        ),
        pytest.param(
            column(dy.Int32(unique=True, description="x")), "use primary_key=True", id="unique"
        ),
        pytest.param(
            {**column(dy.Int32(description="x")), "partition": dy.rule()(lambda _: pl.lit(1) == 1)},
            "'partition' is the platform's own",
            id="rule named partition",
        ),
        pytest.param(
            {**column(dy.Int32(description="x")), "shape": dy.rule()(lambda _: pl.lit(1) == 1)},
            "'shape' is the platform's own",
            id="rule named shape",
        ),
        pytest.param(
            column(dy.Int32(description="x", metadata={"header": ""})),
            "column 'column': its header '' must be the text",
            id="empty header",
        ),
        pytest.param(
            column(dy.Int32(description="x", metadata={"header": 3})), "header 3", id="no text"
        ),
        pytest.param(
            {
                **column(dy.Int32(description="x", metadata={"header": "other"})),
                "other": dy.Int32(description="x"),
            },
            "header 'other' is that of 2 columns",
            id="header of two columns",
        ),
        pytest.param(
            {"shop": dy.String(description="x"), "Shop": dy.String(description="x")},
            "columns 'shop', 'Shop' differ by case alone",
            id="names of one table column",
        ),
        pytest.param(
            column(dy.Int32(description="x", metadata={"format": "%d"})),
            "its format '%d' is of no effect: only dates and times have one",
            id="format of a number",
        ),
        pytest.param(
            column(dy.Date(description="x", metadata={"format": "%m/%Y"})),
            "its format '%m/%Y' does not name a year, a month and a day",
            id="half a date",
        ),
        pytest.param(
            column(dy.Date(description="x", metadata={"format": None})),
            "its format None must be a text",
            id="no format",
        ),
        pytest.param(
            column(dy.Datetime(description="x", metadata={"format": "%Y-%m-%d"})),
            "an hour and a minute",
            id="a date's format for a time",
        ),
        pytest.param(rule(pl.col("column").is_unique()), "more than one row", id="unique rule"),
        pytest.param(
            rule(pl.col("column") > pl.col("column").mean()), "more than one row", id="mean rule"
        ),
        pytest.param(
            rule(pl.len().over("column") == 1), "'rule' looks at more than one row", id="over rule"
        ),
        pytest.param(
            column(dy.Int32(description="x", check=lambda c: c.rank() < 3)),
            "'column|check' looks at more than one row",
            id="rank check",
        ),
        pytest.param(rule(pl.col("absent") > 1), "absent", id="absent column"),
        pytest.param(rule(pl.col("column") + 1), "boolean", id="rule that is a number"),
        pytest.param(
            column(dy.String(description="x", regex="(")), "regex", id="no regular expression"
        ),
    ],
)
def test_a_faulty_contract_is_refused_with_its_fault(members: dict[str, object], said: str) -> None:
    contract = schema("Faulty", members)

    with pytest.raises(ContractDefinitionError, match="Faulty") as raised:
        check_contract(contract)

    assert said in str(raised.value)
    assert "no file is to blame" in str(raised.value)
    assert isinstance(raised.value, ContractError)


def test_metadata_of_another_purpose_is_the_products_own() -> None:
    class Marked(dy.Schema):
        day = dy.Date(
            description="Day.",
            metadata={"header": "Day of sale", "format": "%d.%m.%Y", "unit": object()},
        )

    check_contract(Marked)


def test_every_fault_is_told_at_once() -> None:
    class TwoFaults(dy.Schema):
        first = dy.Int32()
        second = dy.Int32()

    with pytest.raises(ContractDefinitionError, match=r"'first' has no .*'second' has no"):
        check_contract(TwoFaults)


def test_only_a_schema_is_a_contract() -> None:
    with pytest.raises(ContractDefinitionError, match=r"subclass of dataframely\.Schema"):
        check_contract(dict)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "expression",
    [
        pytest.param(pl.col("column").is_in([1, 2]), id="is_in"),
        pytest.param(pl.all_horizontal(pl.col("column").is_not_null()), id="horizontal"),
        pytest.param(pl.when(pl.col("column") > 1).then(pl.lit(value=True)), id="when"),
        pytest.param((pl.col("column") % 100 < 60) | pl.col("column").is_null(), id="arithmetic"),
    ],
)
def test_rules_of_one_row_are_admitted(expression: pl.Expr) -> None:
    check_contract(schema("Fine", rule(expression)))
