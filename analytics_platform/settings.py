"""Every setting of the platform, read from the environment in one typed place.

Belongs here: what an operator may set, and the folders that follow from it. Does not belong
here: what a product declares (its `defs.yaml`) and what a run is asked to do (its config).
"""

from functools import cache
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

PROJECT_ROOT = Path(__file__).resolve().parents[1]


class Settings(BaseSettings):
    """Settings of one installation; each is an environment variable `AP_<NAME>`.

    Attributes:
        home: The folder that holds everything the platform writes: lake, landing zone, files,
            Dagster's storage and caches. Deleting it resets the installation.
        landing: The landing zone, a folder with one sub-folder per product; inside `home`
            unless set.
        writer_wait_seconds: How long a writer waits for its turn on the lake before it gives up.
        sensor_interval_seconds: The least time between two looks at the landing zone.
    """

    model_config = SettingsConfigDict(env_prefix="AP_", frozen=True, extra="ignore")

    home: Path = PROJECT_ROOT / "data"
    landing: Path | None = None
    writer_wait_seconds: float = Field(default=600.0, gt=0)
    sensor_interval_seconds: int = Field(default=30, ge=5)

    @property
    def root(self) -> Path:
        """The home folder, absolute: Dagster and dbt run from other working folders."""
        return self.home.expanduser().resolve()

    @property
    def lake_catalog(self) -> Path:
        """The SQLite file that holds the lake's catalog."""
        return self.root / "lake" / "catalog.sqlite"

    @property
    def lake_data(self) -> Path:
        """The folder of the lake's Parquet files."""
        return self.root / "lake" / "data"

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
        return self.root / "dagster"

    @property
    def dbt_path(self) -> Path:
        """Dbt's compiled output and the cached manifests."""
        return self.root / "dbt"


@cache
def get_settings() -> Settings:
    """The settings of this process, read once from its environment."""
    return Settings()
