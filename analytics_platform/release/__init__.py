"""Releases: the gate that judges the working state, and the pointer that readers follow.

Belongs here: which evidence a release needs, the log of decisions, what a release was made of,
reading one, taking one back. Does not belong here: making the evidence (each room records its own
checks in the lake).
"""

from analytics_platform.release.gate import Problem, Verdict, judge
from analytics_platform.release.log import (
    Decision,
    NoReleaseError,
    Release,
    ReleaseLog,
    products_with_releases,
)
from analytics_platform.release.publish import (
    GateRefusedError,
    OnHoldError,
    Published,
    publish,
    resume,
    rollback,
)
from analytics_platform.release.read import ReleasedProduct, attach_statement, query
from analytics_platform.release.revert import Reverted, revert

__all__ = [
    "Decision",
    "GateRefusedError",
    "NoReleaseError",
    "OnHoldError",
    "Problem",
    "Published",
    "Release",
    "ReleaseLog",
    "ReleasedProduct",
    "Reverted",
    "Verdict",
    "attach_statement",
    "judge",
    "products_with_releases",
    "publish",
    "query",
    "resume",
    "revert",
    "rollback",
]
