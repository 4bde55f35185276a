"""Scaffolding: a new source's files, made from a sample nobody here has described.

The room's public names: `prepare` decides and makes the files in memory, `write` puts them into the
project, all or none. `infer` holds the rules by which types are told, `names` those of names,
`layout` how an entry joins a YAML file. Nothing here loads Dagster, a lake or a product.
"""

from analytics_platform.scaffold.errors import SampleError, ScaffoldError
from analytics_platform.scaffold.render import NewSource
from analytics_platform.scaffold.source import Prepared, prepare, write

__all__ = ["NewSource", "Prepared", "SampleError", "ScaffoldError", "prepare", "write"]
