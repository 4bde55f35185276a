"""Environments: a lake cloned without copying data, compared, and promoted.

Belongs here: what concerns the lakes of more than one environment at once, and upkeep, which must
know them all. Does not belong here: one lake's own reading and writing (`lake`), and the gate
(`release`).
"""

from analytics_platform.environments.clone import (
    Base,
    EnvironmentExistsError,
    NotACloneError,
    Origin,
    clone,
    origin_of,
)
from analytics_platform.environments.diff import TableDiff, diff
from analytics_platform.environments.promote import OriginMovedError, Promoted, promote
from analytics_platform.environments.upkeep import (
    Freed,
    environments_beside,
    keep_up,
    missing_files,
)

__all__ = [
    "Base",
    "EnvironmentExistsError",
    "Freed",
    "NotACloneError",
    "Origin",
    "OriginMovedError",
    "Promoted",
    "TableDiff",
    "clone",
    "diff",
    "environments_beside",
    "keep_up",
    "missing_files",
    "origin_of",
    "promote",
]
