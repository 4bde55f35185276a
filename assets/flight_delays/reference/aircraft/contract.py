"""The contract of `aircraft`: what is known of an aircraft by its tail number.

Not every aircraft that flew is in it: for some the registry has no entry.
"""

import dataframely as dy


class AircraftContract(dy.Schema):
    """One row per registered aircraft."""

    tail_number = dy.String(
        primary_key=True, regex="^N[0-9A-Z]{1,5}$", description="Tail number of the aircraft."
    )
    manufactured_year = dy.Int32(
        nullable=True, min=1903, max=2100, description="Year of manufacture; null if unknown."
    )
    aircraft_type = dy.String(min_length=1, description="Kind of aircraft, as the registry has it.")
    manufacturer = dy.String(min_length=1, description="Manufacturer, as the registry has it.")
    model = dy.String(min_length=1, description="Model, as the registry has it.")
    engine_count = dy.Int32(min=0, max=12, description="Number of engines.")
    seats = dy.Int32(min=1, max=1_000, description="Number of seats.")
    cruise_speed_mph = dy.Int32(
        nullable=True,
        min=1,
        max=2_000,
        description="Average cruising speed in miles per hour; mostly null.",
    )
    engine_type = dy.String(min_length=1, description="Kind of engine, as the registry has it.")
