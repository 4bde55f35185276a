"""Pictures for people, as PNG, drawn by Altair without a browser.

Belongs here: what all pictures share: their look, and how frames become their data. Does not belong
here: what a picture shows (`modeling.plots`, `monitoring.spc.plot`).
"""

from __future__ import annotations

from typing import Any

import polars as pl

WIDTH, HEIGHT = 520, 320
SCALE = 1.5


def values(frame: pl.DataFrame) -> Any:
    """The rows of a frame as a picture's data."""
    import altair as alt

    return alt.Data(values=frame.to_dicts())


def png(chart: Any, title: Any, *, width: int | None = WIDTH, height: int | None = HEIGHT) -> bytes:
    """Draw an Altair chart.

    Args:
        chart: The chart.
        title: What it shows, above it: a text, or Altair's `TitleParams`.
        width: In pixels before scaling; None where the chart's parts have sizes of their own.
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
    return vl_convert.vegalite_to_png(styled.to_dict(validate=False), scale=SCALE)
