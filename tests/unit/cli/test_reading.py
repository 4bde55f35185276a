"""`ap sql` for programs: what it prints is what the format promises, or an error in words."""

import json

import pytest
from typer.testing import CliRunner

from analytics_platform.cli.main import app
from analytics_platform.lake import FileStore, Lake
from analytics_platform.release import publish
from tests.unit.lake.writing import FIRST, REQUIRED, frame, write


@pytest.fixture
def released(lake: Lake, store: FileStore) -> None:
    """A product with a release."""
    write(lake, frame(FIRST, 1), FIRST)
    publish(lake, store, "p", REQUIRED, "run")


@pytest.mark.usefixtures("released")
def test_json_has_null_for_what_is_no_number() -> None:
    query = "SELECT 'nan'::DOUBLE AS x, {'a': ['inf'::DOUBLE, 1.5]} AS s, DATE '2013-01-01' AS d"
    told = CliRunner().invoke(app, ["sql", "p", query, "--json"])

    def refuse(word: str) -> None:
        raise AssertionError(word)

    assert json.loads(told.stdout, parse_constant=refuse) == [
        {"x": None, "s": {"a": [None, 1.5]}, "d": "2013-01-01"}
    ]


@pytest.mark.usefixtures("released")
def test_what_a_format_cannot_hold_is_an_error_and_no_traceback() -> None:
    told = CliRunner().invoke(app, ["sql", "p", "SELECT [1, 2] AS l", "--format", "csv"])
    assert told.exit_code == 1
    assert isinstance(told.exception, SystemExit)
    assert "nested" in told.stderr
