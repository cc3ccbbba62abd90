"""Other libraries, where they are installed."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

#: The contenders that are left out, and why, filled by `find`.
absent: dict[str, str] = {}


def find(module: str, function: str) -> dict[str, Callable[..., Any]]:
    """The function of another library by the name of the library; nothing where that cannot be imported."""
    library = module.partition(".")[0]
    try:
        return {library: getattr(import_module(module), function)}
    except Exception as error:  # torchvision raises RuntimeError beside another build of torch
        absent[library] = f"{type(error).__name__}: {error}".partition("\n")[0]
        return {}
