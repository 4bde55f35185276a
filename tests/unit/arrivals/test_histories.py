"""Random histories of a landing zone: at any time, what stands is what the files say."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from analytics_platform.arrivals.checks import CONSERVED, SOURCE_CONSERVED
from analytics_platform.lake import FileStore, Lake, ledger
from tests.unit.arrivals.sales import D1, D2, Shop

NAMES = [f"sales_{day}{part}.csv" for day in (D1, D2) for part in ("", "_b")]
BAD = "bad"
names, contents = st.sampled_from(NAMES), st.sampled_from([f"{D1}x", f"{D1}y", f"{D2}x", BAD])


def text(content: str) -> str:
    """A file: of a content for a day one good row and one that breaks a rule."""
    if content == BAD:
        return "day,shop\n"
    day = content[:10]
    return f"day,shop,pieces\n{day},{content},1\n{day},{content}-,none\n"


class Landing(RuleBasedStateMachine):
    """Files come, change, are touched and tidied away; loads run, now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        lake = Lake(self.folder / "local")
        self.shop = Shop(
            self.folder,
            lake,
            FileStore(self.folder / "files"),
            pattern="sales_{partition}*.csv",
            max_quarantined_share=1.0,
        )
        with lake.reader():
            pass
        self.lies: dict[str, str] = {}
        self.settled = True

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @rule(name=names, content=contents)
    def deliver(self, name: str, content: str) -> None:
        path = self.shop.path(name)
        hidden = path.with_name(".incoming")
        hidden.write_text(text(content))
        os.replace(hidden, path)  # noqa: PTH105 - as senders do
        self.lies[name] = content
        self.settled = False

    @precondition(lambda self: self.lies)
    @rule(data=st.data())
    def touch(self, data: st.DataObject) -> None:
        os.utime(self.shop.path(data.draw(st.sampled_from(sorted(self.lies)))))

    @precondition(lambda self: self.lies)
    @rule(data=st.data())
    def tidy_away(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.lies)))
        self.shop.path(name).unlink()
        del self.lies[name]
        self.settled = False

    @rule()
    def look(self) -> None:
        self.shop.look()

    @rule(day=st.sampled_from([D1, D2]))
    def load_one_day(self, day: str) -> None:
        report = self.shop.load(day)
        assert report.passed[CONSERVED]
        assert report.passed[SOURCE_CONSERVED]
        self.settled = False

    @rule()
    def run(self) -> None:
        due = self.shop.look()
        if due:
            report = self.shop.load(*sorted(due))
            assert report.passed[CONSERVED]
            assert report.passed[SOURCE_CONSERVED]
        # What was refused makes another file the one that has a content: one more look.
        self.shop.run()
        assert self.shop.look() == {}, "the same is found due again and again"
        self.settled = True

    @invariant()
    def what_stands_is_what_the_ledger_says(self) -> None:
        standing = self.standing()
        day_of = {name: name[6:16] for name in NAMES}
        expected = sorted(
            (content[:10], content, 1)
            for name, content in standing.items()
            if content[:10] == day_of[name]
        )
        assert (self.shop.rows() if standing else []) == expected
        assert len(set(standing.values())) == len(standing), "a content stands twice"
        assert BAD not in standing.values()

    @invariant()
    def every_file_is_accounted_for(self) -> None:
        if not self.settled:
            return
        standing, status = self.standing(), self.shop.ledger().filter(is_current=True)
        told = {
            path.removeprefix("sales/"): s for path, s in status.select("path", "status").rows()
        }
        for name, content in self.lies.items():
            if content == BAD:
                assert told[name] == "rejected"
            elif told[name] == "duplicate":
                assert content in standing.values()
                assert standing.get(name) != content
            else:
                assert told[name] == "loaded"
                assert standing[name] == content

    def standing(self) -> dict[str, str]:
        """The content that stands of each name, read from the store."""
        with self.shop.lake.reader() as con:
            files = ledger.standing_files(con, "p")
        found = {}
        for file in files.iter_rows(named=True):
            stored = self.shop.store.get(file["content_sha256"], file["stored_name"]).decode()
            found[file["path"].removeprefix("sales/")] = stored.splitlines()[1].split(",")[1]
        return found


class TestShort(Landing.TestCase):
    """A few histories."""

    settings = settings(
        max_examples=5,
        stateful_step_count=10,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.load
class TestLong(Landing.TestCase):
    """Many histories."""

    settings = settings(
        max_examples=150,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
