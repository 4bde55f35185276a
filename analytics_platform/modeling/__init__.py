"""Modeling: how good a model is, what it must show, and which version is in force.

Belongs here: the trainer's interface, evaluation, gates, the record of versions and champions. Does
not belong here: how a product learns (its `trainer.py`) and which columns it learns from.
"""

from analytics_platform.modeling.champions import champion
from analytics_platform.modeling.registry import ModelVersion

__all__ = ["ModelVersion", "challenger_of", "champion"]

CHALLENGER = "_challenger"


def challenger_of(model: str) -> str:
    """The asset that trains challengers of a model."""
    return model + CHALLENGER
