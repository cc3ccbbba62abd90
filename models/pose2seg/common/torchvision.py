"""The command that installs torchvision without replacing the installed torch."""

import re

import torch


def torchvision_hint(torch_version: str | None = None) -> str:
    """Returns how to install torchvision, for messages: the command for this torch, if there is one.

    A plain `pip install torchvision` installs its latest release, and may replace torch by another release.

    torch_version: a version such as "2.13.0+cpu"; by default that of the imported torch.
    """
    version = str(torch.__version__) if torch_version is None else torch_version
    released = re.fullmatch(r"2\.(\d+)\.(\d+)(?:\+(cpu|cu\d+|rocm[\d.]+|xpu))?", version)
    if released is None:
        return f"none is published for torch {version}: build it from source for this torch"
    minor, patch, build = released.groups()
    index = f" --index-url https://download.pytorch.org/whl/{build}" if build else ""
    return f"pip install torchvision==0.{int(minor) + 15}.{patch} torch=={version}{index}"
