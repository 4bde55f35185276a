"""A landing zone for each test."""

from pathlib import Path

import pytest

from analytics_platform.lake import FileStore, Lake
from tests.unit.arrivals.sales import Shop


@pytest.fixture
def shop(tmp_path: Path, lake: Lake, store: FileStore) -> Shop:
    """A landing zone with nothing in it."""
    return Shop(tmp_path, lake, store)
