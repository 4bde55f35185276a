"""dbt inside the run's process: its manifest as assets and checks, its results as events.

Belongs here: parsing the dbt project, selecting what a run asks for, invoking dbt, and turning its
results into Dagster's. Does not belong here: SQL (it lives in `dbt_project/`).
"""

from analytics_platform.transform.manifest import DbtModel, DbtProject, DbtTest, load_project
from analytics_platform.transform.run import DbtBuild, build

__all__ = ["DbtBuild", "DbtModel", "DbtProject", "DbtTest", "build", "load_project"]
