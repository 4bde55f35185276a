"""What became of the flights of a day, delivered the morning after."""
