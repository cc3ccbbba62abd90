"""The instruction counts of our CUDA kernels for a benchmark case, from docs/kernels.md."""

import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.inputs import WHOLE_IMAGE, name_of

#: Instructions by kernel name.
Instructions = dict[str, float]

_DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "kernels.md"


def documented(**cells: str) -> float:
    """Returns the instruction count in the only row of docs/kernels.md with these cells, given by column."""
    rows = [row for row in _rows() if all(row.get(column) == cell for column, cell in cells.items())]
    counts = [row["instructions"] for row in rows if "instructions" in row]
    if len(counts) != 1:
        raise LookupError(
            f"docs/kernels.md must have one row with instructions of {cells}, got {len(counts)}"
        )
    return float(counts[0])


@lru_cache
def _rows() -> tuple[dict[str, str], ...]:
    return tuple(_read_tables(_DOCUMENT.read_text()))


def _read_tables(text: str) -> Iterator[dict[str, str]]:
    """Yields every row of every Markdown table as a dict by column, without backquotes and asterisks."""
    columns: list[str] = []
    for line in text.splitlines():
        if not line.startswith("|"):
            columns = []
            continue
        cells = [cell.strip(" `*") for cell in line.strip("|").split("|")]
        if not columns:
            columns = cells
        elif set(line) - set("|- "):
            yield dict(zip(columns, cells, strict=True))


def _layout(tensor: Tensor) -> str:
    return "channels_last" if tensor.stride(1) == 1 and tensor.stride(3) != 1 else "contiguous"


def _data(tensor: Tensor) -> str:
    # float16 and bfloat16 need the same instructions.
    return "float16" if tensor.dtype == torch.bfloat16 else name_of(tensor.dtype)


def _windows(_: tuple[Any, ...], result: Tensor) -> Instructions:
    data = _data(result)
    kernel, angle = ("planes", "30°") if _layout(result) == "contiguous" else ("channels_last", "any")
    return {f"align_{kernel}": result.numel() / 32 * documented(kernel=kernel, data=data, angle=angle)}


def _windows_and_maps(arguments: tuple[Any, ...], result: Tensor) -> Instructions:
    features, maps = result.tensor_split([arguments[0].shape[1]], 1)
    if _layout(result) == "contiguous":
        drawn = _maps((), maps)
        return _windows((), features) | drawn if drawn else {}
    return {
        kernel: part.numel() / 32 * documented(kernel=kernel, data=_data(result))
        for kernel, part in (("align_staged", features), ("draw_channels_last", maps))
    }


def _maps(_: tuple[Any, ...], result: Tensor) -> Instructions:
    if result.dtype != torch.float32:
        return {}
    return {"draw_planes": result.numel() / 32 * documented(kernel="draw_planes", of="32 values")}


def _gradient_of_input(arguments: tuple[Any, ...], result: tuple[Tensor, ...]) -> Instructions:
    name = "gather_planes" if _layout(result[0]) == "contiguous" else "gather_channels_last"
    return _of_gradient(arguments, name, kernel="gather")


def _gradient_of_matrices(arguments: tuple[Any, ...], _: tuple[Tensor, ...]) -> Instructions:
    return _of_gradient(arguments, "sum_tiles", kernel="sum_tiles")


def _of_gradient(arguments: tuple[Any, ...], name: str, kernel: str) -> Instructions:
    gradient = arguments[3]
    if gradient.dtype != torch.float32:
        return {}
    of = "32 values of the output's gradient"
    return {name: gradient.numel() / 32 * documented(kernel=kernel, case=_layout(gradient), of=of)}


def _fit(_: tuple[Any, ...], result: tuple[Tensor, ...]) -> Instructions:
    return {"fit_poses": len(result[0]) * documented(kernel="fit_poses", of="a pose and 6 templates")}


def _letterbox(_: tuple[Any, ...], result: tuple[Tensor, Tensor]) -> Instructions:
    kernel, batch = "letterbox_images", result[0]
    return {kernel: batch.numel() / 32 * documented(kernel=kernel, case=_layout(batch))}


def _paste(arguments: tuple[Any, ...], result: list[Tensor]) -> Instructions:
    return _by_pixels(sum(masks.numel() for masks in result), _pose_of(arguments[1]), "paste")


def _paste_rle(arguments: tuple[Any, ...], result: list[list[dict[str, Any]]]) -> Instructions:
    pixels = sum(height * width for image in result for height, width in (rle["size"] for rle in image))
    kernels = "count_pasted_boundaries", "store_pasted_boundaries"
    return _by_pixels(pixels, _pose_of(arguments[1]), *kernels)


def _pose_of(matrices: Tensor) -> str:
    """Returns the name in docs/kernels.md of the people that these matrices paste."""
    cosine, sine = matrices[0, 0, :2].tolist()
    if math.isclose(math.hypot(cosine, sine), WHOLE_IMAGE["scale"], rel_tol=1e-6):
        return "as wide as the image"
    degrees = round(math.degrees(math.atan2(sine, cosine)))
    return f"turned by {degrees}°" if degrees else "upright"


def _encode_rle(arguments: tuple[Any, ...], _: Any) -> Instructions:
    pixels = arguments[0].numel()
    return _by_pixels(pixels, "an ellipse", "count_mask_boundaries", "store_mask_boundaries")


def _by_pixels(pixels: int, case: str, *kernels: str) -> Instructions:
    return {kernel: pixels / 32 * documented(kernel=kernel, case=case, of="32 pixels") for kernel in kernels}


#: Maps the op of a `Case` to a function from arguments and result to warp instructions by kernel; the result
#: is empty for a dtype that was not counted.
MODELS: dict[str, Callable[[tuple[Any, ...], Any], Instructions]] = {
    "affine_align": _windows,
    "affine_align backward to input": _gradient_of_input,
    "affine_align backward to matrices": _gradient_of_matrices,
    "align_with_skeleton": _windows_and_maps,
    "encode_rle": _encode_rle,
    "fit_pose_templates": _fit,
    "letterbox": _letterbox,
    "paste_masks": _paste,
    "paste_rle": _paste_rle,
    "skeleton_maps": _maps,
}
