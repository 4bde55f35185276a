"""The hourly weather of a day, delivered the evening before."""
