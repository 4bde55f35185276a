"""What all commands share: the terminal, arguments, and how an error ends a command."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

console = Console()
errors = Console(stderr=True)

Product = Annotated[str, typer.Argument(help="The product, a folder under assets/.")]


def fail(message: str) -> typer.Exit:
    """Print an error for a person and give the exit that ends the command."""
    errors.print(message, style="red", markup=False, highlight=False, soft_wrap=True)
    return typer.Exit(1)


def ap_command() -> str:
    """How a person here calls `ap`: by its name, or by its path where that is not on the PATH."""
    if shutil.which("ap"):
        return "ap"
    return os.path.relpath(Path(sys.executable).with_name("ap"))
