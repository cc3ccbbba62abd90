"""Export of the network for other runtimes: torch.export, AOTInductor and ONNX."""

import io
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from pose2seg.common.errors import InputError
from pose2seg.network.backbone import IMAGENET_MEAN, IMAGENET_STD
from pose2seg.network.inference import fold_batch_norms
from pose2seg.network.model import INPUT_SIZE, KEYPOINTS, Pose2Seg
from pose2seg_ops import COCO_KEYPOINTS, __version__, reference
from pose2seg_ops.keypoints import transform_keypoints
from pose2seg_ops.reference.affine_align import window_grid
from pose2seg_ops.reference.sampling import sample

#: The inputs of a `Core`, and the name of the first dimension of each.
INPUTS = {"images": "batch", "keypoints": "people", "batch_index": "people"}

#: The metadata of an exported file; in a file of torch.export they are extra files.
METADATA = {
    "pose2seg_ops_version": __version__,
    "input_size": str(INPUT_SIZE),
    "colour_order": "BGR",
    "joint_names": ",".join(COCO_KEYPOINTS),
}


class Core(nn.Module):
    """The exported part of a model: everything between the letterbox and the pasting of the masks."""

    def __init__(self, model: Pose2Seg) -> None:
        super().__init__()
        self.model = fold_batch_norms(model)
        self.mean: Tensor
        self.std: Tensor
        for name, value in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            of_bytes = 255 * torch.tensor(value, device=model.templates.device)
            self.register_buffer(name, of_bytes.reshape(3, 1, 1))

    def forward(self, images: Tensor, keypoints: Tensor, batch_index: Tensor) -> tuple[Tensor, Tensor]:
        """Computes the masks of N people in a batch of B images, each in the crop of its person.

        images: (B, 512, 512, 3) uint8 BGR, letterboxed as by `pose2seg_ops.letterbox`, with black padding.
        keypoints: (N, 17, 3) float32 x, y in pixels of `images`, COCO visibility.
        batch_index: (N,) int64, the image that each person is in, from 0 to B - 1.

        Returns probabilities (N, 64, 64) and the matrices (N, 2, 3) network input -> crop, float32.
        """
        rgb = images.flip(-1).permute(0, 3, 1, 2)
        logits, matrices = self.model((rgb - self.mean) / self.std, keypoints, batch_index)
        return logits.softmax(1)[:, 1], matrices


def export_core(model: Pose2Seg) -> ExportedProgram:
    """Exports the `Core` of a model for any number of images and people, on the device of the model.

    The graph contains operators of `pose2seg_ops`, which must be imported before it is run.
    """
    return _export(Core(model), model.templates.device)


def in_standard_operators(program: ExportedProgram) -> ExportedProgram:
    """Returns a program of `export_core` with its `pose2seg_ops` operators replaced by plain torch."""
    return _export(_InStandardOperators(program), next(iter(program.state_dict.values())).device)


class _InStandardOperators(nn.Module):
    """A core in plain torch, whose positions stay precise if a runtime lowers the precision of the rest.

    A position in half precision misses its pixel. A runtime lowers the precision in one of two ways:

    * Converters to float16 replace each float32 but keep float64, which is the dtype of all positions here:
      of the pose fit, of the sampling grid, and of the joints and limbs that are drawn.
    * OpenVINO does not support float64. In bfloat16 it keeps float32 for tensors that reach an output without
      a convolution in between, so `matrices` is made to depend on the grid and on the skeleton maps.
    """

    def __init__(self, program: ExportedProgram) -> None:
        super().__init__()
        self.core = program.module()
        graph: Any = self.core.graph
        (fit,) = graph.find_nodes(
            op="call_function", target=torch.ops.pose2seg_ops.fit_pose_templates.default
        )
        fit.target = _fit_pose_templates
        (align,) = graph.find_nodes(
            op="call_function", target=torch.ops.pose2seg_ops.align_with_skeleton.default
        )
        of = _Alignment(*align.args)
        with graph.inserting_before(align):
            grid = graph.call_function(_sampling_grid, align.args)
            skeletons = graph.call_function(_skeleton_maps, align.args)
            rois = graph.call_function(_rois, (of.input, of.batch_index, grid, skeletons))
        align.replace_all_uses_with(rois)
        graph.erase_node(align)
        output = graph.output_node()
        ((probabilities, matrices),) = output.args
        with graph.inserting_before(output):
            dependent = graph.call_function(_depending_on, (matrices, grid, skeletons))
        output.args = ((probabilities, dependent),)
        self.core.recompile()

    def forward(self, images: Tensor, keypoints: Tensor, batch_index: Tensor) -> tuple[Tensor, Tensor]:
        probabilities, matrices = self.core(images, keypoints.double(), batch_index)
        return probabilities, matrices.float()


def _export(module: nn.Module, device: torch.device) -> ExportedProgram:
    images = torch.zeros(2, INPUT_SIZE, INPUT_SIZE, 3, dtype=torch.uint8, device=device)
    keypoints = torch.zeros(3, KEYPOINTS, 3, device=device)
    batch_index = torch.zeros(3, dtype=torch.int64, device=device)
    counts = {name: Dim(name) for name in INPUTS.values()}
    shapes = tuple({0: counts[name]} for name in INPUTS.values())
    with torch.no_grad():
        return torch.export.export(module, (images, keypoints, batch_index), dynamic_shapes=shapes)


