"""A version's pictures and card, from what its training found out."""
