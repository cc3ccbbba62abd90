"""The network as a graph that runs elsewhere: exported by torch, compiled ahead of time, or as ONNX."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from pose2seg.errors import InputError
from pose2seg.files import atomic_writer
from pose2seg.inference import for_inference
from pose2seg.model import IMAGENET_MEAN, IMAGENET_STD, INPUT_SIZE, KEYPOINTS, Pose2Seg
from pose2seg_ops import reference
from pose2seg_ops._points import move_points
from pose2seg_ops.reference.affine_align import align_maps

INPUTS = ("images", "keypoints", "batch_index")
OUTPUTS = ("probabilities", "matrices")


class Core(nn.Module):
    """All of a model that is computed for people in letterboxed images: what lies between two image warps."""

    def __init__(self, model: Pose2Seg) -> None:
        super().__init__()
        self.model = for_inference(model)
        device = model.templates.device
        for name, value in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            self.register_buffer(name, 255 * torch.tensor(value, device=device).reshape(3, 1, 1))

    def forward(self, images: Tensor, keypoints: Tensor, batch_index: Tensor) -> tuple[Tensor, Tensor]:
        """The masks of N people in a batch of B images, each in its person's align frame.

        images: (B, 512, 512, 3) uint8 BGR, letterboxed as by `pose2seg_ops.letterbox`, black around.
        keypoints: (N, 17, 3) float32 x, y in pixels of `images`, COCO visibility.
        batch_index: (N,) int64, the image that each person is in, from 0 to B - 1.

        Returns probabilities (N, 64, 64) and the matrices (N, 2, 3) network input -> align frame, float32.
        """
        rgb = images.flip(-1).permute(0, 3, 1, 2)
        logits, matrices = self.model((rgb - self.mean) / self.std, keypoints, batch_index)
        return logits.softmax(1)[:, 1], matrices


def export_core(model: Pose2Seg) -> ExportedProgram:
    """The `Core` of a model for any number of images and people, on the device of the model.

    It has operators of `pose2seg_ops`, which has to be imported where the graph is run.
    """
    return _export(Core(model), model.templates.device)


def in_standard_operators(program: ExportedProgram) -> ExportedProgram:
    """A core whose operators of `pose2seg_ops` are replaced by what they are in plain torch."""
    return _export(_InStandardOperators(program), next(iter(program.state_dict.values())).device)


class _InStandardOperators(nn.Module):
    """Around the graph of a core; were it not inside, its constants would clash with those of the next export."""

    def __init__(self, program: ExportedProgram) -> None:
        super().__init__()
        self.core = program.module()
        assert isinstance(self.core, torch.fx.GraphModule)
        for node in self.core.graph.nodes:
            node.target = _IN_PLAIN_TORCH.get(node.target, node.target)
        self.core.recompile()

    def forward(self, images: Tensor, keypoints: Tensor, batch_index: Tensor) -> tuple[Tensor, Tensor]:
        probabilities, matrices = self.core(images, keypoints, batch_index)
        return probabilities, matrices


def _export(module: nn.Module, device: torch.device) -> ExportedProgram:
    images = torch.zeros(2, INPUT_SIZE, INPUT_SIZE, 3, dtype=torch.uint8, device=device)
    keypoints = torch.zeros(3, KEYPOINTS, 3, device=device)
    batch_index = torch.zeros(3, dtype=torch.int64, device=device)
    people = Dim("people")
    shapes = {0: Dim("batch")}, {0: people}, {0: people}
    with torch.no_grad():
        return torch.export.export(module, (images, keypoints, batch_index), dynamic_shapes=shapes)


def _fit_pose_templates(
    keypoints: Tensor, templates: Tensor, source_size: tuple[int, int], output_size: tuple[int, int], score: str
) -> tuple[Tensor, Tensor, Tensor]:
    return reference.fit_pose_templates(keypoints, templates, source_size, output_size, score=score)


def _align_with_skeleton(
    input: Tensor,
    keypoints: Tensor,
    matrices: Tensor,
    batch_index: Tensor,
    output_size: tuple[int, int],
    convention: str,
    limbs: Sequence[int],
    sigma: float,
    limb_width: float,
    signed_visibility: bool,
) -> Tensor:
    """Not the reference, whose loop over the images would fix their number."""
    windows = align_maps(input[batch_index], matrices, output_size, convention)
    aligned = torch.cat((move_points(keypoints[..., :2], matrices), keypoints[..., 2:]), -1)
    skeletons = reference.skeleton_maps(
        aligned,
        output_size,
        limbs=list(zip(limbs[::2], limbs[1::2], strict=True)),
        sigma=sigma,
        limb_width=limb_width,
        signed_visibility=signed_visibility,
    )
    return torch.cat((windows, skeletons), 1)


_IN_PLAIN_TORCH = {
    torch.ops.pose2seg_ops.fit_pose_templates.default: _fit_pose_templates,
    torch.ops.pose2seg_ops.align_with_skeleton.default: _align_with_skeleton,
}


def write_torch(program: ExportedProgram, path: Path) -> None:
    """An exported program, which `torch.export.load` reads where `pose2seg_ops` is imported."""
    with atomic_writer(path) as file:
        torch.export.save(program, file)  # type: ignore[arg-type]


def write_aoti(program: ExportedProgram, path: Path) -> None:
    """A package of AOTInductor, in standard operators: compiled for this kind of processor, it needs only torch.

    Raises InputError where there is no C++ compiler.
    """
    from torch._inductor.exc import InvalidCxxCompiler

    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder, "core.pt2")
        torch._inductor.aoti_compile_and_package(in_standard_operators(program), package_path=str(package))
        with atomic_writer(path) as file:
            file.write(package.read_bytes())


def write_onnx(program: ExportedProgram, path: Path) -> None:
    """An ONNX model in standard operators. Raises InputError where onnx and onnxscript are not installed."""
    try:
        import onnx  # noqa: F401
        from onnxscript import opset18
    except ImportError as error:
        raise InputError(f"{error.name} is not installed: pip install 'pose2seg_ops[export]'") from error

    def hypot(x: Any, y: Any) -> Any:
        """The one operator that torch cannot express in those of ONNX."""
        return opset18.Sqrt(opset18.Add(opset18.Mul(x, x), opset18.Mul(y, y)))

    exported = torch.onnx.export(
        in_standard_operators(program),
        input_names=INPUTS,
        output_names=OUTPUTS,
        custom_translation_table={torch.ops.aten.hypot.default: hypot},
        verbose=False,
    )
    assert exported is not None
    with atomic_writer(path) as file:
        file.write(exported.model_proto.SerializeToString())


#: By the names that `pose2seg export --format` takes.
FORMATS: dict[str, Callable[[ExportedProgram, Path], None]] = {
    "onnx": write_onnx,
    "aoti": write_aoti,
    "torch": write_torch,
}
