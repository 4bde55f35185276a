"""Where airports are, and in which time zone."""
