"""Day-ahead flight delays from New York: the product that the platform ships with."""
