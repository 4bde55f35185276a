"""What the tests of this room share."""

import pytest


@pytest.fixture(autouse=True, scope="module")
def quick_connections(trusted_extensions: None) -> None:
    """Every connection of these tests skips the check of the extensions' signatures."""
