"""The PEP 517 and 660 hooks of setuptools, except that they find the torch that is already installed.

The extension works only with the torch it was compiled against, and that has to be the one of the environment
it is installed into, which build isolation hides.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import build_sdist as build_sdist  # needs no torch

import build_config


def get_requires_for_build_sdist(config_settings: Any = None) -> list[str]:
    return []


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    # Not asked of setuptools: to answer, it would run setup.py, which needs torch already.
    _reach_torch()
    return [] if build_config.torch_release() else [build_config.torch_requirement()]


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: Any = None) -> str:
    _reach_torch()
    return build_meta.prepare_metadata_for_build_wheel(metadata_directory, config_settings)


def build_wheel(
    wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None
) -> str:
    _reach_torch()
    return build_meta.build_wheel(wheel_directory, config_settings, metadata_directory)


def build_editable(
    wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None
) -> str:
    _reach_torch()
    return build_meta.build_editable(wheel_directory, config_settings, metadata_directory)


get_requires_for_build_editable = get_requires_for_build_wheel
prepare_metadata_for_build_editable = prepare_metadata_for_build_wheel


def _reach_torch() -> None:
    """Appends what the environment's own Python imports from: at the end, so that it hides no build tool."""
    command = [sys.executable, "-E", "-c", "import sys; print(*sys.path[1:], sep='\\n')"]
    environment = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    sys.path += [path for path in environment if path not in sys.path]
