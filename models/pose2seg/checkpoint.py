"""Reading and writing weights. Nothing in a file is ever executed."""

import json
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, astuple, replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from pose2seg.backbone import Backbone
from pose2seg.errors import InputError
from pose2seg.files import atomic_writer, shown
from pose2seg.model import KEYPOINTS, Architecture, Convention, Pose2Seg
from pose2seg.templates import require_joints

#: The small model that comes with this package (docs/model_card.md).
BUNDLED_WEIGHTS = Path(__file__).with_name("pose2seg_small.safetensors")

_OFFICIAL_TO_OURS = {
    "pose2seg.seg_branch.": "segnet.",
    ".conv4.": ".downsample.0.",
    ".bn4.": ".downsample.1.",
}
_OURS_TO_OFFICIAL = {".downsample.0.": ".conv4.", ".downsample.1.": ".bn4."}  # of the backbone only
_BATCH_COUNT = ".num_batches_tracked"
_OFFICIAL_BUT_UNUSED = ("backbone.fpn_p4.", "backbone.fpn_p3.", "backbone.fpn_p2.")
_TEMPLATES = "templates"
_LARGEST_SIZE = 4096
_MOST_NAMES = 3  # that a message lists of a kind


class _Checkpoint(NamedTuple):
    """What a file holds; the templates and the architecture only where it is one of ours."""

    weights: dict[str, Tensor]
    convention: Convention
    templates: Tensor | None = None
    architecture: Architecture = Architecture()


def load_model(path: Path | str = BUNDLED_WEIGHTS, templates: Tensor | None = None) -> Pose2Seg:
    """The model that a checkpoint is of, in evaluation mode on the CPU.

    path: as in `load_checkpoint`. A safetensors file tells the size of its model and holds the templates
        that it was trained with; official weights are of the original's size. The default is the small
        model that comes with this package.
    templates: in place of those in the file; official weights need them (`load_templates`).

    Raises InputError if templates are needed and not given, and as `load_checkpoint` does.
    """
    path = Path(path)
    checkpoint = _read(path)
    templates = checkpoint.templates if templates is None else templates
    if templates is None:
        raise InputError(f"{path}: holds no pose templates, and none were given")
    with torch.device("meta"):  # a file that lies of its size must not cost its memory
        _require_fit(Pose2Seg(templates, checkpoint.architecture), checkpoint.weights, path)
    model = Pose2Seg(templates, checkpoint.architecture, convention=checkpoint.convention)
    _fill(model, checkpoint.weights, path)
    return model.eval()


def load_checkpoint(model: Pose2Seg, path: Path | str) -> None:
    """Give `model` the weights of a checkpoint, and the sampling convention that belongs to them.

    A safetensors file, whatever its name, is one that `save_checkpoint` wrote. Any other is a state dict that
    the original Pose2Seg saved with torch.save, in torch 1.x or later; its head may be `segnet` or
    `pose2seg.seg_branch`.

    A pickle of this model's own state dict is refused, because it does not tell the convention.

    Raises InputError if the file is neither, if a key is missing, unexpected or of another shape, if a number
    is not finite, or if a running variance is negative; the model is then unchanged. Raises OSError if the
    file cannot be read.
    """
    path = Path(path)
    checkpoint = _read(path)
    _fill(model, checkpoint.weights, path)
    model.convention = checkpoint.convention


