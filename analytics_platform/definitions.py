"""The code location: the only entry point of Dagster, which assembles and holds no asset code."""

import dagster as dg

from analytics_platform.components.alerts import alert_definitions
from analytics_platform.components.receipts import RESOURCE, ReceiptResource, with_receipts
from analytics_platform.components.upkeep import upkeep_definitions
from analytics_platform.lake.io_manager import LakeIOManager, LakeResource
from analytics_platform.settings import PROJECT_ROOT


@dg.definitions
def defs() -> dg.Definitions:
    """Everything under `assets/`, upkeep, alerts, the lake, receipts, and one process per run.

    A process per step would cost 6 to 10 s each; ten empty assets take 9 s in one process and
    98 s with one process each (docs/adr/0001).
    """
    lake = LakeResource()
    return with_receipts(
        dg.Definitions.merge(
            dg.load_from_defs_folder(path_within_project=PROJECT_ROOT / "assets"),
            upkeep_definitions(),
            alert_definitions(),
            dg.Definitions(
                resources={
                    "lake": lake,
                    "io_manager": LakeIOManager(resource=lake),
                    RESOURCE: ReceiptResource(lake=lake),
                },
                executor=dg.in_process_executor,
            ),
        )
    )
