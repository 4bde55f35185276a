"""From the address of a landing zone to the zone."""

from __future__ import annotations

from analytics_platform.arrivals.local_zone import LocalZone
from analytics_platform.arrivals.zone import LandingZone
from analytics_platform.settings import folder_of


def landing_zone(url: str) -> LandingZone:
    """The landing zone at an address.

    Args:
        url: A folder's path or `file://` address, or the address of a bucket or server that
            fsspec has a driver for, such as `s3://bucket/prefix`.

    Raises:
        ValueError: If no driver knows the address, or the driver is not installed.
    """
    folder = folder_of(url)
    if folder is not None:
        return LocalZone(folder)
    # Drivers cost up to a second to import.
    from analytics_platform.arrivals.far_zone import FarZone

    return FarZone(url)
