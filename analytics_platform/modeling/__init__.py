"""Modeling: how good a model is, what it is measured against, and which version is in force.

Belongs here: metrics, baselines, plots, the record of versions. Does not belong here: how a product
learns (its `trainer.py`) and which columns it learns from.
"""

from analytics_platform.modeling.registry import ModelVersion, latest_version, record_version

__all__ = ["ModelVersion", "latest_version", "record_version"]
