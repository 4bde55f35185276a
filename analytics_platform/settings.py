"""Every setting of the platform, read from the environment in one typed place.

Belongs here: what an operator may set, and the folders that follow from it. Does not belong
here: what a product declares (its `defs.yaml`) and what a run is asked to do (its config).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import unquote, urlsplit

from pydantic import Field, SecretStr
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
        landing: The landing zone, a folder or an address such as `s3://bucket/prefix`, with one
            sub-folder per product; inside `home` unless set. How to reach a bucket (keys,
            endpoint, region) is said by the usual variables, `AWS_ACCESS_KEY_ID` and so on.
        writer_wait_seconds: How long a writer waits for its turn on the lake before it gives up.
        sensor_interval_seconds: The least time between two looks at the landing zone.
        settle_seconds: How long an arrived file must have stood still before it is loaded, unless
            its source says otherwise.
        wait_for_markers: Whether files of sources that declare a marker wait for it.
        run_partitions: The most partitions that one run takes; a longer range goes in several runs.
        model_history: A file that says which trainings to repeat; set by `ap reproduce` alone.
        retention_days: How long upkeep keeps what no release needs: old snapshots of the working
            state, which a slow reader may still be reading, and logs of finished runs.
        mlflow_tracking_uri: Where trainings are logged beside the lake, such as
            `http://tracking:5000` or `sqlite:////var/lib/mlflow.db`; nowhere unless set. Needs the
            extra `mlflow`.
        alert_urls: Where alerts go: apprise URLs, parted by commas or spaces. They hold secrets,
            so nothing shows them. Without any, alerts are kept and shown by `ap alerts list`.
        alert_repeat_hours: How long an open alert is not said again.
        alert_interval_seconds: The least time between two looks of the alerter.
        alert_heartbeat_url: What hears that the alerter is alive: an http(s) address, which is
            fetched, such as that of a dead man's switch; or an apprise URL, which gets a message.
        alert_heartbeat_hours: How often it hears of it.
        ui_url: The address of the Dagster UI, for links in alerts.
    """

    model_config = SettingsConfigDict(env_prefix="AP_", frozen=True, extra="ignore")

    home: Path = PROJECT_ROOT / "data"
    environment: Environment = "local"
    landing: str | None = None
    writer_wait_seconds: float = Field(default=600.0, gt=0)
    sensor_interval_seconds: int = Field(default=30, ge=5)
    settle_seconds: float = Field(default=5.0, ge=0)
    wait_for_markers: bool = True
    run_partitions: int = Field(default=400, ge=1)
    model_history: Path | None = None
    retention_days: float = Field(default=7.0, ge=0)
    mlflow_tracking_uri: str | None = None
    alert_urls: SecretStr = SecretStr("")
    alert_repeat_hours: float = Field(default=24.0, gt=0)
    alert_interval_seconds: int = Field(default=60, ge=5)
    alert_heartbeat_url: SecretStr | None = None
    alert_heartbeat_hours: float = Field(default=24.0, gt=0)
    ui_url: str = "http://127.0.0.1:3000"

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
    def landing_url(self) -> str:
        """The landing zone: the absolute path of a folder, or the address of what is far."""
        if not self.landing:
            return str(self.root / "landing")
        folder = folder_of(self.landing)
        return self.landing if folder is None else str(folder.expanduser().resolve())

    @property
    def landing_path(self) -> Path:
        """The landing zone, where it is a folder of this machine.

        Raises:
            ValueError: If it is far.
        """
        folder = folder_of(self.landing_url)
        if folder is None:
            raise ValueError(
                f"The landing zone {self.landing_url} is no folder of this machine, and what was "
                "asked for works with a folder only. Name one in AP_LANDING."
            )
        return folder

    @property
    def dagster_home(self) -> Path:
        """Dagster's storage of runs, events and sensor state, unless `DAGSTER_HOME` is set."""
        return self.environment_path / "dagster"

    @property
    def dbt_path(self) -> Path:
        """Dbt's compiled output and the cached manifests."""
        return self.environment_path / "dbt"


def folder_of(url: str) -> Path | None:
    """The folder of this machine that a path or a `file://` address names; None of what is far.

    Raises:
        ValueError: If a `file://` address names another machine, or no absolute path.
    """
    if url.startswith("file:"):
        parts = urlsplit(url)
        if parts.netloc not in {"", "localhost"} or not parts.path.startswith("/"):
            raise ValueError(
                f"The address {url} names no folder of this machine. Write file:///an/absolute/path."
            )
        return Path(unquote(parts.path))
    return None if "://" in url else Path(url)


@cache
def get_settings() -> Settings:
    """The settings of this process, read once from its environment."""
    return Settings()
