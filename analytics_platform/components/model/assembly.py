"""A declared model as assets, and what trains it again by itself."""

import dagster as dg

from analytics_platform.components.model.champion import build_champion
from analytics_platform.components.model.declaration import Model
from analytics_platform.components.model.retraining import build_retraining
from analytics_platform.components.model.scoring import (
    build_outcomes,
    build_performance,
    build_predictions,
)
from analytics_platform.components.model.training import build_challenger
from analytics_platform.components.product_spec import product_of
from analytics_platform.modeling.trainer import resolve


def build(declared: Model, context: dg.ComponentLoadContext) -> dg.Definitions:
    """The definitions of a declared model.

    Raises:
        TrainerError: If there is no trainer at its path, or it lacks a part.
    """
    product = product_of(context.path)
    trainer = resolve(declared.trainer)
    return dg.Definitions.merge(
        dg.Definitions(
            assets=[
                build_challenger(declared, product, trainer),
                build_champion(declared, product),
                build_predictions(declared, product, trainer),
                build_outcomes(declared, product, trainer.label),
                build_performance(declared, product, trainer.label),
            ]
        ),
        build_retraining(declared, product),
    )
