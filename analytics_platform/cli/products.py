"""Find products by name, without loading the code location where it is not needed."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from analytics_platform.components.product_spec import ProductSpec, product_of
from analytics_platform.settings import PROJECT_ROOT


class UnknownProductError(LookupError):
    """There is no such product."""


def find_product(name: str) -> ProductSpec:
    """The declaration of a product.

    Raises:
        UnknownProductError: If there is none of that name; lists those there are.
    """
    folder = PROJECT_ROOT / "assets"
    known = sorted(path.parents[1].name for path in folder.glob("*/product/defs.yaml"))
    if name not in known:
        raise UnknownProductError(
            f"There is no product {name!r} under assets/. There is: {', '.join(known)}."
        )
    return product_of(folder / name)


def delivery_of(name: str) -> Callable[..., Any]:
    """The function that writes a product's demonstration files.

    Raises:
        UnknownProductError: If the product has none.
    """
    product = find_product(name)
    if product.delivery is None:
        raise UnknownProductError(f"{name} declares no delivery; put files there by other means.")
    module, _, function = product.delivery.rpartition(".")
    return getattr(importlib.import_module(module), function)


def only_product() -> str:
    """The product, where there is just one.

    Raises:
        UnknownProductError: If there are several, or none.
    """
    folder = PROJECT_ROOT / "assets"
    known = sorted(path.parents[1].name for path in folder.glob("*/product/defs.yaml"))
    if len(known) != 1:
        raise UnknownProductError(f"Name one with --product. There is: {', '.join(known)}.")
    return known[0]
