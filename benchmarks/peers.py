"""Finds other libraries to compare with."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

#: The libraries that could not be imported and the reasons, filled by `find`.
absent: dict[str, str] = {}


def find(module: str, function: str) -> dict[str, Callable[..., Any]]:
    """Returns a function of another library by the name of the library, or nothing if it cannot be
    imported."""
    library = module.partition(".")[0]
    try:
        return {library: getattr(import_module(module), function)}
    except Exception as error:  # torchvision raises RuntimeError if its build does not match torch
        absent[library] = f"{type(error).__name__}: {error}".partition("\n")[0]
        return {}
