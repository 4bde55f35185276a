"""A version's model, read from the store by the trainer that saved it.

A product may have another trainer by now: each version says which one is its own. Belongs here:
from a recorded version to a model that predicts. Does not belong here: which version is in force
(`champions`) and what is predicted with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from analytics_platform.lake import FileStore
from analytics_platform.modeling.registry import ModelVersion
from analytics_platform.modeling.trainer import Trainer, resolve


class UnusableVersionError(RuntimeError):
    """A version that cannot predict: its artifact or its trainer is gone, or they do not fit."""


@dataclass(frozen=True)
class LoadedModel:
    """A model, and the trainer that predicts with it.

    Attributes:
        trainer: The version's own trainer.
        model: What it loaded.
    """

    trainer: Trainer[Any, Any]
    model: Any


def load_version(version: ModelVersion, store: FileStore) -> LoadedModel:
    """The model of a version, by its own trainer, from an artifact whose hash was verified.

    Args:
        version: The version.
        store: The store of files.

    Raises:
        UnusableVersionError: If the artifact is lost or changed, or its trainer is gone or does not
            load it; says which.
        OSError: If the disk does not answer, which says nothing of the version.
    """
    path = version.declared.get("trainer", "")
    try:
        trainer = resolve(path)
        artifact = store.get(version.artifact_sha256, version.artifact_name)
        return LoadedModel(trainer, trainer.load(artifact))
    except (OSError, MemoryError):
        raise
    except Exception as error:
        # A trainer is a product's code: what it raises at an older artifact is not known here.
        raise UnusableVersionError(
            f"Loading version {version.version} of {version.model} with its trainer {path}: "
            f"{type(error).__name__}: {error}"
        ) from error
