"""What every test shares: settings that point into the test's own folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from analytics_platform.lake import FileStore, Lake
from analytics_platform.settings import Settings, get_settings


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installation's home folder, empty, that this process's settings name."""
    folder = tmp_path / "home"
    monkeypatch.setenv("AP_HOME", str(folder))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    get_settings.cache_clear()
    yield folder
    get_settings.cache_clear()


@pytest.fixture
def settings(home: Path) -> Settings:
    """The settings of the test's own home."""
    return get_settings()


@pytest.fixture
def lake(settings: Settings) -> Lake:
    """A lake of the test's own."""
    return Lake.from_settings(settings)


@pytest.fixture
def store(settings: Settings) -> FileStore:
    """A store of files of the test's own."""
    return FileStore(settings.files_path)
