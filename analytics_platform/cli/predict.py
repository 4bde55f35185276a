"""`ap predict`: predictions of single rows by the released champion, from JSON to JSON."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from analytics_platform.cli.terminal import Product, fail


def predict(
    product: Product,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="The model, where there are several.")
    ] = None,
) -> None:
    """Predict rows given as JSON on standard input: an object, a list, or one object a line.

    Prints a prediction a line, in the order of the rows. Where one row cannot be predicted, none
    is, and the reason is printed.
    """
    from analytics_platform import predictor
    from analytics_platform.cli.products import UnknownProductError, find_product
    from analytics_platform.lake import LakeError
    from analytics_platform.modeling.serving import ServingError

    try:
        find_product(product)
        rows = _rows(sys.stdin.read())
        with predictor(product, model=model) as ready:
            made = ready.predict(rows)
    except UnicodeDecodeError as error:
        raise fail(f"Standard input is no UTF-8: {error}.") from error
    except (UnknownProductError, LakeError, ServingError) as error:
        # One line, whatever a library below had to say.
        raise fail(" ".join(str(error).split())) from error
    for prediction in made:
        typer.echo(json.dumps(prediction))


EXPECTED = "give an object, a list of objects, or one object a line"


def _rows(text: str) -> list[dict[str, Any]]:
    """The rows of a JSON document, or of one document a line.

    Raises:
        ServingError: If it is neither, or holds anything but objects.
    """
    from analytics_platform.modeling.serving import ServingError

    # Only at the end of a line: `splitlines` parts text at characters that JSON may hold, too.
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines:
        raise ServingError(f"Standard input is empty: {EXPECTED}.")
    try:
        found = _parsed(text, "Standard input")
    except ServingError:
        # An object that goes over several lines is no row a line.
        if len(lines) == 1 or not all(line.lstrip().startswith("{") for line in lines):
            raise
        found = [_parsed(line, f"Line {number}") for number, line in enumerate(lines, start=1)]
    rows = found if isinstance(found, list) else [found]
    if not rows:
        raise ServingError(f"Standard input holds an empty list: {EXPECTED}.")
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise ServingError(
                f"Row {number} on standard input: expected an object, found {type(row).__name__}; "
                f"{EXPECTED}."
            )
    return rows


def _parsed(text: str, what: str) -> Any:
    from analytics_platform.modeling.serving import ServingError

    try:
        return json.loads(text)
    # Also of a number of thousands of digits, and of thousands of brackets.
    except (ValueError, RecursionError) as error:
        raise ServingError(f"{what} is no JSON: {error}. Expected: {EXPECTED}.") from error
