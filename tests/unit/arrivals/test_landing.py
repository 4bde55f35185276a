"""What a source may declare of its files: a slip is told as the code location loads."""

from __future__ import annotations

from typing import Any

import dataframely as dy
import pytest

from tests.unit.arrivals.sales import source


class Ruled(dy.Schema):
    """A sale whose day has a name that the quarantine needs."""

    rules = dy.Date(description="Day.")


@pytest.mark.parametrize("folder", ["", "sales/", "/sales", "a//b", "../sales", "a/./b", ".sales"])
def test_a_folder_in_which_no_file_would_be_found_is_refused(folder: str) -> None:
    with pytest.raises(ValueError, match=r"Source sales: the folder .* Correct its defs\.yaml"):
        source(folder=folder)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pattern": "{partition}_{partition}.csv"}, "once at the most"),
        ({"pattern": "in/{partition}.csv"}, "must be a file's name"),
        ({"pattern": ".{partition}.csv"}, "hidden files"),
        ({"marker": "done"}, "must hold {file} once"),
        ({"marker": "{file}"}, "must hold {file} once"),
        ({"max_quarantined_share": 5}, "0 to 1; found 5"),
        ({"max_quarantined_share": -0.1}, "0 to 1; found -0.1"),
        ({"max_quarantined_share": float("nan")}, "0 to 1; found nan"),
        ({"settle_seconds": -1.0}, "0 or more; found -1"),
        ({"settle_seconds": float("nan")}, "0 or more; found nan"),
        ({"pattern": "sales.csv"}, "'sales.csv' and 'day'"),
        ({"partition_column": None}, "'sales_{partition}.csv' and none"),
        ({"partition_column": "dag"}, "'dag' to be a date of Sale; found no such column"),
        ({"partition_column": "pieces"}, "'pieces' to be a date of Sale; found Int32"),
        ({"partition_column": "rules", "contract": Ruled}, "may not be 'rules'"),
    ],
)
def test_what_does_not_go_together_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match="Source sales") as raised:
        source(**changes)
    assert said in str(raised.value)


def test_a_folder_may_lie_in_another() -> None:
    assert source(folder="shops/sales").partition_of("shops/sales/sales_2013-01-01.csv")
