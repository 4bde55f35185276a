"""`ap reproduce`: make a release again and print the certificate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from analytics_platform.cli.release import release_log
from analytics_platform.cli.terminal import console, fail


def reproduce(
    release: Annotated[str, typer.Argument(help="Which one: flight_delays@3.")],
    keep: Annotated[
        Path | None,
        typer.Option(help="An empty folder to work in and to keep; a temporary one unless given."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the certificate as JSON.")] = False,
) -> None:
    """Make a release again in an empty lake from its files, code and lock, and compare."""
    from analytics_platform.lake import LakeError
    from analytics_platform.release.reproduce import ReproductionError
    from analytics_platform.release.reproduce import reproduce as make_again

    product, mark, number = release.partition("@")
    if not mark or not number.isdigit():
        raise typer.BadParameter("Name a release by product and number, such as flight_delays@3.")
    log = release_log(product)
    try:
        with console.status(f"Making {release} again …"):
            certificate = make_again(log, int(number), keep)
    except (LakeError, ReproductionError) as error:
        raise fail(str(error)) from error
    if as_json:
        typer.echo(json.dumps(certificate.document(), indent=1))
    else:
        console.print(certificate.text(), highlight=False, markup=False, soft_wrap=True)
    if not certificate.is_identical:
        raise typer.Exit(1)
