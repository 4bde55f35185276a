"""The gate on a real lake: what counts as held, and what a person would do about the rest."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from analytics_platform.components.dbt_models import days_shown_anew
from analytics_platform.components.product_spec import check_result
from analytics_platform.lake import Lake, WriteRecord
from analytics_platform.lake.catalog import view_definitions
from analytics_platform.lake.records import WHOLE
from analytics_platform.release import Problem, Verdict, judge
from tests.unit.lake.writing import (
    FIRST,
    REQUIRED,
    SECOND,
    by_hand,
    check,
    checks,
    frame,
    view,
    write,
)

DAY, OTHER = str(FIRST), str(SECOND)
FOUND = '{"bad_rows": 3}'


def verdict(lake: Lake, required: Mapping[str, Sequence[str]] = REQUIRED) -> Verdict:
    with lake.reader() as con:
        return judge(con, "p", required)


def test_what_was_checked_after_its_write_holds(lake: Lake) -> None:
    write(lake, frame(FIRST, 1), FIRST)
    write(lake, frame(SECOND, 1), SECOND)
    assert verdict(lake) == Verdict(2, (), ())


def _failed(lake: Lake) -> None:
    write(lake, frame(FIRST, 1), passed=False)


def _failed_partition(lake: Lake) -> None:
    write(lake, frame(FIRST, 1), FIRST, passed=False)


def _failed_again_after_holding(lake: Lake) -> None:
    write(lake, frame(FIRST, 1))
    check(lake, passed=False)


def _older(lake: Lake) -> None:
    write(lake, frame(FIRST, 1))
    write(lake, frame(FIRST, 2), passed=None)


def _never_ran(lake: Lake) -> None:
    write(lake, frame(FIRST, 1), FIRST, passed=None)


def _never_ran_on_two(lake: Lake) -> None:
    write(lake, frame(FIRST, 1), FIRST, SECOND, passed=None)


def _other_partition(lake: Lake) -> None:
    write(lake, frame(FIRST, 1), FIRST, passed=None)
    check(lake, OTHER)


def _unreadable_file(lake: Lake) -> None:
    write(lake, frame(FIRST, 1), FIRST)
    check(lake, OTHER, passed=False)


def _changed_by_hand(lake: Lake) -> None:
    write(lake, frame(FIRST, 1))
    by_hand(lake, "DELETE FROM lake.p.t")


def _kept_aside_by_hand(lake: Lake) -> None:
    by_hand(lake, "CREATE SCHEMA lake.p", "CREATE TABLE lake.p.quarantine_x AS SELECT 1 AS n")
    write(lake, frame(FIRST, 1))
    write(lake, frame(FIRST, 1), asset="raw_x")
    by_hand(lake, "DELETE FROM lake.p.quarantine_x")


def _dropped_by_hand(lake: Lake) -> None:
    write(lake, frame(FIRST, 1))
    by_hand(lake, "DROP TABLE lake.p.t")


def _emptied_by_hand(lake: Lake) -> None:
    write(lake, frame(FIRST, 1))
    by_hand(lake, "DROP TABLE lake.p.t")
    by_hand(lake, "CREATE TABLE lake.p.t (day DATE, value BIGINT)")


def _view_by_hand(lake: Lake) -> None:
    write(lake, frame(FIRST, 1))
    view(lake, "seen", "FROM lake.p.t")
    by_hand(lake, "CREATE OR REPLACE VIEW lake.p.seen AS SELECT 2 AS value")


def _new_by_hand(lake: Lake) -> None:
    write(lake, frame(FIRST, 1))
    by_hand(lake, "CREATE VIEW lake.p.notes AS SELECT 1 AS n")


def _nothing(lake: Lake) -> None:
    pass


CASES: list[tuple[Callable[[Lake], None], str]] = [
    (_failed, f"t · sound: failed {FOUND}. Mend: correct the data or the code, then `ap run p` "
              "or `ap materialize p t`"),
    (_failed_partition, f"t · sound [2013-01-01]: failed {FOUND}. Mend: correct the file and "
                        "`ap run p`, or put it back to its released state: "
                        "`ap release revert p --partition 2013-01-01`"),
    (_failed_again_after_holding, f"t · sound: failed {FOUND}. Mend: correct the data or the "
                                  "code, then `ap run p` or `ap materialize p t`"),
    (_older, "t · sound: is older than the data. Mend: `ap materialize p t`"),
    (_never_ran, "t · sound [2013-01-01]: did not run. Mend: "
                 "`ap materialize p t --partition 2013-01-01`"),
    (_never_ran_on_two, "t · sound [2013-01-01 and 1 more]: did not run. Mend: "
                        "`ap materialize p t --partition 2013-01-01 --through 2013-01-02`"),
    (_other_partition, "t · sound [2013-01-01]: did not run. Mend: "
                       "`ap materialize p t --partition 2013-01-01`"),
    (_unreadable_file, f"t · sound [2013-01-02]: failed {FOUND}. Mend: correct the file and "
                       "`ap run p`, or put it back to its released state: "
                       "`ap release revert p --partition 2013-01-02`"),
    (_changed_by_hand, "t: table t changed at snapshot 3, outside any recorded run. Mend: "
                       "`ap materialize p t`"),
    (_kept_aside_by_hand, "raw_x: table quarantine_x changed at snapshot 5, outside any recorded "
                          "run. Mend: `ap materialize p raw_x`"),
    (_dropped_by_hand, "t: table t was dropped at snapshot 3, outside any recorded run. Mend: "
                       "`ap materialize p t`"),
    (_emptied_by_hand, "t: table t changed at snapshot 4, outside any recorded run. Mend: "
                       "`ap materialize p t`"),
    (_view_by_hand, "seen: table seen changed at snapshot 4, outside any recorded run. Mend: "
                    "`ap materialize p seen`"),
    (_new_by_hand, "notes: table notes changed at snapshot 3, outside any recorded run. Mend: "
                   "drop it: no asset of p makes it"),
    (_nothing, "p: nothing was ever written, so there is nothing to release. Mend: deliver "
               "files, then `ap run p`"),
]  # fmt: skip


@pytest.mark.parametrize(("state", "said"), CASES, ids=[state.__name__ for state, _ in CASES])
def test_anything_less_is_a_problem_with_its_mending_command(
    lake: Lake, state: Callable[[Lake], None], said: str
) -> None:
    first = lake.snapshot()
    assert first == 1, "the snapshots named below count from here"
    state(lake)
    found = verdict(lake)
    assert found.lines() == (said,)
    assert not found.opens


def test_all_partitions_are_listed_and_three_are_named_in_the_command(lake: Lake) -> None:
    days = [f"2013-01-0{n}" for n in range(1, 6)]
    write(lake, frame(FIRST, 1), FIRST, passed=None)
    check(lake, *days, passed=False)
    problem = verdict(lake).problems[0]
    assert problem.partitions == tuple(days)
    assert problem.mend.endswith(
        "`ap release revert p --partition 2013-01-01 --partition 2013-01-02 "
        "--partition 2013-01-03 …`"
    )
    assert str(problem).startswith("t · sound [2013-01-01 and 4 more]: failed")


def test_a_problem_of_a_whole_asset_names_no_partition() -> None:
    assert str(Problem("t", "sound", (WHOLE,), "did not run")) == "t · sound: did not run"


def test_a_whole_table_check_speaks_for_each_partition(lake: Lake) -> None:
    write(lake, frame(FIRST, 1), FIRST, SECOND, passed=None)
    check(lake)
    assert verdict(lake) == Verdict(2, (), ())


def test_a_later_result_of_either_scope_counts(lake: Lake) -> None:
    write(lake, frame(FIRST, 1), FIRST, passed=None)
    check(lake, passed=False)
    write(lake, frame(FIRST, 1), FIRST)
    assert verdict(lake).opens, "the partition's own check saw a later state"
    write(lake, frame(SECOND, 1), SECOND)
    write(lake, frame(FIRST, 1), FIRST, product="q")
    check(lake, passed=False)
    assert {problem.partitions for problem in verdict(lake).problems} == {(DAY, OTHER)}


def test_of_two_results_on_one_state_the_one_that_failed_counts(lake: Lake) -> None:
    days = [f"2013-02-{n:02d}" for n in range(1, 29)]
    write(lake, frame(FIRST, 1), FIRST)
    with lake.transaction("both scopes") as transaction:
        results = [*checks(*days, DAY), *checks(WHOLE, passed=False)]
        transaction.record_checks(results, transaction.snapshot_id)
    assert verdict(lake).problems[0].partitions == (DAY, *days)


def test_a_removed_partition_needs_no_check_and_an_unwritten_asset_is_absent(lake: Lake) -> None:
    write(lake, frame(FIRST, 1), FIRST)
    write(lake, frame(SECOND, 1), SECOND, passed=None)
    with lake.transaction("remove") as transaction:
        transaction.connection.execute("DELETE FROM lake.p.t WHERE day = '2013-01-02'")
        transaction.record_writes([WriteRecord("p", "t", OTHER, "run", 0, "removed")])
    assert verdict(lake, {**REQUIRED, "model": ["beats"]}) == Verdict(1, (), ("model",))


def test_other_products_do_not_matter(lake: Lake) -> None:
    write(lake, frame(FIRST, 1), FIRST)
    write(lake, frame(FIRST, 1), FIRST, product="q", passed=False)
    by_hand(lake, "DELETE FROM lake.q.t")
    assert verdict(lake).opens


def test_a_change_by_hand_is_not_hidden_by_a_later_write_of_another_day(lake: Lake) -> None:
    write(lake, frame(FIRST, 1), FIRST)
    write(lake, frame(SECOND, 2), SECOND)
    changed = by_hand(lake, f"UPDATE lake.p.t SET value = 9 WHERE day = '{FIRST}'")
    write(lake, frame(SECOND, 3), SECOND)
    assert verdict(lake).lines() == (
        f"t [{DAY}]: changed at snapshot {changed} outside any recorded run, and was not made "
        f"again since. Mend: `ap materialize p t --partition {DAY}`, or put back what was "
        f"released: `ap release revert p --partition {DAY}`",
    )
    write(lake, frame(SECOND, 4), SECOND)
    assert not verdict(lake).opens, "nor by the one after"
    write(lake, frame(FIRST, 1), FIRST)
    assert verdict(lake).opens, "until that day is made again"


def test_where_the_changed_days_cannot_be_told_all_of_them_count(lake: Lake) -> None:
    for day in (FIRST, SECOND):
        write(lake, frame(day, 1), day)
    by_hand(lake, "CREATE OR REPLACE TABLE lake.p.t AS SELECT * FROM lake.p.t")
    write(lake, frame(FIRST, 1), FIRST)
    assert verdict(lake).problems[0].partitions == (OTHER,)
    write(lake, frame(SECOND, 1), SECOND)
    assert verdict(lake).opens


def test_a_table_that_is_no_longer_declared_may_be_dropped(lake: Lake) -> None:
    write(lake, frame(FIRST, 1))
    write(lake, frame(FIRST, 1), asset="old")
    by_hand(lake, "DROP TABLE lake.p.old")
    assert verdict(lake).opens


def test_what_fails_on_the_whole_table_is_not_mended_by_putting_days_back(lake: Lake) -> None:
    write(lake, frame(FIRST, 1), FIRST)
    check(lake, passed=False)
    assert verdict(lake).problems[0].mend == (
        f"correct the data or the code, then `ap run p` or `ap materialize p t --partition {DAY}`"
    )


def test_a_check_that_looked_before_another_run_wrote_does_not_speak_for_that(lake: Lake) -> None:
    """Two runs at once: this one's check ends after the other has written and failed."""
    context: Any = SimpleNamespace(run=SimpleNamespace(run_id="run"))
    write(lake, frame(FIRST, 1), FIRST, passed=None)
    write(lake, frame(SECOND, 1), SECOND)
    with lake.transaction("the other run") as transaction:
        transaction.record_writes([WriteRecord("p", "t", DAY, "other", 1)])
        transaction.record_checks(checks(DAY, passed=False), transaction.snapshot_id)
    key = dg.AssetKey(["p", "t"])
    check_result(lake, context, key, "sound", passed=True, partitions=[DAY, OTHER])
    assert [problem.partitions for problem in verdict(lake).problems] == [(DAY,)]


