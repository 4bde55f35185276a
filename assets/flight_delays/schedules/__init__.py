"""The flights planned for a day, delivered the evening before."""
