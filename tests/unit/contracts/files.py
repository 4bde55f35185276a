"""Delivered files for the tests of reading: bytes on disk, and frames as the bytes of Parquet.

Belongs here: what several of those tests write. Does not belong here: a contract or its rows, which
stand beside the tests that read them.
"""

import io
from pathlib import Path

import polars as pl


def put(folder: Path, data: bytes, name: str = "booking.csv") -> Path:
    """A file of these bytes."""
    path = folder / name
    path.write_bytes(data)
    return path


def parquet(frame: pl.DataFrame) -> bytes:
    """The bytes of a Parquet file with the frame's rows."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()
