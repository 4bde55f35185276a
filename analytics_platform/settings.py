"""Every setting of the platform, read from the environment in one typed place.

Belongs here: what an operator may set, and the folders that follow from it. Does not belong
here: what a product declares (its `defs.yaml`) and what a run is asked to do (its config).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal, get_args

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

PROJECT_ROOT = Path(__file__).resolve().parents[1]

Environment = Literal["local", "staging", "production"]
ENVIRONMENTS: tuple[Environment, ...] = get_args(Environment)


class Settings(BaseSettings):
    """Settings of one installation; each is an environment variable `AP_<NAME>`.

    Attributes:
        home: The folder that holds everything the platform writes: lakes, landing zone, files,
            Dagster's storage and caches. Deleting it resets the installation.
        environment: Which lake and which Dagster storage a process works with. The landing zone
            and the files, which never change, are shared by all.
        landing: The landing zone, a folder with one sub-folder per product; inside `home`
            unless set.
        writer_wait_seconds: How long a writer waits for its turn on the lake before it gives up.
        sensor_interval_seconds: The least time between two looks at the landing zone.
        retention_days: How long upkeep keeps what no release needs: old snapshots of the working
            state, which a slow reader may still be reading, and logs of finished runs.
    """

    model_config = SettingsConfigDict(env_prefix="AP_", frozen=True, extra="ignore")

    home: Path = PROJECT_ROOT / "data"
    environment: Environment = "local"
    landing: Path | None = None
    writer_wait_seconds: float = Field(default=600.0, gt=0)
    sensor_interval_seconds: int = Field(default=30, ge=5)
    retention_days: float = Field(default=7.0, ge=0)

    @property
    def root(self) -> Path:
        """The home folder, absolute: Dagster and dbt run from other working folders."""
        return self.home.expanduser().resolve()

    @property
    def environment_path(self) -> Path:
        """The folder of this environment: its lakes and Dagster's storage."""
        return self.root / self.environment

    def of(self, environment: Environment) -> Settings:
        """The same installation's settings for another environment."""
        return self.model_copy(update={"environment": environment})

    @property
    def files_path(self) -> Path:
        """The folder of files kept by content hash: reports, plots, model artifacts."""
        return self.root / "files"

    @property
    def landing_path(self) -> Path:
        """The landing zone."""
        return (self.landing or self.root / "landing").expanduser().resolve()

    @property
    def dagster_home(self) -> Path:
        """Dagster's storage of runs, events and sensor state, unless `DAGSTER_HOME` is set."""
        return self.environment_path / "dagster"

    @property
    def dbt_path(self) -> Path:
        """Dbt's compiled output and the cached manifests."""
        return self.environment_path / "dbt"


@cache
def get_settings() -> Settings:
    """The settings of this process, read once from its environment."""
    return Settings()
