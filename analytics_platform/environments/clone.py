"""Clone an environment's lake: its catalog is copied, its data is not.

The clone names the origin's files where they lie and writes its own into its own folder. It is
built aside and put in force in one step, so a killed clone leaves what was there before.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

from analytics_platform.lake import Lake, LakeError
from analytics_platform.lake.catalog import copy_catalog
from analytics_platform.lake.files import replace_text
from analytics_platform.lake.turn import Turn
from analytics_platform.release.log import HEAD, now, products_with_releases

ORIGIN = "origin.json"


class EnvironmentExistsError(LakeError):
    """The environment to clone into has a lake already."""


class NotACloneError(LakeError):
    """The environment was not cloned from the other, so nothing of it can be promoted there."""


@dataclass(frozen=True)
class Base:
    """Where clone and origin were last equal in a product.

    Attributes:
        origin_snapshot: The origin's snapshot then.
        own_snapshot: The clone's snapshot then.
        head: The origin's newest release decision then; empty where there was none.
    """

    origin_snapshot: int
    own_snapshot: int
    head: str


@dataclass(frozen=True)
class Origin:
    """What a clone remembers of what it was cloned from.

    Attributes:
        environment: The origin's name.
        place: The folder name of the lake that was the origin's then.
        cloned_at: When, ISO, in UTC.
        snapshot: The snapshot that was cloned.
        bases: Per product that had releases or was promoted since, where both were last equal.
    """

    environment: str
    place: str
    cloned_at: str
    snapshot: int
    bases: Mapping[str, Base] = field(default_factory=dict)

    def base(self, product: str) -> Base:
        """Where clone and origin were last equal in a product."""
        return self.bases.get(product, Base(self.snapshot, self.snapshot, ""))


def clone(source: Lake, target: Lake, *, replace: bool = False) -> Origin:
    """Make the target environment's lake a zero-copy clone of the source's.

    Args:
        source: The environment to clone.
        target: The environment to clone into.
        replace: Whether a lake that the target has may be given up. Its files go with the next
            upkeep.

    Raises:
        EnvironmentExistsError: If the target has a lake and `replace` is not given.
        LakeError: If the source has none, or both are the same.
    """
    names = f"{source.folder.name} into {target.folder.name}"
    if source.folder == target.folder:
        raise LakeError(f"Cloning {names}: an environment cannot be cloned into itself.")
    if not source.exists:
        raise LakeError(f"Cloning {names}: {source.folder.name} has no lake yet.")
    with (
        all_environments(source, f"clone {names}"),
        source.writing(f"clone {names}"),
        target.writing(f"clone {names}"),
    ):
        if target.exists and not replace and not _is_empty(target):
            raise EnvironmentExistsError(
                f"Cloning {names}: {target.folder.name} has a lake already. "
                "Give --replace to put the clone in its place."
            )
        place = target.new_place()
        copy_catalog(source.catalog, place)
        snapshot = source.snapshot()
        bases: dict[str, Base] = {}
        for product in products_with_releases(source):
            head = (source.releases / product / HEAD).read_text()
            bases[product] = Base(snapshot, snapshot, head)
            replace_text(place / "releases" / product / HEAD, head)
        origin = Origin(source.folder.name, source.place.name, now(), snapshot, bases)
        write_origin(place, origin)
        target.put_in_force(place)
    return origin


def _is_empty(lake: Lake) -> bool:
    """Whether nothing was ever written: looking at an environment makes it an empty lake."""
    with lake.reader() as con:
        return not con.execute(
            "SELECT 1 FROM lake.ops.writes UNION ALL SELECT 1 FROM lake.ops.arrivals LIMIT 1"
        ).fetchone()


def origin_of(lake: Lake) -> Origin:
    """What an environment's lake was cloned from.

    Raises:
        NotACloneError: If it is no clone.
    """
    try:
        document = json.loads((lake.place / ORIGIN).read_text())
    except FileNotFoundError as error:
        raise NotACloneError(
            f"{lake.folder.name} is no clone of another environment. Make one with `ap clone`."
        ) from error
    bases = {product: Base(**base) for product, base in document["bases"].items()}
    return Origin(**{**document, "bases": bases})


def write_origin(place: Path, origin: Origin) -> None:
    """Remember the origin of a lake, in one step."""
    replace_text(place / ORIGIN, json.dumps(asdict(origin), indent=1))


@contextmanager
def all_environments(lake: Lake, purpose: str) -> Iterator[None]:
    """Hold the turn for what concerns several environments: in it files may come to be shared."""
    with _turn_of(lake.folder.parent, lake.writer_wait_seconds).held(purpose):
        yield


@cache
def _turn_of(folder: Path, wait_seconds: float) -> Turn:
    # One object, so that a thread which holds the turn may enter it again.
    return Turn(folder / "environments.lock", wait_seconds)
