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
    """Predict rows given as JSON on standard input: an object, a list, or one object a line."""
    from analytics_platform import predictor
    from analytics_platform.cli.products import UnknownProductError, find_product
    from analytics_platform.lake import LakeError
    from analytics_platform.modeling.serving import ServingError

    try:
        find_product(product)
        rows = _rows(sys.stdin.read())
        with predictor(product, model=model) as ready:
            made = ready.predict(rows)
    except (UnknownProductError, LakeError, ServingError) as error:
        raise fail(str(error)) from error
    for prediction in made:
        typer.echo(json.dumps(prediction))


def _rows(text: str) -> list[dict[str, Any]]:
    from analytics_platform.modeling.serving import ServingError

    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        try:
            found = [json.loads(line) for line in text.splitlines() if line.strip()]
        except json.JSONDecodeError as error:
            raise ServingError(
                f"Standard input is no JSON: {error}. Give an object, a list of objects, or one "
                "object a line."
            ) from error
    rows = found if isinstance(found, list) else [found]
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise ServingError("Standard input holds no rows: give an object a row.")
    return rows
