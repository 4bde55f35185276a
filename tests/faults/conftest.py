"""What the tests of kills and of a full disk share."""

from collections.abc import Iterator

import pytest

from tests.faults.actions import one_thread
from tests.faults.installation import PRELOAD
from tests.faults.stepper import Stepper


@pytest.fixture(scope="module")
def stepper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stepper]:
    """A process that has the platform loaded and takes its calls step by step."""
    with one_thread(), Stepper(tmp_path_factory.mktemp("stepper"), PRELOAD) as started:
        yield started
