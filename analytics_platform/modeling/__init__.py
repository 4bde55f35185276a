"""Modeling: how good a model is, what it must show, and which version is in force.

Belongs here: the trainer's interface, evaluation, gates, the record of versions and champions. Does
not belong here: how a product learns (its `trainer.py`) and which columns it learns from.
"""

import os

# OpenMP's threads would spin while they wait for each other, and read this when they are loaded. On
# a machine that is busy besides, a training of two threads took eight times as long that way.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from analytics_platform.modeling.champions import champion
from analytics_platform.modeling.registry import ModelVersion

__all__ = ["ModelVersion", "challenger_of", "champion"]

CHALLENGER = "_challenger"


def challenger_of(model: str) -> str:
    """The asset that trains challengers of a model."""
    return model + CHALLENGER
