"""Random histories of writes, releases, rollbacks, clones and upkeep, against a model of dicts.

The model knows nothing of DuckLake, snapshots or files: it says what a reader should see after
each step. Belongs here: what one process does, one step after another. Does not belong here:
processes that race (`test_races`) or die (`test_kills`).
"""

from __future__ import annotations

import copy
import datetime as dt
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import duckdb
import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from analytics_platform.environments import (
    NotACloneError,
    OriginMovedError,
    clone,
    keep_up,
    missing_files,
    promote,
)
from analytics_platform.lake import (
    CheckRecord,
    FileRecord,
    FileStore,
    Lake,
    LakeError,
    SchemaChangedError,
    Transaction,
    WriteRecord,
)
from analytics_platform.lake.engine import open_duckdb
from analytics_platform.lake.records import WHOLE
from analytics_platform.release import (
    GateRefusedError,
    NoReleaseError,
    OnHoldError,
    ReleasedProduct,
    ReleaseLog,
    publish,
    resume,
    revert,
    rollback,
)
from analytics_platform.release.provenance import read_manifest

PRODUCT = "p"
REQUIRED = {"t": ["sound"], "u": ["sound"]}
COLUMNS = {"t": "day"}
DAYS = ("2024-01-01", "2024-01-02", "2024-01-03")
KEYS = (*(("t", day) for day in DAYS), ("u", WHOLE))
REPORT = "report.txt"
READERS = 3
# No retention, as upkeep finds it a minute later: what a catalog has just done with, goes.
A_MOMENT_LATER = dt.timedelta(minutes=-1)

Key = tuple[str, str]
Row = tuple[Any, ...]
Table = tuple[tuple[str, ...], list[Row]]
EnvironmentName = Literal["local", "staging"]
Checked = Literal["held", "failed", "unchecked"]

environments = st.sampled_from(["local", "local", "staging"])
checks = st.sampled_from(["held", "held", "held", "failed", "unchecked"])
some_days = st.lists(st.sampled_from(DAYS), min_size=1, max_size=3, unique=True).map(sorted)


class StoppedMidwayError(Exception):
    """What a failing asset raises."""


@dataclass(frozen=True)
class Cell:
    """What one write left in one partition."""

    value: int
    note: str | None
    report: bytes


@dataclass
class Content:
    """What stands: a cell per partition, and which tables there are and have a note."""

    cells: dict[Key, Cell] = field(default_factory=dict)
    tables: set[str] = field(default_factory=set)
    noted: set[str] = field(default_factory=set)

    def seen(self) -> dict[str, Table]:
        """The tables as a reader sees them."""
        found: dict[str, Table] = {}
        for table in sorted(self.tables):
            names = ("day", "value") if table == "t" else ("value",)
            rows: list[Row] = []
            for (asset, partition), cell in self.cells.items():
                if asset == table:
                    day = (dt.date.fromisoformat(partition),) if table == "t" else ()
                    note = (cell.note,) if table in self.noted else ()
                    rows += [(*day, cell.value, *note), (*day, -cell.value, *note)]
            found[table] = ((*names, *(["note"] if table in self.noted else [])), ordered(rows))
        return found

    def reports(self) -> dict[Key, bytes]:
        """The file of each partition."""
        return {key: cell.report for key, cell in self.cells.items()}


@dataclass(frozen=True)
class Made:
    """A release, and the moment of the model's clock at which it was made."""

    content: Content
    moment: int


@dataclass
class Model:
    """What one environment should be."""

    exists: bool = False
    content: Content = field(default_factory=Content)
    checked: dict[Key, Checked] = field(default_factory=dict)
    known: set[Key] = field(default_factory=set)
    written: int = -1
    decisions: list[tuple[str, int | None, bool]] = field(default_factory=list)
    latest: int = 0

    @property
    def serving(self) -> int | None:
        return self.decisions[-1][1] if self.decisions else None

    @property
    def on_hold(self) -> bool:
        return bool(self.decisions) and self.decisions[-1][2]

    @property
    def opens(self) -> bool:
        """Whether something stands and every check holds on it, and no check failed without it."""
        return bool(self.content.cells) and all(
            state == "held" for state in [*self.checked.values(), *self._unchecked()]
        )

    def _unchecked(self) -> list[Checked]:
        return ["unchecked" for key in self.content.cells if key not in self.checked]

    def decide(self, kind: str, serving: int | None = None, on_hold: bool | None = None) -> None:
        self.decisions.append(
            (
                kind,
                self.serving if serving is None else serving,
                self.on_hold if on_hold is None else on_hold,
            )
        )


