"""Pictures for people, as SVG, drawn by Altair without a browser.

Belongs here: what all pictures share: their look, and how frames become their data. Does not belong
here: what a picture shows (`modeling.plots`, `monitoring.spc.plot`).
"""

from __future__ import annotations

import base64
import re
from html import escape
from typing import Any

import polars as pl

WIDTH, HEIGHT = 520, 320
SHOWN_WIDTH = 420
"""Pixels that a picture takes where a page says nothing of its size.

Dagster's page neither scales a picture nor takes HTML, and has about this much room beside the
names on a screen of 1,600 pixels; what is wider is cut off.
"""


def values(frame: pl.DataFrame) -> Any:
    """The rows of a frame as a picture's data."""
    import altair as alt

    return alt.Data(values=frame.to_dicts())


def svg(chart: Any, title: Any, *, width: int | None = WIDTH, height: int | None = HEIGHT) -> bytes:
    """Draw an Altair chart.

    Args:
        chart: The chart.
        title: What it shows, above it: a text, or Altair's `TitleParams`.
        width: Of the plot, in the drawing's own pixels; None where its parts have their own sizes.
        height: As `width`.
    """
    import vl_convert

    sizes = {} if width is None or height is None else {"width": width, "height": height}
    styled = (
        chart.properties(title=title, **sizes)
        .configure(background="white", padding=12)
        .configure_axis(labelFontSize=12, titleFontSize=12, titleFontWeight="normal")
        .configure_title(fontSize=14, anchor="start")
    )
    # Altair would hold each row of the data against its schema: most of the time of a picture.
    drawn = vl_convert.vegalite_to_svg(styled.to_dict(validate=False))
    shown, found = re.subn(
        r'^(<svg [^>]*?)width="[^"]*" height="[^"]*"', rf'\1width="{SHOWN_WIDTH}"', drawn
    )
    if not found:
        raise ValueError(f"Drawing {title!r}: expected an SVG that states its size: {drawn[:120]}")
    return shown.encode()


def image(picture: bytes, name: str) -> str:
    """A picture inside a page of its own, as an HTML element."""
    data = base64.b64encode(picture).decode()
    return f'<img alt="{escape(name)}" src="data:image/svg+xml;base64,{data}">'
