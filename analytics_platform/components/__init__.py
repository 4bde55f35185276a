"""The YAML-facing Dagster components: YAML declares, the rooms decide.

Belongs here: turning a declaration into assets, checks, jobs and sensors. Does not belong here:
what those do.
"""

from analytics_platform.components.control_chart import ControlChart
from analytics_platform.components.dbt_models import DbtModels
from analytics_platform.components.drift_monitor import DriftMonitor
from analytics_platform.components.landing_source import LandingSource
from analytics_platform.components.model import Model
from analytics_platform.components.product import DataProduct
from analytics_platform.components.product_spec import (
    check_result,
    frame_asset,
    product_of,
    run_partitions,
)

__all__ = [
    "ControlChart",
    "DataProduct",
    "DbtModels",
    "DriftMonitor",
    "LandingSource",
    "Model",
    "check_result",
    "frame_asset",
    "product_of",
    "run_partitions",
]
