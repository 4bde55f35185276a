"""Releases: the gate that judges the working state, and the pointer that readers follow.

Belongs here: which evidence a release needs, the record of releases and refusals, reading a
release. Does not belong here: making the evidence (each room records its own checks in the lake).
"""

from analytics_platform.release.gate import Problem, Verdict, judge
from analytics_platform.release.publish import (
    GateRefusedError,
    NoReleaseError,
    Release,
    last_decision,
    latest_release,
    publish,
    released,
)

__all__ = [
    "GateRefusedError",
    "NoReleaseError",
    "Problem",
    "Release",
    "Verdict",
    "judge",
    "last_decision",
    "latest_release",
    "publish",
    "released",
]