@dataclass
class Link:
    """What binds the clone to its origin, as far as a promotion asks.

    Attributes:
        written: What the clone wrote since both were equal; the kinds matter not.
        checked: The checks that ran in the clone since.
        moved: Whether the origin was written, or a decision was made there, since.
    """

    written: set[Key] = field(default_factory=set)
    checked: set[Key] = field(default_factory=set)
    moved: bool = False


class Histories(RuleBasedStateMachine):
    """Two environments, `local` and its clone `staging`, beside their models."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="ap-histories-"))
        self.lakes: dict[str, Lake] = {
            name: Lake(self.root / name, writer_wait_seconds=5.0) for name in ("local", "staging")
        }
        self.store = FileStore(self.root / "files")
        self.models: dict[str, Model] = {"local": Model(), "staging": Model()}
        self.made: dict[int, Made] = {}
        self.link: Link | None = None
        self.clock = 0
        self.readers: list[tuple[ReleasedProduct, int]] = []
        self.look_again = True

    def teardown(self) -> None:
        try:
            self.nothing_is_missing()
        finally:
            for reader, _ in self.readers:
                reader.close()
            shutil.rmtree(self.root, ignore_errors=True)

    def log(self, environment: str) -> ReleaseLog:
        return ReleaseLog(self.lakes[environment], self.store, PRODUCT)

    @initialize(
        start=st.sampled_from(["empty", "released", "a new day", "released twice", "cloned"])
    )
    def begin(self, start: str) -> None:
        if start == "empty":
            return
        self.write("local", [*DAYS[:2]], "held", False)
        self.write_whole("local", "held", False)
        self.release()
        if start == "released twice":
            self.write("local", [DAYS[0]], "held", False)
            self.release()
        if start == "a new day":
            self.write("local", [DAYS[2]], "unchecked", False)
        if start == "cloned":
            self.clone()

    # Writing

    @rule(environment=environments, days=some_days, outcome=checks, noted=st.booleans())
    def write(self, environment: str, days: list[str], outcome: Checked, noted: bool) -> None:
        self._write(environment, [("t", day) for day in days], outcome, noted)

    @rule(environment=environments, outcome=checks, noted=st.booleans())
    def write_whole(self, environment: str, outcome: Checked, noted: bool) -> None:
        self._write(environment, [("u", WHOLE)], outcome, noted)

    @rule(
        environment=environments,
        days=some_days,
        how=st.sampled_from(["raises", "stray row", "other columns"]),
    )
    def fail(self, environment: str, days: list[str], how: str) -> None:
        """A transaction that does not come to its end changes nothing."""
        lake, model = self.lakes[environment], self.models[environment]
        model.exists = True
        snapshot = lake.snapshot()
        expected: type[Exception] = StoppedMidwayError
        frame = frame_of(
            [("t", day) for day in days], 99, "n" if "t" in model.content.noted else None
        )
        if how == "stray row":
            expected = LakeError
            stray = frame.head(1).with_columns(day=pl.date(2030, 1, 1))
            frame = pl.concat([frame, stray])
        elif how == "other columns":
            if "t" not in model.content.tables:
                return
            expected = SchemaChangedError
            frame = frame.with_columns(unheard=pl.lit(1))

        def fail(transaction: Transaction) -> None:
            transaction.replace(PRODUCT, "u", frame.select("value"), schema_change="replace")
            transaction.record_writes([WriteRecord(PRODUCT, "u", WHOLE, "failing", 1)])
            transaction.replace(PRODUCT, "t", frame, partition_column="day", partitions=days)
            raise StoppedMidwayError

        with pytest.raises(expected), lake.transaction("fail") as transaction:
            fail(transaction)
        assert lake.snapshot() == snapshot

    @rule(environment=environments, key=st.sampled_from(KEYS), passed=st.booleans())
    def check(self, environment: str, key: Key, passed: bool) -> None:
        """A check runs on its own; on what never came it can only fail, like a broken file's."""
        model = self.models[environment]
        passed = passed and key in model.content.cells
        with self.lakes[environment].transaction("check") as transaction:
            record_check(transaction, key, passed, transaction.snapshot_id - 1)
        model.exists = True
        model.known.add(key)
        model.checked[key] = "held" if passed else "failed"
        self._commit_in(environment, checked=[key])

    # Deciding

    @rule()
    def release(self) -> None:
        model = self.models["local"]
        lake = self.lakes["local"]
        model.exists = True

        def call() -> None:
            published = publish(lake, self.store, PRODUCT, REQUIRED, "run")
            assert published.is_new == is_new
            assert published.release.number == model.serving

        is_new = self._expect_release(model)
        if is_new is OnHoldError or is_new is GateRefusedError:
            with pytest.raises(is_new):
                publish(lake, self.store, PRODUCT, REQUIRED, "run")
        else:
            call()

    @precondition(lambda self: self.models["local"].serving is not None)
    @rule(to=st.none() | st.integers(1, 5))
    def roll_back(self, to: int | None) -> None:
        model = self.models["local"]
        serving = model.serving or 0
        seen = [one for _, one, _ in model.decisions if one is not None and one < serving]
        target = (seen[-1] if seen else 0) if to is None else to
        if target not in self.made:
            with pytest.raises(NoReleaseError):
                rollback(self.log("local"), to)
            return
        assert rollback(self.log("local"), to).number == target
        model.decide("rollback", serving=target, on_hold=True)
        self._decided("local")

    @rule()
    def resume(self) -> None:
        model = self.models["local"]
        if not model.on_hold:
            with pytest.raises(NoReleaseError):
                resume(self.log("local"))
            return
        resume(self.log("local"))
        model.decide("resume", on_hold=False)
        self._decided("local")

    @rule(environment=environments, days=some_days)
    def revert(self, environment: str, days: list[str]) -> None:
        model = self.models[environment]
        keys: list[Key] = [("t", day) for day in days]

        def call() -> Any:
            return revert(self.log(environment), self.store, REQUIRED, COLUMNS, days)

        if model.serving is None:
            with pytest.raises(NoReleaseError):
                call()
            return
        released = self.made[model.serving].content
        if not any(key in model.known for key in keys):
            with pytest.raises(LakeError, match="nothing to put back"):
                call()
            return
        back = [key for key in keys if key in released.cells]
        out = [key for key in keys if key not in released.cells and key in model.known]
        for key in back:
            model.content.cells[key] = released.cells[key]
        for key in out:
            model.content.cells.pop(key, None)
        model.checked.update(dict.fromkeys([*back, *out], "held"))
        model.known.update(back)
        self.clock += 1
        model.written = self.clock
        model.decide("revert")
        done = call()
        assert done.release.number == model.serving
        assert (list(done.restored), list(done.removed)) == (back, out)
        self._commit_in(environment, written=[*back, *out], checked=[*back, *out])
        self._decided(environment)
        assert done.verdict.opens == model.opens, done.verdict.lines()

    # Environments and upkeep

    @precondition(lambda self: self.models["local"].exists)
    @rule()
    def clone(self) -> None:
        clone(self.lakes["local"], self.lakes["staging"], replace=True)
        self.models["staging"] = copy.deepcopy(self.models["local"])
        self.link = Link()
        self.look_again = True

    @precondition(lambda self: self.models["local"].exists)
    @rule()
    def promote(self) -> None:
        local, staging, link = self.models["local"], self.models["staging"], self.link

        def call() -> Any:
            source, target = self.lakes["staging"], self.lakes["local"]
            return promote(source, target, self.store, PRODUCT, REQUIRED, COLUMNS)

        if link is None:
            with pytest.raises(NotACloneError):
                call()
            return
        if not staging.opens:
            with pytest.raises(GateRefusedError):
                call()
            return
        if link.moved:
            with pytest.raises(OriginMovedError):
                call()
            return
        if local.on_hold:
            with pytest.raises(OnHoldError):
                call()
            return
        after = copy.deepcopy(local)
        self._take_over(after, staging, link)
        if not after.opens:
            with pytest.raises(GateRefusedError):
                call()
            return
        self._take_over(local, staging, link)
        is_new = self._expect_release(local)
        promoted = call()
        assert promoted.published.is_new == is_new
        assert promoted.published.release.number == local.serving
        link.written, link.checked, link.moved = set(), set(), False

    def _take_over(self, local: Model, staging: Model, link: Link) -> None:
        """What the clone wrote, its evidence and its reports come to stand in the origin."""
        for key in link.written:
            if key in staging.content.cells:
                local.content.cells[key] = staging.content.cells[key]
            else:
                local.content.cells.pop(key, None)
            local.content.tables |= {key[0]} & staging.content.tables
            local.content.noted |= {key[0]} & staging.content.noted
        for key in link.checked:
            local.checked[key] = staging.checked[key]
        local.known |= link.written | link.checked
        for key in link.written - link.checked:
            # Its check held before the clone was made and is older than the write: not possible,
            # since the clone's gate is open.
            raise AssertionError(key)
        if link.written:
            self.clock += 1
            local.written = self.clock

    @rule(environment=environments)
    def keep_up(self, environment: str) -> None:
        """Upkeep that keeps nothing for anyone's sake, in a store without young files."""
        if not self.models[environment].exists:
            return
        old = time.time() - 7200
        for path in self.store.root.rglob("*"):
            if path.is_file():
                os.utime(path, (old, old))
        keep_up(self.lakes[environment], self.store, A_MOMENT_LATER)
        self._commit_in(environment)
        self.look_again = True
        self.nothing_is_missing()

    # Reading

    @precondition(lambda self: self.models["local"].serving is not None)
    @rule()
    def open_reader(self) -> None:
        if len(self.readers) == READERS:
            self.readers.pop(0)[0].close()
        reader = ReleasedProduct(self.log("local").serving(), self.store)
        self.readers.append((reader, self.models["local"].serving or 0))

    @invariant()
    def the_working_state_is_the_models(self) -> None:
        for name, model in self.models.items():
            if model.exists:
                assert working_tables(self.lakes[name]) == model.content.seen(), name

    @invariant()
    def open_readers_see_what_they_saw(self) -> None:
        for reader, number in self.readers:
            assert tables_of(reader.connection, PRODUCT) == self.made[number].content.seen(), number

    @invariant()
    def the_log_is_the_models(self) -> None:
        for name, model in self.models.items():
            if not model.exists:
                continue
            found = [
                (decision.kind, decision.serving and decision.serving.number, decision.on_hold)
                for decision in self.log(name).decisions()
            ]
            assert found[::-1] == model.decisions, name
            numbers = [release.number for release in self.log(name).releases()]
            assert numbers[::-1] == list(range(1, model.latest + 1)), name

    @invariant()
    def readers_get_the_release_that_is_served(self) -> None:
        """Looked at where a step may have changed it: a write cannot."""
        model = self.models["local"]
        if not self.look_again:
            return
        self.look_again = False
        if model.serving is None:
            with pytest.raises(NoReleaseError):
                self.log("local").serving()
            return
        release = self.log("local").serving()
        content = self.made[model.serving].content
        with ReleasedProduct(release, self.store) as product:
            assert tables_of(product.connection, PRODUCT) == content.seen()
        named = {
            (entry["asset"], entry["partition"]): self.store.get(entry["sha256"], entry["name"])
            for entry in read_manifest(self.store, release.manifest)["files"]
        }
        assert named == content.reports(), f"files of release {release.number}: {named}"

    def nothing_is_missing(self) -> None:
        """Looked at after upkeep, which alone removes files, and at the end."""
        for name, model in self.models.items():
            if model.exists:
                assert missing_files(self.lakes[name], self.store) == []

    # The model's moves

    def _write(self, environment: str, keys: Sequence[Key], outcome: Checked, noted: bool) -> None:
        lake, model = self.lakes[environment], self.models[environment]
        (asset,) = {asset for asset, _ in keys}
        partitions = [partition for _, partition in keys] if asset == "t" else None
        self.clock += 1
        noted = noted or asset in model.content.noted
        note = f"note {self.clock}" if noted else None
        frame = frame_of(keys, self.clock, note)
        with lake.transaction("write") as transaction:
            rows = transaction.replace(
                PRODUCT,
                asset,
                frame,
                partition_column=COLUMNS.get(asset),
                partitions=partitions,
                schema_change="add_columns",
            )
            assert rows == 2 * len(keys)
            transaction.record_writes(
                [WriteRecord(PRODUCT, asset, key, "run", 2) for _, key in keys]
            )
            for key in keys:
                report = f"{key} at {self.clock} in {environment}".encode()
                stored = self.store.put(report, REPORT)
                transaction.record_files(
                    [FileRecord(PRODUCT, *key, stored.name, stored.sha256, stored.size)]
                )
                model.content.cells[key] = Cell(self.clock, note, report)
                if outcome != "unchecked":
                    record_check(transaction, key, outcome == "held", transaction.snapshot_id)
                model.checked[key] = outcome
        model.exists = True
        model.written = self.clock
        model.known.update(keys)
        model.content.tables.add(asset)
        if noted:
            model.content.noted.add(asset)
        self._commit_in(environment, written=keys, checked=[] if outcome == "unchecked" else keys)

    def _expect_release(self, model: Model) -> bool | type[LakeError]:
        """What publishing should come to; the model is moved accordingly."""
        if model.on_hold or not model.opens:
            error = OnHoldError if model.on_hold else GateRefusedError
            model.decide("refusal")
            self._decided("local")
            return error
        if model.serving is not None and model.written <= self.made[model.serving].moment:
            return False
        model.latest += 1
        self.made[model.latest] = Made(copy.deepcopy(model.content), self.clock)
        model.decide("release", serving=model.latest, on_hold=False)
        self._decided("local")
        return True

    def _decided(self, environment: str) -> None:
        self.look_again = True
        if environment == "local" and self.link is not None:
            self.link.moved = True

    def _commit_in(
        self,
        environment: str,
        written: Sequence[Key] = (),
        checked: Sequence[Key] = (),
    ) -> None:
        if self.link is None:
            return
        if environment == "staging":
            self.link.written.update(written)
            self.link.checked.update(checked)
            self.link.checked.difference_update(key for key in written if key not in checked)
        elif written:
            self.link.moved = True