def shown(lake: Lake, asset: str, query: str, *days: dt.date) -> None:
    """A view with days, made, recorded and checked by a run."""
    with lake.transaction("test") as transaction:
        transaction.connection.execute(f"CREATE OR REPLACE VIEW lake.p.{asset} AS {query}")
        keys = [str(day) for day in days]
        transaction.record_writes([WriteRecord("p", asset, key, "run") for key in keys])
        transaction.record_checks(checks(*keys, asset=asset), transaction.snapshot_id)


def test_a_view_is_as_new_as_what_it_reads(lake: Lake) -> None:
    """A day written again shows other rows in every view of it, which nothing has looked at."""
    required = {"t": ["sound"], "near": ["sound"], "far": ["sound"]}
    for day in (FIRST, SECOND):
        write(lake, frame(day, 1), day)
    shown(lake, "near", "FROM lake.p.t", FIRST, SECOND)
    shown(lake, "far", "SELECT n.* FROM lake.p.near n", FIRST, SECOND)
    assert verdict(lake, required) == Verdict(6, (), ())

    write(lake, frame(FIRST, 2), FIRST)
    assert verdict(lake, required).lines() == tuple(
        f"{asset} · sound [{DAY}]: is older than the data. Mend: "
        f"`ap materialize p {asset} --partition {DAY}`"
        for asset in ("near", "far")
    )
    check(lake, DAY, asset="near")
    check(lake, asset="far")
    assert verdict(lake, required).opens


