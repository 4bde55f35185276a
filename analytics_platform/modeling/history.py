"""What a reproduction repeats of a model's past: trainings, champions, who scored which day.

A release holds predictions that were made by the champions of their days. To make it again, each of
these versions is trained as it was, and each day is scored by the version that scored it. Belongs
here: that record. Does not belong here: making a release again (`release.reproduce`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analytics_platform.settings import get_settings


@dataclass(frozen=True)
class RepeatedTraining:
    """A training to repeat.

    Attributes:
        version: The number it had.
        known_through: The last day whose outcomes it knew, ISO.
        params: Its parameters.
        seed: Its seed.
        note: Its note.
        trainer: Its trainer's dotted path; empty for the one that is declared.
    """

    version: int
    known_through: str
    params: Mapping[str, Any]
    seed: int
    note: str = ""
    trainer: str = ""


@dataclass(frozen=True)
class ModelHistory:
    """The past of a release's models.

    Attributes:
        trainings: Per model, the versions that the release needs, oldest first.
        champions: Per model, the version in force.
        scored: Per model and day (ISO), the version that scored it.
    """

    trainings: Mapping[str, Sequence[RepeatedTraining]] = field(default_factory=dict)
    champions: Mapping[str, int] = field(default_factory=dict)
    scored: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @classmethod
    def to_repeat(cls) -> ModelHistory | None:
        """What this process is to repeat; None unless a release is being made again."""
        path = get_settings().model_history
        return None if path is None else cls.of(json.loads(Path(path).read_text()))

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> ModelHistory:
        """What `document` gave."""
        return cls(
            {
                model: [RepeatedTraining(**training) for training in trainings]
                for model, trainings in document["trainings"].items()
            },
            document["champions"],
            document["scored"],
        )

    def document(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "trainings": {
                model: [vars(training) for training in trainings]
                for model, trainings in self.trainings.items()
            },
            "champions": dict(self.champions),
            "scored": {model: dict(days) for model, days in self.scored.items()},
        }

    def scored_by(self, model: str, day: str) -> int | None:
        """The version that scored a day; None where the release has no prediction of it."""
        return self.scored.get(model, {}).get(day)
