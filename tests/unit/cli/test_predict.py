"""`ap predict`: rows in, predictions out, or one line that says why not."""

import json
from types import TracebackType
from typing import Any, Self

import pytest
from typer.testing import CliRunner

from analytics_platform.cli.main import app
from analytics_platform.lake.files import FileNotStoredError
from analytics_platform.modeling.serving import ServingError


class Ready:
    """A predictor that says how many fields a row has, and refuses those without any."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None
    ) -> None: ...

    def predict(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if not all(rows):
            raise ServingError("A row\n  lacks all.")
        return [{"fields": len(row)} for row in rows]


def predict(text: str | bytes, product: str = "flight_delays") -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["predict", product], input=text)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analytics_platform.predictor", lambda _product, model: Ready())


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "b": 2}\n{"a": 1}\n',
        '[{"a": 1, "b": 2}, {"a": 1}]',
        '[\n  {"a": 1,\n   "b": 2},\n  {"a": 1}\n]\n',
        '\n{"a": 1, "b": "\u2028"}\r\n\n{"a": 1}',
    ],
    ids=["lines", "list", "pretty", "blank lines"],
)
def test_rows_come_as_a_list_or_one_a_line(text: str) -> None:
    code, out, _ = predict(text)
    assert (code, [json.loads(line) for line in out.splitlines()]) == (
        0,
        [{"fields": 2}, {"fields": 1}],
    )


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Standard input is empty: give an object, a list"),
        (" \n\n", "Standard input is empty"),
        ("flight 12", "Standard input is no JSON: Expecting value"),
        ('{"a": 1', "Standard input is no JSON: Expecting ',' delimiter"),
        ('{"a": 1}\n{"a": }\n', "Line 2 is no JSON: Expecting value"),
        ("[]", "holds an empty list"),
        ("12", "Row 1 on standard input: expected an object, found int"),
        ('[{"a": 1}, "b"]', "Row 2 on standard input: expected an object, found str"),
        ("null", "found NoneType"),
        ("{}", "A row lacks all."),
        ('{"a": ' + "9" * 5000 + "}", "is no JSON: Exceeds the limit"),
        ("[" * 100_000, "is no JSON: "),
        (b'{"a": "\xe9"}', "Standard input is no UTF-8"),
    ],
)
def test_what_is_no_row_is_told_in_a_line(text: str | bytes, said: str) -> None:
    code, out, err = predict(text)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert said in err


@pytest.mark.usefixtures("home")
def test_before_a_release_it_says_what_to_run() -> None:
    code, out, err = predict('{"a": 1}')
    assert (code, out) == (1, "")
    assert err.startswith("flight_delays has no release yet. Run `ap run flight_delays`")
    code, out, err = predict('{"a": 1}', "no_such_product")
    assert (code, out) == (1, "")
    assert "There is no product 'no_such_product'" in err


def test_a_file_that_is_gone_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_product: str, model: str | None) -> Any:
        raise FileNotStoredError("The artifact is gone.")

    monkeypatch.setattr("analytics_platform.predictor", gone)
    assert predict('{"a": 1}') == (1, "", "The artifact is gone.\n")
