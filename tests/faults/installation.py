"""What people and programs see of an installation, and the operations that change it.

Belongs here: the view of every reader, what must hold of any view, and the list of operations with
how each is prepared and in which order its effects become visible. Does not belong here: the
operations' code (`actions`), and the faults (the tests).
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analytics_platform.environments import NotACloneError, missing_files, origin_of
from analytics_platform.environments.clone import all_environments
from analytics_platform.lake import Lake, records
from analytics_platform.lake.catalog import files_of_frozen, referenced_files, scheduled_files
from analytics_platform.lake.schema_change import columns_of
from analytics_platform.release import ReleasedProduct, judge
from analytics_platform.release.provenance import read_manifest
from tests.faults.actions import (
    PRODUCT,
    REQUIRED,
    ROWS,
    TABLE,
    day_rows,
    lake_of,
    log_of,
    report,
    store_of,
)
from tests.faults.stepper import Outcome, Stepper

ACTIONS = "tests.faults.actions"
PRELOAD = (
    "duckdb",
    "polars",
    "pyarrow",
    "filelock",
    "duckdb_extensions",
    "analytics_platform.environments",
    ACTIONS,
)
ENVIRONMENTS = ("local", "staging")
D0, D1, D2, D3 = "2012-12-31", "2013-01-01", "2013-01-02", "2013-01-03"

View = dict[str, Any]
Call = tuple[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Operation:
    """One operation that faults hit.

    Attributes:
        name: What it is called on the scoreboard.
        call: The action and its arguments.
        prepare: The actions that lead to the state before.
        order: The parts of the view that it changes, in groups: those of a group change in one
            step, and the groups one after another. Without any, readers see no change at all.
        working: The version of each day in the working state of `local` afterwards.
        serving: The version of each day that readers of the release see afterwards.
        staging: The version of each day in the working state of `staging` afterwards.
        again: What the operation says when it is run again although it is done.
    """

    name: str
    call: Call
    prepare: tuple[Call, ...]
    order: tuple[frozenset[str], ...]
    working: Mapping[str, int]
    serving: Mapping[str, int] = field(default_factory=dict)
    staging: Mapping[str, int] = field(default_factory=dict)
    again: str = ""


def _write(day: str, version: int, **options: Any) -> Call:
    return ("write", {"day": day, "version": version, **options})


_TWO_DAYS = (_write(D1, 1), _write(D2, 1))
_RELEASE: Call = ("publish", {})
_RELEASED = (*_TWO_DAYS, _RELEASE)
_RELEASED_TWICE = (*_RELEASED, _write(D2, 2), _RELEASE)
_ROLLBACK: Call = ("rollback", {"to": 1})
_CLONED = (*_RELEASED, ("clone", {}))
_REMOVED_AND_WRITTEN = (
    *_CLONED,
    _write(D0, 2, environment="staging"),
    ("revert", {"day": D0, "environment": "staging"}),
    _write(D2, 2, environment="staging"),
)
_LITTERED = (
    *_RELEASED_TWICE,
    ("clone", {}),
    _write(D2, 3, environment="staging"),
    ("clone", {"replace": True}),
    _write(D2, 3, environment="staging"),
    ("keep_up", {}),
    _write(D1, 2),
    _write(D3, 1),
    _RELEASE,
    ("litter", {}),
)
_STAGING = frozenset({"staging exists", "staging lake", "staging releases", "staging origin"})
V11, V12, V13 = {D1: 1, D2: 1}, {D1: 1, D2: 2}, {D1: 1, D2: 3}

OPERATIONS = (
    Operation(
        "first write",
        _write(D1, 1),
        (),
        (frozenset({"local exists"}), frozenset({"local lake"})),
        working={D1: 1},
    ),
    Operation("write", _write(D2, 2), _TWO_DAYS, (frozenset({"local lake"}),), working=V12),
    Operation(
        "write with a new column",
        _write(D2, 2, noted=True, schema_change="add_columns"),
        _TWO_DAYS,
        (frozenset({"local lake"}),),
        working=V12,
    ),
    Operation(
        "first release",
        _RELEASE,
        _TWO_DAYS,
        (frozenset({"local releases"}),),
        working=V11,
        serving=V11,
    ),
    Operation(
        "release",
        _RELEASE,
        (*_RELEASED, _write(D2, 2)),
        (frozenset({"local releases"}),),
        working=V12,
        serving=V12,
    ),
    Operation(
        "rollback",
        _ROLLBACK,
        _RELEASED_TWICE,
        (frozenset({"local releases"}),),
        working=V12,
        serving=V11,
    ),
    Operation(
        "resume",
        ("resume", {}),
        (*_RELEASED_TWICE, _ROLLBACK),
        (frozenset({"local releases"}),),
        working=V12,
        serving=V11,
        again="not on hold",
    ),
    Operation(
        "revert",
        ("revert", {"day": D2}),
        (*_RELEASED, _write(D2, 2)),
        (frozenset({"local lake"}), frozenset({"local releases"})),
        working=V11,
        serving=V11,
    ),
    Operation(
        "clone",
        ("clone", {}),
        (*_RELEASED, _write(D2, 2)),
        (_STAGING,),
        working=V12,
        serving=V11,
        staging=V12,
        again="has a lake already",
    ),
    Operation(
        "clone over another",
        ("clone", {"replace": True}),
        (*_CLONED, _write(D2, 3, environment="staging"), _write(D2, 2), _RELEASE),
        (_STAGING - {"staging exists"},),
        working=V12,
        serving=V12,
        staging=V12,
    ),
    Operation(
        "promote",
        ("promote", {}),
        (*_CLONED, _write(D2, 2, environment="staging")),
        (
            frozenset({"local lake"}),
            frozenset({"local releases"}),
            frozenset({"staging origin"}),
        ),
        working=V12,
        serving=V12,
        staging=V12,
    ),
    Operation(
        "promote with a removal",
        ("promote", {}),
        _REMOVED_AND_WRITTEN,
        (
            frozenset({"local lake"}),
            frozenset({"local releases"}),
            frozenset({"staging origin"}),
        ),
        working=V12,
        serving=V12,
        staging=V12,
    ),
    Operation(
        "upkeep",
        ("keep_up", {}),
        _LITTERED,
        (),
        working={D1: 2, D2: 2, D3: 1},
        serving={D1: 2, D2: 2, D3: 1},
        staging=V13,
    ),
)


class Installation:
    """An installation at one path, which can be put back to the state before an operation.

    The path stays the same, because a catalog names its data by absolute paths.

    Args:
        stepper: What runs actions in children.
        folder: A folder of its own.
    """

    def __init__(self, stepper: Stepper, folder: Path) -> None:
        self.stepper = stepper
        self.home = folder / "home"
        self._kept = folder / "kept"
        self._temporary = folder / "temporary"
        self.home.mkdir(parents=True)
        self._temporary.mkdir()

    def run(self, call: Call, **faults: Any) -> Outcome:
        """Run an action in a child that sees only this installation."""
        name, args = call
        env = {"AP_HOME": str(self.home), "TMPDIR": str(self._temporary)}
        return self.stepper.run(
            f"{ACTIONS}:{name}", {"home": str(self.home), **args}, self.home, env, **faults
        )

    def prepare(self, calls: Sequence[Call]) -> None:
        """Bring about a state and keep it."""
        for call in calls:
            outcome = self.run(call)
            assert not outcome.error, outcome.error
        # A document's hash is of when it was written. Whether the folder of its first two digits
        # is there already would be chance, and the number of steps with it.
        for digits in range(256):
            (self.home / "files" / f"{digits:02x}").mkdir(parents=True, exist_ok=True)
        shutil.copytree(self.home, self._kept, symlinks=True)

    def restore(self) -> None:
        """Put the kept state back."""
        shutil.rmtree(self.home)
        shutil.copytree(self._kept, self.home, symlinks=True)

    # ---- What is seen ---------------------------------------------------------------------

    def view(self) -> View:
        """All that readers see, by parts of which each must change in one step."""
        found: View = {}
        for environment in ENVIRONMENTS:
            lake = lake_of(self.home, environment)
            found[f"{environment} exists"] = lake.exists
            found[f"{environment} lake"] = _working(lake)
            found[f"{environment} releases"] = self._releases(environment)
            found[f"{environment} origin"] = self._origin(environment)
        return found

    def _releases(self, environment: str) -> dict[str, Any]:
        log, store = log_of(self.home, environment), store_of(self.home)
        decisions = list(log.decisions())[::-1]
        made: dict[int, Any] = {}
        for release in reversed(log.releases()):
            with ReleasedProduct(release, store) as con:
                manifest = read_manifest(store, release.manifest)
                store.path(manifest["code"]["sha256"], manifest["code"]["name"])
                made[release.number] = {
                    "rows": con.execute(f"SELECT * FROM {TABLE} ORDER BY ALL").fetchall(),
                    "files": sorted(
                        store.get(entry["sha256"], entry["name"]) for entry in manifest["files"]
                    ),
                    "held": release.held,
                }
        newest = decisions[-1] if decisions else None
        serving = newest.serving if newest else None
        if serving is not None:
            assert log.serving() == serving
            assert serving.number in made
        return {
            "decisions": [
                (one.kind, one.serving.number if one.serving else 0, one.problems)
                for one in decisions
            ],
            "made": made,
            "numbers": list(made),
            "serving": serving.number if serving else 0,
            "latest": newest.latest_number if newest else 0,
            "on hold": newest.on_hold if newest else False,
        }

    def _origin(self, environment: str) -> Any:
        lake = lake_of(self.home, environment)
        try:
            origin = origin_of(lake)
        except NotACloneError:
            return None
        heads = [one.address for one in log_of(self.home, origin.environment).decisions()][::-1]
        return {
            "environment": origin.environment,
            "place": origin.place,
            "snapshot": origin.snapshot,
            # A head is a hash of when; which decision it is, is the same every time.
            "bases": {
                product: (base.origin_snapshot, base.own_snapshot, heads.index(base.head))
                for product, base in origin.bases.items()
            },
        }

    # ---- What must hold -------------------------------------------------------------------

    def problems(self, view: View) -> list[str]:
        """What is wrong with a view taken for itself, and with what lies on disk; else empty."""
        found: list[str] = []
        for environment in ENVIRONMENTS:
            lake, releases = view[f"{environment} lake"], view[f"{environment} releases"]
            found += [f"{environment}: {line}" for line in _lake_problems(lake)]
            count = len(releases["numbers"])
            if releases["numbers"] != list(range(1, count + 1)) or releases["latest"] != count:
                found.append(f"{environment}: {releases['numbers']}, latest {releases['latest']}")
            for number, made in releases["made"].items():
                found += [
                    f"{environment} release {number}: {line}"
                    for line in _row_problems(made["rows"])
                ]
                # A check of a day that was taken out may count among them.
                if made["held"] < len(versions(made["rows"])):
                    found.append(f"{environment} release {number}: held {made['held']} checks")
        if view["local exists"] or view["staging exists"]:
            missing = missing_files(lake_of(self.home), store_of(self.home))
            found += [f"missing: {path}" for path in missing]
        return found

    def locks(self) -> list[str]:
        """The turns that cannot be had at once."""
        held: list[str] = []
        for environment in ENVIRONMENTS:
            lake, log = lake_of(self.home, environment), log_of(self.home, environment)
            if not lake.folder.exists():
                continue
            for turn in (
                lake.writing("try"),
                log.changing("try"),
                all_environments(lake, "try"),
            ):
                try:
                    with turn:
                        pass
                except Exception as error:
                    held.append(repr(error))
        return held

    def left_over(self) -> list[str]:
        """Data files that neither a lake nor a release names; upkeep should have removed them."""
        needed: set[str] = set()
        found: list[Path] = []
        for environment in ENVIRONMENTS:
            lake = lake_of(self.home, environment)
            if not lake.exists:
                continue
            needed |= referenced_files(lake.catalog) | scheduled_files(lake.catalog)
            store = store_of(self.home)
            for release in log_of(self.home, environment).releases():
                needed |= files_of_frozen(
                    [store.path(release.catalog.sha256, release.catalog.name)]
                )
            found += (lake.folder.resolve() / "lakes").rglob("*.parquet")
        return [str(path) for path in found if str(path) not in needed]


def states(operation: Operation, before: View, after: View) -> list[View]:
    """Every view that readers may have between the start of an operation and its end."""
    allowed = [before]
    for group in operation.order:
        allowed.append({**allowed[-1], **{part: after[part] for part in group}})
    assert allowed[-1] == after, difference(allowed[-1], after)
    return allowed


def settled(view: View) -> View:
    """A view without what may be there twice after an operation was repeated: its own records."""
    found = dict(view)
    for environment in ENVIRONMENTS:
        lake, releases = dict(view[f"{environment} lake"]), dict(view[f"{environment} releases"])
        lake.pop("every write")
        lake.pop("every check")
        decisions = releases["decisions"]
        releases["decisions"] = [
            one
            for position, one in enumerate(decisions)
            if position == 0 or one != decisions[position - 1]
        ]
        found |= {f"{environment} lake": lake, f"{environment} releases": releases}
    return found


def versions(rows: Sequence[Sequence[Any]]) -> dict[str, int]:
    """The version of each day in rows of the table."""
    return {str(row[0]): row[2] // 1000 for row in rows}


def difference(found: View, expected: View) -> str:
    """The parts that differ, shortened."""
    lines: list[str] = []
    for part in expected:
        if found.get(part) == expected[part]:
            continue
        if isinstance(expected[part], dict) and isinstance(found.get(part), dict):
            lines += [
                f"{part}, {name}: {str(found[part].get(name))[:400]} instead of {str(value)[:400]}"
                for name, value in expected[part].items()
                if found[part].get(name) != value
            ]
        else:
            lines.append(f"{part}: {found.get(part)} instead of {expected[part]}")
    return "\n".join(lines)


def _working(lake: Lake) -> dict[str, Any]:
    empty: dict[str, Any] = {
        "columns": [], "rows": [], "every write": [], "every check": [], "writes": [],
        "checks": [], "files": [], "gate": None,
    }  # fmt: skip
    if not lake.exists:
        return empty
    with lake.reader() as con:
        # One state for all statements, and a third of the time.
        con.execute("BEGIN")
        tables = con.execute(
            "SELECT table_name FROM information_schema.tables "
            "WHERE table_catalog = 'lake' AND table_schema = ?",
            [PRODUCT],
        ).fetchall()
        if not tables:
            return empty
        assert tables == [(TABLE,)]
        verdict = judge(con, PRODUCT, REQUIRED)
        return {
            "columns": list(columns_of(con, f"lake.{PRODUCT}.{TABLE}")),
            "rows": _all(con, "*", f"{PRODUCT}.{TABLE}"),
            "every write": _all(
                con, 'snapshot_id, "partition", "rows", kind, run_id', "ops.writes"
            ),
            "every check": _all(con, 'snapshot_id, "partition", passed, run_id', "ops.checks"),
            "writes": records.latest_writes(con, PRODUCT)
            .select("partition", "rows", "kind", "run_id")
            .rows(),
            "checks": records.latest_checks(con, PRODUCT).select("partition", "passed").rows(),
            "files": records.latest_files(con, PRODUCT).select("partition", "sha256").rows(),
            "gate": (verdict.opens, verdict.held, verdict.lines()),
        }


def _all(con: Any, columns: str, table: str) -> list[tuple[Any, ...]]:
    return con.execute(f"SELECT {columns} FROM lake.{table} ORDER BY ALL").fetchall()


def _lake_problems(lake: Mapping[str, Any]) -> list[str]:
    """Where rows and records of a working state do not belong together."""
    found = _row_problems(lake["rows"])
    standing = versions(lake["rows"])
    recorded = {day: (rows, kind, run) for day, rows, kind, run in lake["writes"]}
    if recorded.keys() != standing.keys():
        found.append(f"rows of {sorted(standing)}, records of {sorted(recorded)}")
    files = dict(lake["files"])
    for day, (rows, kind, run) in recorded.items():
        version = standing.get(day, 0)
        if rows != ROWS:
            found.append(f"{day}: {rows} rows recorded")
        if kind == "written" and run != f"run of version {version}":
            found.append(f"{day}: version {version} stands, recorded is {run}")
        if kind == "written" and files[day] != hashlib.sha256(report(day, version)).hexdigest():
            found.append(f"{day}: the report is not that of version {version}")
    return found


def _row_problems(rows: Sequence[Sequence[Any]]) -> list[str]:
    """Where the rows are not, day by day, exactly those of one version."""
    found: list[str] = []
    for day, version in versions(rows).items():
        of_day = [tuple(row) for row in rows if str(row[0]) == day]
        plain = [row[:3] for row in of_day]
        noted = [row for row in of_day if len(row) > 3 and row[3] is not None]
        if plain != day_rows(day, version):
            found.append(f"{day}: not the rows of one version: {plain[:3]} … ({len(plain)} rows)")
        elif noted and noted != day_rows(day, version, noted=True):
            found.append(f"{day}: notes on some rows only")
    return found