def frame_of(keys: Sequence[Key], value: int, note: str | None) -> pl.DataFrame:
    """Two rows per partition."""
    rows: list[Mapping[str, Any]] = [
        {
            **({"day": dt.date.fromisoformat(partition)} if partition != WHOLE else {}),
            "value": signed,
            **({"note": note} if note is not None else {}),
        }
        for _, partition in keys
        for signed in (value, -value)
    ]
    return pl.DataFrame(rows, schema_overrides={"value": pl.Int32})


def record_check(transaction: Transaction, key: Key, passed: bool, snapshot: int) -> None:
    """The result of the one check that every asset has."""
    check = CheckRecord(PRODUCT, *key[:1], "sound", key[1], passed, True, "run", {"seen": 2})
    transaction.record_checks([check], snapshot)


def ordered(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: tuple((value is None, value) for value in row))


@cache
def checker() -> duckdb.DuckDBPyConnection:
    """The connection with which the working states are read; opening one takes longest."""
    return open_duckdb()


@contextmanager
def attached(lake: Lake) -> Iterator[duckdb.DuckDBPyConnection]:
    con = checker()
    lake.attach(con, "looked_at")
    try:
        yield con
    finally:
        con.execute("DETACH looked_at")


def working_tables(lake: Lake) -> dict[str, Table]:
    with attached(lake) as con:
        return tables_of(con, "looked_at")