def save_checkpoint(model: Pose2Seg, path: Path | str) -> None:
    """Write the model as safetensors, all that `load_model` needs; the name must end in `.safetensors`.

    The file appears whole or not at all.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"path must end in .safetensors, got {path}")
    tensors = {**model.state_dict(), _TEMPLATES: model.templates}
    metadata = {"convention": model.convention, "architecture": json.dumps(asdict(model.architecture))}
    content = {key: tensor.contiguous() for key, tensor in tensors.items()}
    with atomic_writer(path) as file:
        file.write(safetensors.torch.save(content, metadata=metadata))


def save_official_checkpoint(model: Pose2Seg, path: Path | str) -> None:
    """Write the weights as the original Pose2Seg's training does: a state dict with its names, pickled.

    The original samples by the convention "pose2seg" in torch 1.2 or older, which the file does not tell; a
    model of another convention is refused with ValueError. Three convolutions of its pyramid, whose output
    nothing uses, are written as zeros, so that every name it looks for is there.

    The file appears whole or not at all.
    """
    if model.convention != "pose2seg":
        raise ValueError(f"the original's convention is \"pose2seg\", the model's {model.convention!r}")
    weights: OrderedDict[str, Tensor] = OrderedDict()
    for key, tensor in model.state_dict().items():
        if key == "backbone.fpn_p1.weight":
            for unused in _OFFICIAL_BUT_UNUSED:
                weights[f"{unused}weight"] = torch.zeros_like(tensor)
                weights[f"{unused}bias"] = tensor.new_zeros(len(tensor))
        weights[_official_name(key)] = tensor
    with atomic_writer(Path(path)) as file:
        torch.save(weights, file, _use_new_zipfile_serialization=False)  # which torch 1.0 reads


def load_imagenet_weights(backbone: Backbone, path: Path | str) -> None:
    """Give `backbone` the weights of torchvision's ResNet-50 from ImageNet; its pyramid stays as it is.

    path: the state dict as torchvision distributes it. Raises as `load_checkpoint` does.
    """
    path = Path(path)
    weights = {key: tensor for key, tensor in _read_pickle(path).items() if not key.startswith("fc.")}
    _fill(backbone, weights, path, optional=("fpn_",))


def _read(path: Path) -> _Checkpoint:
    if _is_safetensors(path):
        return _read_safetensors(path)
    return _Checkpoint(_from_official(_read_pickle(path), path), "pose2seg")


def _is_safetensors(path: Path) -> bool:
    """By its name, or by its beginning: a length of 8 bytes and a JSON object."""
    if path.suffix.lower() == ".safetensors":
        return True
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def _official_name(key: str) -> str:
    if key.startswith("backbone."):
        for ours, theirs in _OURS_TO_OFFICIAL.items():
            key = key.replace(ours, theirs)
    return key


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
    _require_dense(weights, path)
    return weights


def _require_dense(weights: Mapping[str, Tensor], path: Path) -> None:
    """Raise InputError if the numbers of a tensor are not there, one by one, or not real."""
    for key, tensor in weights.items():
        other = tensor.is_nested or tensor.is_quantized or tensor.is_meta or tensor.is_complex()
        if other or tensor.layout != torch.strided or tensor.dtype == torch.bool:
            raise InputError(f"{path}: expected dense tensors of real numbers, {key} is not")


def _require_finite(weights: Mapping[str, Tensor], path: Path) -> None:
    """Raise InputError if a number is not finite in float32, in which the model computes."""
    for key, tensor in weights.items():
        if not np.isfinite(tensor.float().numpy(force=True)).all():  # in a quarter of torch's time
            raise InputError(f"{path}: expected finite numbers, {key} has others")


def _require_variances(weights: Mapping[str, Tensor], path: Path) -> None:
    """Raise InputError if the running variance of a batch norm is negative, which makes every mask empty."""
    for key, tensor in weights.items():
        if key.endswith(".running_var") and (tensor < 0).any():
            raise InputError(f"{path}: {key} must be at least 0, got {tensor.min():g}")


def _read_safetensors(path: Path) -> _Checkpoint:
    path.open("rb").close()  # raises OSError with the path, which safetensors leaves out
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            keys = file.keys()
            weights = {key: file.get_tensor(key) for key in keys}
    except (SafetensorError, TypeError) as error:  # torch's TypeError is of a size beyond 64 bits
        reason = str(error).partition("\n")[0]
        raise InputError(f"{path}: not a safetensors file: {reason}") from error
    _require_dense(weights, path)
    convention: Any = metadata.get("convention")
    if convention not in get_args(Convention):
        expected = ", ".join(get_args(Convention))
        raise InputError(
            f'{path}: expected metadata "convention" to be one of {expected}, got {shown(convention)}'
        )
    templates = weights.pop(_TEMPLATES, None)
    if templates is None or templates.ndim != 3 or templates.shape[1:] != (KEYPOINTS, 3):
        got = "nothing" if templates is None else tuple(templates.shape)
        raise InputError(f'{path}: expected "{_TEMPLATES}" to be (T, {KEYPOINTS}, 3), got {got}')
    _require_finite({_TEMPLATES: templates}, path)
    require_joints(templates, path)
    architecture = _read_architecture(metadata, path)
    blocks = sum(architecture.backbone_blocks) + architecture.head_blocks
    if blocks > len(weights):  # found out without making them, which takes its time
        raise InputError(f"{path}: weights do not fit the model: {len(weights)} tensors for {blocks} blocks")
    return _Checkpoint(weights, convention, templates, architecture)


def _read_architecture(metadata: Mapping[str, str], path: Path) -> Architecture:
    try:
        architecture = Architecture(**json.loads(metadata["architecture"]))
        blocks, *others = astuple(architecture)
        sizes = [*blocks, *others]
        if len(blocks) == 4 and all(type(size) is int and 1 <= size <= _LARGEST_SIZE for size in sizes):
            return replace(architecture, backbone_blocks=tuple(blocks))
    except (KeyError, TypeError, ValueError, RecursionError):
        pass
    raise InputError(
        f'{path}: expected metadata "architecture" to be the sizes of a model, '
        f"got {shown(metadata.get('architecture'))}"
    )


def _fill(
    module: nn.Module, weights: Mapping[str, Tensor], path: Path, optional: tuple[str, ...] = ()
) -> None:
    """load_state_dict, with readable errors. Keys that start with one of `optional` may be missing."""
    _require_fit(module, weights, path, optional)
    _require_finite(weights, path)
    _require_variances(weights, path)
    module.load_state_dict(weights, strict=False)


def _require_fit(
    module: nn.Module, weights: Mapping[str, Tensor], path: Path, optional: tuple[str, ...] = ()
) -> None:
    """Raise InputError if names or shapes differ.

    Counts of batches may be missing: files older than torch 0.4.1 lack them, and nothing here uses them.
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


def _abridged(names: list[str]) -> str:
    return ", ".join(names[:_MOST_NAMES]) + (", ..." if len(names) > _MOST_NAMES else "")
