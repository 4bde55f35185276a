"""Airlines, airports and aircraft, delivered when they change."""