def tables_of(con: duckdb.DuckDBPyConnection, catalog: str) -> dict[str, Table]:
    """Every table of the product with its columns and its rows in order."""
    found: dict[str, Table] = {}
    names = con.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = ? AND schema_name = ? "
        "ORDER BY 1",
        [catalog, PRODUCT],
    ).fetchall()
    for (name,) in names:
        result = con.execute(f"FROM {catalog}.{PRODUCT}.{name}")
        columns = tuple(column[0] for column in result.description or ())
        found[name] = (columns, ordered(result.fetchall()))
    return found


class LongHistories(Histories):
    """The same, for longer."""


class Told(Histories):
    """A history that is told, not drawn."""


Step = tuple[Any, ...]
THIRD = DAYS[2]


def tell(start: str, steps: Sequence[Step]) -> None:
    """Take the steps in turn, and look at everything after each."""
    machine = Told()
    try:
        machine.begin(start)
        for name, *arguments in steps:
            getattr(machine, name)(*arguments)
            machine.the_working_state_is_the_models()
            machine.open_readers_see_what_they_saw()
            machine.the_log_is_the_models()
            machine.readers_get_the_release_that_is_served()
    finally:
        machine.teardown()


HISTORIES: dict[str, tuple[str, list[Step]]] = {
    "an open reader outlives rewrites, rollbacks and upkeep": (
        "released twice",
        [
            ("open_reader",),
            ("roll_back", None),
            ("open_reader",),
            ("write", "local", [*DAYS], "held", True),
            ("keep_up", "local"),
            ("resume",),
            ("release",),
            ("keep_up", "local"),
        ],
    ),
    "a clone of what no release had outlives its origin's rewrites and upkeep": (
        "released",
        [
            ("write", "local", [*DAYS], "held", False),
            ("clone",),
            ("write", "local", [*DAYS], "held", False),
            ("release",),
            ("keep_up", "local"),
            ("promote",),
        ],
    ),
    "two promotions of one clone, with another schema": (
        "cloned",
        [
            ("write", "staging", [DAYS[0]], "held", True),
            ("promote",),
            ("promote",),
            ("write", "staging", [THIRD], "held", True),
            ("write_whole", "staging", "held", True),
            ("promote",),
            ("write", "local", [THIRD], "held", True),
            ("write", "staging", [THIRD], "held", True),
            ("promote",),
        ],
    ),
    "a promotion into what is on hold changes nothing": (
        "released twice",
        [
            ("roll_back", None),
            ("clone",),
            ("write", "staging", [DAYS[0]], "held", False),
            ("promote",),
            ("resume",),
            ("promote",),
        ],
    ),
    "on hold nothing is released until a resume": (
        "released twice",
        [
            ("roll_back", 1),
            ("release",),
            ("write", "local", [THIRD], "held", False),
            ("release",),
            ("roll_back", 2),
            ("resume",),
            ("release",),
        ],
    ),
    "a bad day is put back and the rest goes out": (
        "released",
        [
            ("write", "local", [DAYS[0], THIRD], "held", False),
            ("write", "local", [DAYS[0]], "failed", False),
            ("release",),
            ("revert", "local", [DAYS[0]]),
        ],
    ),
    "a day that no release had is taken out and the rest goes out": (
        "a new day",
        [
            ("write", "local", [DAYS[0]], "held", False),
            ("write", "local", [THIRD], "failed", False),
            ("revert", "local", [THIRD]),
            ("release",),
            ("keep_up", "local"),
        ],
    ),
    "a revert brings the released report back": (
        "released",
        [
            ("write", "local", [DAYS[0]], "failed", False),
            ("revert", "local", [DAYS[0]]),
            ("release",),
        ],
    ),
    "a day taken out in the clone is taken out by the promotion": (
        "cloned",
        [
            ("write", "staging", [THIRD], "failed", False),
            ("revert", "staging", [THIRD]),
            ("write", "staging", [DAYS[0]], "held", False),
            ("promote",),
            ("keep_up", "staging"),
            ("keep_up", "local"),
        ],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HISTORIES)
def test_a_history_that_matters(name: str) -> None:
    tell(*HISTORIES[name])


SHORT = settings(
    max_examples=6,
    stateful_step_count=15,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    # A step takes a second on a busy machine; making a failure smaller would take minutes.
    phases=[Phase.explicit, Phase.generate],
)
LONG = settings(SHORT, max_examples=150, stateful_step_count=40, derandomize=False, print_blob=True)

Histories.TestCase.settings = SHORT
LongHistories.TestCase.settings = LONG
TestHistories = Histories.TestCase
TestLongHistories = pytest.mark.load(LongHistories.TestCase)
