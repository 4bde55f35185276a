"""The `Model` component: a model that is trained, challenged, promoted, and scores.

Belongs here: a declared model as assets, checks, a schedule and a sensor. Does not belong here:
how something is measured and decided (`analytics_platform.modeling`).
"""

from analytics_platform.components.model.component import Model

__all__ = ["Model"]
