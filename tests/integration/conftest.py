"""A product that really runs: real files, a real lake, a real Dagster instance."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from analytics_platform.settings import Settings
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


class _Nowhere:
    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        """Nothing is kept."""
