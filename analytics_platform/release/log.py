"""The release log: every decision on what readers of a product see, and which one holds now.

Each decision is a document in the store of files, named by its content and pointing to the one
before. The file `HEAD` names the newest; replacing it is the single step in which a release, a
refusal, a rollback becomes true. A reader sees the old state or the new one, and a process killed
at any moment leaves one of the two.

Belongs here: the documents and the pointer. Does not belong here: who may decide (`gate`).
"""

from __future__ import annotations

import datetime as dt
import getpass
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from analytics_platform.lake import FileStore, Lake, LakeError, StoredFile
from analytics_platform.lake.files import replace_text

DOCUMENT = "decision.json"
HEAD = "HEAD"

Kind = Literal["release", "refusal", "rollback", "resume", "revert"]


class NoReleaseError(LakeError):
    """The product has no such release."""


@dataclass(frozen=True)
class FileAddress:
    """Where a file stands in the store.

    Attributes:
        sha256: The hash of its content.
        name: Its name.
    """

    sha256: str
    name: str

    @classmethod
    def of(cls, stored: StoredFile) -> FileAddress:
        """The address of a file that was just stored."""
        return cls(stored.sha256, stored.name)


@dataclass(frozen=True)
class Release:
    """What readers see, unchanging.

    Attributes:
        product: The product.
        number: 1, 2, 3, …
        snapshot: The snapshot of the lake it was made of.
        released_at: When, ISO, in UTC.
        catalog: The frozen catalog, which names every table and file of data.
        manifest: What it was made of: files, code, settings, models.
        held: How many (check, partition) pairs held.
    """

    product: str
    number: int
    snapshot: int
    released_at: str
    catalog: FileAddress
    manifest: FileAddress
    held: int

    @property
    def moment(self) -> dt.datetime:
        """When it was released, in UTC."""
        return dt.datetime.fromisoformat(self.released_at)


@dataclass(frozen=True)
class Decision:
    """One entry of the log.

    Attributes:
        kind: `release` made one; `refusal` is the gate's no; `rollback` and `resume` are a
            person's; `revert` put partitions of the working state back.
        product: The product.
        snapshot: The snapshot of the working state that was looked at.
        at: When, ISO, in UTC.
        by: The account that decided.
        run_id: Dagster's run, empty for a person's command.
        note: The reason, or what came of it, in words.
        problems: Why the gate refused, line by line.
        absent: Assets of the product that were never written.
        serving: What readers see from here on; None before the first release.
        latest_number: The highest release number so far.
        on_hold: Whether a rollback stops further releases until a person resumes.
        previous: The document before, empty for the first.
    """

    kind: Kind
    product: str
    snapshot: int
    at: str
    by: str
    run_id: str = ""
    note: str = ""
    problems: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    serving: Release | None = None
    latest_number: int = 0
    on_hold: bool = False
    previous: str = ""
    address: str = field(default="", compare=False)

    @property
    def moment(self) -> dt.datetime:
        """When it was decided, in UTC."""
        return dt.datetime.fromisoformat(self.at)


class ReleaseLog:
    """The release log of one product in one environment.

    Args:
        lake: The environment's lake.
        store: The store of files.
        product: The product.
    """

    def __init__(self, lake: Lake, store: FileStore, product: str) -> None:
        self.lake = lake
        self.store = store
        self.product = product

    def newest(self) -> Decision | None:
        """The decision that holds now; None before the first."""
        address = self.head()
        return self._read(address) if address else None

    def serving(self) -> Release:
        """The release that readers see now.

        Raises:
            NoReleaseError: If there is none yet.
        """
        newest = self.newest()
        if newest is None or newest.serving is None:
            raise NoReleaseError(
                f"{self.product} has no release yet. Run `ap run {self.product}`, or "
                f"`ap status {self.product}` to see what holds one back."
            )
        return newest.serving

    def decisions(self) -> Iterator[Decision]:
        """Every decision, the newest first."""
        address = self.head()
        while address:
            decision = self._read(address)
            yield decision
            address = decision.previous

    def releases(self) -> list[Release]:
        """Every release that was made, the newest first."""
        return [
            decision.serving
            for decision in self.decisions()
            if decision.kind == "release" and decision.serving is not None
        ]

    def release(self, number: int) -> Release:
        """A release by its number.

        Raises:
            NoReleaseError: If there is none of that number; lists those there are.
        """
        made = self.releases()
        for release in made:
            if release.number == number:
                return release
        numbers = ", ".join(str(release.number) for release in reversed(made)) or "none"
        raise NoReleaseError(f"{self.product} has no release {number}; there are: {numbers}.")

    def judged_snapshot(self) -> int:
        """The snapshot of the gate's newest judgement; -1 where one is due in any case."""
        for decision in self.decisions():
            if decision.kind == "resume":
                return -1
            if decision.kind in {"release", "refusal"}:
                return decision.snapshot
        return -1

    @contextmanager
    def changing(self, purpose: str) -> Iterator[None]:
        """Hold the log's own turn, which is held for milliseconds and never with the lake's wait.

        A rollback therefore waits for no writer of the lake.
        """
        with self.lake.releases_turn.held(purpose):
            yield

    def decide(self, kind: Kind, *, snapshot: int | None = None, **changes: Any) -> Decision:
        """Make a decision true; what it does not change stays as the newest decision has it.

        The caller holds `changing` since it looked at the newest.

        Args:
            kind: What was decided.
            snapshot: The snapshot that was looked at; that of the newest decision unless said.
            changes: Other attributes of the `Decision`.
        """
        newest = self.newest()
        if snapshot is None:
            snapshot = newest.snapshot if newest is not None else -1
        decision = Decision(kind, self.product, snapshot, at=now(), by=account())
        if newest is not None:
            decision = replace(
                decision,
                serving=newest.serving,
                latest_number=newest.latest_number,
                on_hold=newest.on_hold,
                previous=newest.address,
            )
        decision = replace(decision, **changes)
        document = {key: value for key, value in asdict(decision).items() if key != "address"}
        stored = self.store.put(json.dumps(document, indent=1).encode(), DOCUMENT)
        replace_text(self.lake.releases / self.product / HEAD, stored.sha256)
        return replace(decision, address=stored.sha256)

    def head(self) -> str:
        """The address of the newest document, empty before the first."""
        try:
            return (self.lake.releases / self.product / HEAD).read_text()
        except FileNotFoundError:
            return ""

    def _read(self, address: str) -> Decision:
        document: dict[str, Any] = json.loads(self.store.get(address, DOCUMENT))
        return Decision(
            **{
                **document,
                "problems": tuple(document["problems"]),
                "absent": tuple(document["absent"]),
                "serving": _release(document["serving"]),
            },
            address=address,
        )


def products_with_releases(lake: Lake) -> list[str]:
    """The products that have a release log in a lake."""
    return sorted(path.parent.name for path in lake.releases.glob(f"*/{HEAD}"))


def now() -> str:
    """This moment, ISO, in UTC, without a zone."""
    return dt.datetime.now(dt.UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")


def account() -> str:
    """The account that runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a number that no account has.
        return f"uid {os.getuid()}"


def _release(document: Mapping[str, Any] | None) -> Release | None:
    if document is None:
        return None
    return Release(
        **{
            **document,
            "catalog": FileAddress(**document["catalog"]),
            "manifest": FileAddress(**document["manifest"]),
        }
    )
