"""Dagster's web UI with one more route: the files that assets keep by content.

Belongs here: serving the file store beside the UI, so that a drift report linked from an asset
opens in the browser. Does not belong here: making files (`lake.files` keeps them) and Dagster's
own options, which are `dagster-webserver`'s: `python -m analytics_platform.webserver --help`.
"""

from __future__ import annotations

from pathlib import Path

import dagster_webserver.app
import dagster_webserver.cli
from dagster_webserver.webserver import DagsterWebserver
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from analytics_platform.lake.files import (
    URL_PREFIX,
    FileCorruptError,
    FileNotStoredError,
    FileStore,
)
from analytics_platform.settings import get_settings

CONTENT_TYPES = {
    ".csv": "text/plain; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
OTHER_CONTENT_TYPE = "application/octet-stream"

# A report runs scripts and shows values that came with the data. The sandbox gives it an origin of
# its own, so it has no access to the UI's storage or frames, and it may fetch nothing: neither
# Dagster's GraphQL nor anything on the net.
CONTENT_SECURITY_POLICY = "; ".join(
    [
        "sandbox allow-scripts allow-downloads",
        "default-src 'none'",
        "script-src 'unsafe-inline'",
        "style-src 'unsafe-inline'",
        "img-src data: blob:",
        "font-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'self'",
    ]
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # An address holds the hash of its content: what it gives never changes.
    "Cache-Control": "private, max-age=31536000, immutable",
}


def files_route(store: FileStore) -> Route:
    """The read-only route `/files/{sha256}/{name}` onto a file store.

    Every path below the prefix is the route's own: what is not the address of a stored file is
    answered with 404, where Dagster would answer any unknown path with its start page.
    """

    def serve(request: Request) -> Response:
        sha256, _, name = request.path_params["address"].partition("/")
        try:
            content = store.get(sha256, name)
        except FileNotStoredError as error:
            raise HTTPException(404, detail="No such file in the store.") from error
        except FileCorruptError as error:
            raise HTTPException(500, detail=f"Stored file {sha256} is damaged.") from error
        media_type = CONTENT_TYPES.get(Path(name).suffix.lower(), OTHER_CONTENT_TYPE)
        return Response(content, media_type=media_type, headers=HEADERS)

    return Route(f"{URL_PREFIX}/{{address:path}}", serve, methods=["GET"], name="stored-files")


class PlatformWebserver(DagsterWebserver):
    """Dagster's web server with the files of this installation."""

    def build_static_routes(self) -> list[BaseRoute]:
        """Dagster's static routes and the files; all come before the UI's catch-all route."""
        store = FileStore(get_settings().files_path)
        return [*super().build_static_routes(), files_route(store)]


def main() -> None:
    """Serve the UI, with the options and environment variables of `dagster-webserver`.

    Raises:
        RuntimeError: If this version of Dagster makes its server elsewhere: the UI would start
            without the files.
    """
    # The command has no hook for another server class; it makes the one that this module names.
    if getattr(dagster_webserver.app, "DagsterWebserver", None) is not DagsterWebserver:
        raise RuntimeError(
            "Starting the web UI: expected `dagster_webserver.app` to make a `DagsterWebserver`, "
            "found none there. This version of Dagster builds its server differently; pin the "
            "version in requirements.lock or adapt `analytics_platform/webserver.py`."
        )
    setattr(dagster_webserver.app, "DagsterWebserver", PlatformWebserver)  # noqa: B010
    dagster_webserver.cli.main()


if __name__ == "__main__":
    main()
