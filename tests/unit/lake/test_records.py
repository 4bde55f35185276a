"""Which partitions no check has seen: they are tried again, but not forever."""

from analytics_platform.lake import FileRecord, Lake, WriteRecord, records
from analytics_platform.lake.records import WHOLE
from tests.unit.lake.writing import FIRST, check, frame, write

DAY = str(FIRST)


def test_unverified_partitions_are_found_until_tries_run_out(lake: Lake) -> None:
    def found() -> dict[str, set[str]]:
        with lake.reader() as con:
            return records.unverified(con, "p", [("t", "sound")], tries=2)

    assert found() == {}
    write(lake, frame(FIRST, 1), FIRST, passed=None)
    assert found() == {"t": {DAY}}
    check(lake, DAY)
    assert found() == {}
    write(lake, frame(FIRST, 2), FIRST, passed=None)
    write(lake, frame(FIRST, 3), FIRST, passed=None)
    assert found() == {"t": {DAY}}
    write(lake, frame(FIRST, 4), FIRST, passed=None)
    assert found() == {}, "written three times in vain"
    check(lake, passed=False)
    assert found() == {}, "a check that failed has run"


def test_the_newest_of_each_stands_and_what_was_removed_does_not(lake: Lake) -> None:
    with lake.transaction("test") as transaction:
        transaction.record_writes([WriteRecord("p", "t", DAY, "one", 1)])
        transaction.record_writes([WriteRecord("p", "u", WHOLE, "one", 5)])
        transaction.record_writes([WriteRecord("q", "t", DAY, "one", 7)])
        transaction.record_files([FileRecord("p", "t", DAY, "r.html", "old", 1)])
    with lake.transaction("test") as transaction:
        transaction.record_writes([WriteRecord("p", "t", DAY, "two", 2)])
        transaction.record_files([FileRecord("p", "t", DAY, "r.html", "new", 2)])
    with lake.reader() as con:
        standing = records.latest_writes(con, "p").select("asset", "rows", "run_id").rows()
        files = records.latest_files(con, "p").select("name", "sha256").rows()
    assert standing == [("t", 2, "two"), ("u", 5, "one")]
    assert files == [("r.html", "new")]
    with lake.transaction("test") as transaction:
        transaction.record_writes([WriteRecord("p", "t", DAY, "three", 0, "removed")])
    with lake.reader() as con:
        assert records.latest_writes(con, "p")["asset"].to_list() == ["u"]
