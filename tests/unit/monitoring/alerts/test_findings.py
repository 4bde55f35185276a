"""What the newest results of checks say is wrong, from records written by hand."""

from __future__ import annotations

import pytest

from analytics_platform.lake import CheckRecord, Lake, WriteRecord
from analytics_platform.monitoring.alerts.findings import (
    asset_link,
    check_findings,
    run_link,
)

UI = "http://127.0.0.1:3000"
KNOWN = {("fct", "one_row"), ("fct", "usual"), ("cancelled", "in_control"), ("raw", "have_arrived")}

Result = tuple[str, str, str, bool, bool, dict[str, object]]


def record(lake: Lake, *results: Result) -> None:
    with lake.transaction("record") as transaction:
        transaction.record_checks(
            [
                CheckRecord("shop", asset, check, partition, passed, blocking, "run", detail)
                for asset, check, partition, passed, blocking, detail in results
            ],
            transaction.snapshot_id - 1,
        )


def findings(lake: Lake) -> list[tuple[str, str, str, str, frozenset[str]]]:
    with lake.reader() as con:
        found = check_findings(con, "shop", UI, KNOWN, {"have_arrived"})
    return [(f.identity.kind, f.identity.subject, f.severity, f.summary, f.news) for f in found]


def test_a_blocking_check_is_wrong_while_any_day_fails_it(lake: Lake) -> None:
    record(
        lake,
        ("fct", "one_row", "2013-02-07", False, True, {"failed_rows": 3, "message": ""}),
        ("fct", "one_row", "2013-02-08", False, True, {"failed_rows": 5}),
        ("fct", "one_row", "2013-02-09", True, True, {}),
    )
    assert findings(lake) == [
        ("check", "fct.one_row", "error", "2013-02-08, 2013-02-07; failed rows: 5",
         frozenset({"2013-02-07", "2013-02-08"})),
    ]  # fmt: skip

    record(lake, ("fct", "one_row", "2013-02-08", True, True, {}))
    assert findings(lake)[0][3] == "2013-02-07; failed rows: 3"
    with lake.transaction("take the day out") as transaction:
        transaction.record_writes([WriteRecord("shop", "fct", "2013-02-07", "run", kind="removed")])
    assert findings(lake) == [], "what was taken out holds back nothing"


def test_a_check_that_warns_is_wrong_while_the_newest_day_fails_it(lake: Lake) -> None:
    record(
        lake,
        ("fct", "usual", "2013-02-07", False, False, {"rows": 3}),
        ("fct", "usual", "2013-02-08", True, False, {}),
    )
    assert findings(lake) == []
    record(lake, ("fct", "usual", "2013-02-09", False, False, {"rows": 4}))
    assert findings(lake) == [("check", "fct.usual", "warning", "2013-02-09; rows: 4", frozenset())]


@pytest.mark.parametrize(
    ("partition", "detail", "news"),
    [
        pytest.param("2013-02-09", {"rule": "beyond 3 sigma"}, {"2013-02-09"}, id="by partition"),
        pytest.param("", {"points": ["2013-02-08", "2013-02-09"]}, {"2013-02-08", "2013-02-09"},
                     id="by its points"),
    ],
)  # fmt: skip
def test_each_new_point_out_of_control_is_news(
    lake: Lake, partition: str, detail: dict[str, object], news: set[str]
) -> None:
    record(lake, ("cancelled", "in_control", partition, False, False, detail))
    ((kind, subject, severity, summary, found),) = findings(lake)
    assert (kind, subject, severity) == ("chart", "cancelled.in_control", "warning")
    assert found == news
    assert all(day in summary for day in news)


def test_a_list_is_written_as_people_write_one(lake: Lake) -> None:
    record(lake, ("fct", "usual", "", False, False, {"out_of_control": ["one [1]", "two"]}))
    assert findings(lake)[0][3] == "out of control: one [1]; two"


def test_each_file_that_never_came_is_news_and_named(lake: Lake) -> None:
    files = [f"weather/weather_2013-01-{day:02}.parquet" for day in (1, 2, 3, 4)]
    record(lake, ("raw", "have_arrived", "", False, False, {"files": 4, "first": files}))
    ((kind, _, _, summary, news),) = findings(lake)
    assert kind == "arrival"
    assert summary == f"4 files: {', '.join(files[:3])} and 1 more"
    assert news == frozenset(files)


def test_of_files_that_are_too_many_to_name_their_number_is_news(lake: Lake) -> None:
    files = [f"weather/weather_{number:04}.parquet" for number in range(5)]
    for count in (7, 8):
        record(lake, ("raw", "have_arrived", "", False, False, {"files": count, "first": files}))
        ((_, _, _, summary, news),) = findings(lake)
        assert summary == f"{count} files: {', '.join(files[:3])} and {count - 3} more"
        assert news == {*files, f"{count} files"}


def test_a_check_that_is_no_more_is_history(lake: Lake) -> None:
    record(lake, ("fct", "of_another_time", "", False, True, {}))
    assert findings(lake) == []


def test_links_are_those_of_the_ui() -> None:
    # The forms that Dagster 1.13's UI routes: path:"/runs/:runId", and an asset's page with
    # view=checks and checkDetail=<name>.
    assert run_link(f"{UI}/", "0c3a") == f"{UI}/runs/0c3a"
    assert asset_link(UI, "shop", "fct", "one row?") == (
        f"{UI}/assets/shop/fct?view=checks&checkDetail=one+row%3F"
    )
    assert asset_link("https://ui.example.org/dagster", "shop", "a/b") == (
        "https://ui.example.org/dagster/assets/shop/a%2Fb"
    )
