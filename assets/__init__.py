"""The data products. This folder is what `dg` loads: a folder per product, no tests, no scripts."""
