"""Reading and writing weights. Nothing in a file is ever executed."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import cast, get_args

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from pose2seg.backbone import Backbone
from pose2seg.errors import InputError
from pose2seg.files import atomic_writer
from pose2seg.model import Convention, Pose2Seg

_OFFICIAL_TO_OURS = {
    "pose2seg.seg_branch.": "segnet.",
    ".conv4.": ".downsample.0.",
    ".bn4.": ".downsample.1.",
}
_BATCH_COUNT = ".num_batches_tracked"
_OFFICIAL_BUT_UNUSED = ("backbone.fpn_p4.", "backbone.fpn_p3.", "backbone.fpn_p2.")


def load_checkpoint(model: Pose2Seg, path: Path | str) -> None:
    """Give `model` the weights of a checkpoint, and the sampling convention that belongs to them.

    A file named `.safetensors` is one that `save_checkpoint` wrote. Any other is a state dict that the
    original Pose2Seg saved with torch.save, in torch 1.x or later; its head may be `segnet` or
    `pose2seg.seg_branch`.

    A pickle of this model's own state dict is refused, because it does not tell the convention.

    Raises InputError if the file is neither, or if a key is missing, unexpected or of another shape; the
    model is then unchanged. Raises OSError if the file cannot be read.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        weights, convention = _read_safetensors(path)
    else:
        weights, convention = _from_official(_read_pickle(path), path), "pose2seg"
    _fill(model, weights, path)
    model.convention = convention


def save_checkpoint(model: Pose2Seg, path: Path | str) -> None:
    """Write the model's weights and sampling convention as safetensors; the name must end in `.safetensors`.

    The file appears whole or not at all.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"path must end in .safetensors, got {path}")
    weights = {key: tensor.contiguous() for key, tensor in model.state_dict().items()}
    with atomic_writer(path) as file:
        file.write(safetensors.torch.save(weights, metadata={"convention": model.convention}))


def load_imagenet_weights(backbone: Backbone, path: Path | str) -> None:
    """Give `backbone` the weights of torchvision's ResNet-50 from ImageNet; its pyramid stays as it is.

    path: the state dict as torchvision distributes it. Raises as `load_checkpoint` does.
    """
    path = Path(path)
    weights = {key: tensor for key, tensor in _read_pickle(path).items() if not key.startswith("fc.")}
    _fill(backbone, weights, path, optional=("fpn_",))


def _from_official(weights: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    ours = {}
    for key, tensor in weights.items():
        key = key.removeprefix("module.")  # of DataParallel
        if key.startswith("backbone.") and ".downsample." in key:
            raise InputError(
                f"{path}: {key} is not a name of the official weights; a model of this package is kept with "
                "pose2seg.save_checkpoint as .safetensors, which tells its sampling convention too"
            )
        if not key.startswith(_OFFICIAL_BUT_UNUSED):
            for theirs, name in _OFFICIAL_TO_OURS.items():
                key = key.replace(theirs, name)
            ours[key] = tensor
    return ours


def _read_pickle(path: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TorchScript archives are warned of, and then refused
            weights = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        raise InputError(f"{path}: not a checkpoint that torch can load without executing code") from error
    if not isinstance(weights, dict) or not weights:
        raise InputError(f"{path}: expected a state dict (names and tensors), got {type(weights).__name__}")
    for key, tensor in weights.items():
        if not isinstance(key, str) or not isinstance(tensor, Tensor):
            raise InputError(
                f"{path}: expected a state dict (names and tensors), {key!r} is {type(tensor).__name__}"
            )
    return weights


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], Convention]:
    path.open("rb").close()  # raises OSError with the path, which safetensors leaves out
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            convention = (file.metadata() or {}).get("convention")
            keys = file.keys()
            weights = {key: file.get_tensor(key) for key in keys}
    except SafetensorError as error:
        raise InputError(f"{path}: not a safetensors file: {error}") from error
    if convention not in get_args(Convention):
        expected = ", ".join(get_args(Convention))
        raise InputError(
            f'{path}: expected metadata "convention" to be one of {expected}, got {convention!r}'
        )
    return weights, cast(Convention, convention)


def _fill(
    module: nn.Module, weights: Mapping[str, Tensor], path: Path, optional: tuple[str, ...] = ()
) -> None:
    """load_state_dict, with a readable error. Keys that start with one of `optional` may be missing.

    So may counts of batches: files older than torch 0.4.1 lack them, and nothing here uses them.
    """
    expected = module.state_dict()
    required = [key for key in expected if not key.startswith(optional) and not key.endswith(_BATCH_COUNT)]
    problems = {
        "missing": [key for key in required if key not in weights],
        "unexpected": [key for key in weights if key not in expected],
        "of another shape": [
            f"{key} {tuple(weights[key].shape)}, expected {tuple(tensor.shape)}"
            for key, tensor in expected.items()
            if key in weights and weights[key].shape != tensor.shape
        ],
    }
    if any(problems.values()):
        listed = "; ".join(
            f"{len(keys)} {what} ({_abridged(keys)})" for what, keys in problems.items() if keys
        )
        raise InputError(f"{path}: weights do not fit the model: {listed}")
    module.load_state_dict(weights, strict=False)


def _abridged(names: list[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
