"""The reusable platform: everything that knows no product.

Products live in `assets/` and import from here; nothing here imports them.
"""
