"""The extension works only beside the torch it was compiled against; it is not even loaded beside another."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import platform
from pathlib import Path

import torch


def check_extension() -> None:
    """Checks that pose2seg_ops._C was built for this torch and this Python, without loading it.

    Raises:
        ImportError: it was not. The message has the command that builds it.
    """
    try:
        from pose2seg_ops._build_info import TORCH_VERSION
    except ModuleNotFoundError:
        problem = "has not been built"
    else:
        if importlib.util.find_spec("pose2seg_ops._C") is None:
            problem = f"was built for another Python than this {platform.python_version()}"
        elif torch.__version__ != TORCH_VERSION:
            problem = f"was built against torch {TORCH_VERSION}, but torch {torch.__version__} is installed"
        else:
            return
    raise ImportError(
        f"The extension of pose2seg_ops {problem}. To build it for this environment:\n    {_build_command()}"
    )


def _build_command() -> str:
    checkout = Path(__file__).parents[1]
    if (checkout / "setup.py").exists():
        source = f"-e {checkout}"
    else:
        origin = importlib.metadata.distribution("pose2seg_ops").read_text("direct_url.json")
        source = json.loads(origin)["url"] if origin else "pose2seg_ops"
        if source.endswith(".whl"):  # it cannot be built again, only its source can
            source = "PATH_OR_URL_OF_THE_SOURCE"
    return f"pip install --force-reinstall --no-deps --no-cache-dir --no-binary pose2seg_ops {source}"