def test_of_a_view_on_what_fails_only_the_cause_is_named(lake: Lake) -> None:
    required = {"t": ["sound"], "near": ["sound"]}
    write(lake, frame(FIRST, 1), FIRST)
    shown(lake, "near", "FROM lake.p.t", FIRST)
    write(lake, frame(FIRST, 2), FIRST, passed=False)
    assert [problem.asset for problem in verdict(lake, required).problems] == ["t"]


def test_a_view_whose_query_changed_shows_every_day_anew(lake: Lake) -> None:
    built: Any = [SimpleNamespace(product="p", name="near"), SimpleNamespace(product="p", name="t")]
    write(lake, frame(FIRST, 1), FIRST)
    shown(lake, "near", "FROM lake.p.t", FIRST, SECOND)
    with lake.reader() as con:
        before = view_definitions(con, "lake", "p")
        assert days_shown_anew(con, built, {}) == {}, "it was not there before"
    shown(lake, "near", "FROM lake.p.t", SECOND)
    with lake.reader() as con:
        assert days_shown_anew(con, built, before) == {}, "made again, it is the same"
    shown(lake, "near", "SELECT day, -value AS value FROM lake.p.t", SECOND)
    with lake.reader() as con:
        assert days_shown_anew(con, built, before) == {"near": [DAY, OTHER]}
