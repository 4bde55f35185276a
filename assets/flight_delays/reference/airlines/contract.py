"""The contract of `airlines`: which airline a carrier code stands for."""

import dataframely as dy


class AirlineContract(dy.Schema):
    """One row per airline."""

    carrier = dy.String(
        primary_key=True,
        regex="^[A-Z0-9]{2}$",
        description="Two-character IATA code of the airline.",
    )
    airline_name = dy.String(min_length=1, description="Name of the airline.")
