"""The component: a declared model as assets, and what trains it again by itself."""

import dagster as dg

from analytics_platform.components.model.champion import build_champion
from analytics_platform.components.model.declaration import ModelDeclaration
from analytics_platform.components.model.retraining import build_retraining
from analytics_platform.components.model.scoring import (
    build_outcomes,
    build_performance,
    build_predictions,
)
from analytics_platform.components.model.training import build_challenger
from analytics_platform.components.product_spec import product_of
from analytics_platform.modeling.trainer import resolve


class Model(dg.Component, ModelDeclaration):
    """A declared model as its assets: it is trained, challenged and promoted, and scores."""

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The challenger, the champion, predictions, their outcomes, and each day's performance.

        Raises:
            TrainerError: If there is no trainer at its path, or it lacks a part.
        """
        product = product_of(context.path)
        trainer = resolve(self.trainer)
        return dg.Definitions.merge(
            dg.Definitions(
                assets=[
                    build_challenger(self, product, trainer),
                    build_champion(self, product),
                    build_predictions(self, product, trainer),
                    build_outcomes(self, product, trainer.label),
                    build_performance(self, product, trainer.label),
                ]
            ),
            build_retraining(self, product),
        )
