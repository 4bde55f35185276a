"""A DataOps platform on Dagster: checked arrivals, dbt on DuckLake, models, drift, releases.

For consumers: `released("flight_delays")` opens the product's release.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analytics_platform.release import ReleasedProduct
    from analytics_platform.settings import Environment

__all__ = ["released"]


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
