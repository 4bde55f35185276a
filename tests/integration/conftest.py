"""A product that really runs: real files, a real lake, a real Dagster instance."""

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from rich.console import Console

from analytics_platform.lake import FileStore, Lake
from analytics_platform.release import ReleaseLog
from analytics_platform.settings import Settings, get_settings
from assets.flight_delays.delivery import deliver

PRODUCT = "flight_delays"


@pytest.fixture
def landing(settings: Settings) -> Path:
    """The product's landing zone."""
    return settings.landing_path / PRODUCT


@pytest.fixture
def arrive(landing: Path) -> Callable[[str, str], None]:
    """Deliver the files of some days."""

    def deliver_days(first: str, last: str) -> None:
        deliver(landing, dt.date.fromisoformat(first), dt.date.fromisoformat(last))

    return deliver_days


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[[], tuple[bool, str]]:
    """Run what is behind, as `ap run` does; gives success and what was printed."""
    from analytics_platform.cli.run import run_product

    monkeypatch.setenv("DAGSTER_HOME", str(settings.dagster_home))

    def run_all() -> tuple[bool, str]:
        console = Console(record=True, width=200, quiet=False, file=_Nowhere())
        succeeded = run_product(PRODUCT, console)
        return succeeded, console.export_text()

    return run_all


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.RepositoryDefinition]:
    """The code location, loaded once; what it runs on is each test's own home."""
    patch = pytest.MonkeyPatch()
    patch.setenv("AP_HOME", str(tmp_path_factory.mktemp("loaded")))
    get_settings.cache_clear()
    from analytics_platform.definitions import defs

    yield defs().get_repository_def()
    patch.undo()
    get_settings.cache_clear()


@pytest.fixture
def materialize(
    repository: dg.RepositoryDefinition, settings: Settings
) -> Callable[[str, str, str], tuple[bool, str]]:
    """Materialise some days of an asset in this process; gives success and the failure's text."""

    def run_asset(asset: str, first: str, last: str) -> tuple[bool, str]:
        result = repository.get_job(f"{PRODUCT}_daily").execute_in_process(
            asset_selection=[dg.AssetKey([PRODUCT, asset])],
            tags={
                "dagster/asset_partition_range_start": first,
                "dagster/asset_partition_range_end": last,
            },
            raise_on_error=False,
        )
        failures = [
            event.step_failure_data.user_failure_data.description or ""
            for event in result.filter_events(lambda event: event.is_step_failure)
            if event.step_failure_data.user_failure_data is not None
        ]
        return result.success, "\n".join(failures)

    return run_asset


@pytest.fixture
def log(lake: Lake, settings: Settings) -> ReleaseLog:
    """The product's release log."""
    return ReleaseLog(lake, FileStore(settings.files_path), PRODUCT)


class _Nowhere:
    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        """Nothing is kept."""