def _fit_pose_templates(
    keypoints: Tensor,
    templates: Tensor,
    source_size: tuple[int, int],
    output_size: tuple[int, int],
    score: str,
) -> tuple[Tensor, Tensor, Tensor]:
    return reference.fit_pose_templates(keypoints, templates, source_size, output_size, score=score)


class _Alignment(NamedTuple):
    """The arguments of the operator `align_with_skeleton`, in order."""

    input: Tensor
    keypoints: Tensor
    matrices: Tensor
    batch_index: Tensor
    output_size: tuple[int, int]
    convention: str
    limbs: Sequence[int]
    sigma: float
    limb_width: float
    signed_visibility: bool


def _sampling_grid(*arguments: Any) -> Tensor:
    """Returns the grid of `grid_sample`, (N, h, w, 2) float64."""
    of = _Alignment(*arguments)
    height, width = of.input.shape[-2:]
    return window_grid(of.matrices, (height, width), of.output_size, of.convention)


def _skeleton_maps(*arguments: Any) -> Tensor:
    """Returns the skeleton maps, (N, C, h, w) float64."""
    of = _Alignment(*arguments)
    return reference.skeleton_maps(
        transform_keypoints(of.keypoints, of.matrices),
        of.output_size,
        limbs=list(zip(of.limbs[::2], of.limbs[1::2], strict=True)),
        sigma=of.sigma,
        limb_width=of.limb_width,
        signed_visibility=of.signed_visibility,
    )


def _rois(input: Tensor, batch_index: Tensor, grid: Tensor, skeletons: Tensor) -> Tensor:
    """Samples the RoIs.

    The reference cannot be used: exporting its loop over images would fix their number.
    """
    return torch.cat((sample(input[batch_index], grid), skeletons.to(input.dtype)), 1)


def _depending_on(matrices: Tensor, grid: Tensor, skeletons: Tensor) -> Tensor:
    """Returns the matrices unchanged. The other two are never NaN, but a compiler cannot know that."""
    position = grid[:, 0, 0, 0] + skeletons[:, 0, 0, 0]
    return torch.where(position.isnan()[:, None, None], torch.nan, matrices)


def as_torch(program: ExportedProgram) -> bytes:
    """Returns a file for `torch.export.load`, which needs `pose2seg_ops` to be imported."""
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files=METADATA)
    return buffer.getvalue()


def as_aoti(program: ExportedProgram) -> bytes:
    """Returns an AOTInductor package in standard operators, compiled for this type of processor and torch.

    Raises InputError if there is no C++ compiler or it fails.
    """
    from torch._inductor.cpp_builder import get_cpp_compiler  # slow to import, and only needed here
    from torch._inductor.exc import CppCompileError, InductorError, InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise InputError(f"AOTInductor needs a C++ compiler: {error}") from error
    configs = {
        "cpp.dynamic_threads": True,  # the number of threads is chosen where the code runs
        "aot_inductor.precompile_headers": False,  # they would not be used again
        "aot_inductor.metadata": METADATA,
    }
    standard, buffer = in_standard_operators(program), io.BytesIO()
    try:
        torch._inductor.aoti_compile_and_package(standard, package_path=buffer, inductor_configs=configs)
    except (InductorError, CppCompileError) as error:  # older releases raise the latter
        cause = error.inner_exception if isinstance(error, InductorError) else error
        if not isinstance(cause, CppCompileError):
            raise
        reason = _reason(cause.output)
        raise InputError(f"AOTInductor's C++ compiler has failed: {reason}") from error
    return buffer.getvalue()


def _reason(output: str) -> str:
    """Returns the most informative line of a compiler's output."""
    lines = output.strip().splitlines() or ["no output"]
    return next((line for line in lines if "error" in line), lines[-1])


def as_onnx(program: ExportedProgram) -> bytes:
    """Returns an ONNX model in standard operators.

    Raises InputError if onnx or onnxscript is not installed.
    """
    try:
        import onnx
        from onnxscript import opset18
    except ImportError as error:
        raise InputError(f"{error.name} is not installed: pip install 'pose2seg_ops[export]'") from error

    def hypot(x: Any, y: Any) -> Any:
        """Translates the only operator here that torch cannot translate to ONNX."""
        return opset18.Sqrt(opset18.Add(opset18.Mul(x, x), opset18.Mul(y, y)))

    exported = torch.onnx.export(
        in_standard_operators(program),
        input_names=list(INPUTS),
        output_names=["probabilities", "matrices"],
        dynamic_shapes=[{0: name} for name in INPUTS.values()],
        custom_translation_table={torch.ops.aten.hypot.default: hypot},
        verbose=False,
    )
    assert exported is not None
    model = exported.model_proto
    onnx.helper.set_model_props(model, METADATA)
    content: bytes = model.SerializeToString()
    return content


#: Functions from a program of `export_core` to the content of a file, by the names of `pose2seg export
#: --format`.
FORMATS: dict[str, Callable[[ExportedProgram], bytes]] = {
    "onnx": as_onnx,
    "aoti": as_aoti,
    "torch": as_torch,
}
