"""The contract of `airports`: where an airport lies and what its clock shows.

Not every destination is in it: BQN, PSE, SJU and STT, on Puerto Rico and the Virgin Islands, are
flown to and missing.
"""

import dataframely as dy


class AirportContract(dy.Schema):
    """One row per airport of the United States."""

    airport = dy.String(
        primary_key=True, regex="^[A-Z0-9]{3}$", description="FAA code of the airport."
    )
    airport_name = dy.String(min_length=1, description="Name of the airport.")
    latitude_degrees = dy.Float64(
        min=-90, max=90, description="Latitude in degrees, north positive."
    )
    longitude_degrees = dy.Float64(
        min=-180, max=180, description="Longitude in degrees, east positive."
    )
    # The shore of the Dead Sea and the highest airport there is, Daocheng Yading.
    altitude_feet = dy.Int32(min=-1_300, max=14_500, description="Altitude in feet above the sea.")
    utc_offset_hours = dy.Int32(
        min=-12, max=14, description="Hours ahead of UTC in winter; negative is behind."
    )
    dst = dy.String(
        regex="^[AUN]$",
        description="Summer time: A as in the United States, N none, U unknown.",
    )
    time_zone = dy.String(
        nullable=True,
        regex="^[A-Z][A-Za-z]+/[A-Z][A-Za-z_]+$",
        description="IANA name of the time zone; null for a few airports.",
    )
