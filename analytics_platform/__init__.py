"""A DataOps platform on Dagster: checked arrivals, dbt on DuckLake, models, drift, releases.

For consumers: `released("flight_delays")` opens the product's release, and
`predictor("flight_delays")` its champion for rows one at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analytics_platform.modeling.serving import ReleasedPredictor
    from analytics_platform.release import ReleasedProduct
    from analytics_platform.settings import Environment

__all__ = ["predictor", "released"]


def released(
    product: str, *, release: int | None = None, environment: Environment | None = None
) -> ReleasedProduct:
    """Open what readers of a product see: a read-only DuckDB connection, and a Polars scan.

    It stays at that release for as long as it is open, and holds nothing back.

    Args:
        product: The product's name.
        release: An earlier release's number; the one in force unless given.
        environment: The environment; the one of the settings unless given.

    Raises:
        NoReleaseError: If there is no such release.
    """
    from analytics_platform.lake import FileStore, Lake
    from analytics_platform.release import ReleasedProduct, ReleaseLog
    from analytics_platform.settings import get_settings

    settings = get_settings() if environment is None else get_settings().of(environment)
    store = FileStore(settings.files_path)
    log = ReleaseLog(Lake.from_settings(settings), store, product)
    return ReleasedProduct(log.serving() if release is None else log.release(release), store)


def predictor(
    product: str, *, model: str | None = None, environment: Environment | None = None
) -> ReleasedPredictor:
    """Open the released champion of a product, for a service that predicts rows as they come.

    It stays at the release that is in force now; open another to follow the next one. Use it as a
    context manager, or close it.

    Args:
        product: The product's name.
        model: The model, where the product has several.
        environment: The environment; the one of the settings unless given.

    Raises:
        NoReleaseError: If there is no release.
        ServingError: If the release has no such champion, or it serves batches only.
    """
    from analytics_platform.lake import FileStore
    from analytics_platform.modeling.serving import ReleasedPredictor
    from analytics_platform.release.provenance import read_manifest
    from analytics_platform.settings import get_settings

    settings = get_settings() if environment is None else get_settings().of(environment)
    store = FileStore(settings.files_path)
    reader = released(product, environment=environment)
    try:
        manifest = read_manifest(store, reader.release.manifest)
        return ReleasedPredictor.open(manifest["models"], model, store, reader)
    except BaseException:
        reader.close()
        raise
