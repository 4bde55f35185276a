"""Aircraft by tail number."""
