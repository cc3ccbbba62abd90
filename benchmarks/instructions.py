"""The instructions that our CUDA kernels take for a contest, from the counts in docs/kernels.md."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "kernels.md"


def instructions(op: str, arguments: tuple[Any, ...], result: Any) -> float | None:
    """How many instructions the warps of our kernels execute; None where nobody can say.

    op: of a `Contest`.
    arguments, result: of its contenders.
    """
    return _MODELS[op](arguments, result) if op in _MODELS else None


def documented(**cells: str) -> float:
    """The instructions in the one row of docs/kernels.md that has these cells, by their columns."""
    rows = [row for row in _rows() if all(row.get(column) == cell for column, cell in cells.items())]
    counts = [row["instructions"] for row in rows if "instructions" in row]
    if len(counts) != 1:
        raise LookupError(f"docs/kernels.md must have one row with instructions of {cells}, has {len(counts)}")
    return float(counts[0])


@lru_cache
def _rows() -> tuple[dict[str, str], ...]:
    return tuple(_read_tables(_DOCUMENT.read_text()))


def _read_tables(text: str) -> Iterator[dict[str, str]]:
    """Every row of every Markdown table, by the names of its columns, without backquotes and asterisks."""
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


def _windows(_: tuple[Any, ...], result: Tensor) -> float:
    # Both of two bytes are computed alike.
    data = "float16" if result.dtype == torch.bfloat16 else str(result.dtype).removeprefix("torch.")
    kernel, angle = ("planes", "30°") if _layout(result) == "contiguous" else ("channels_last", "any")
    return result.numel() / 32 * documented(kernel=kernel, data=data, angle=angle)


def _windows_and_maps(arguments: tuple[Any, ...], result: Tensor) -> float:
    channels = arguments[0].shape[1]
    if _layout(result) == "contiguous":
        return _windows((), result[:, :channels]) + _maps((), result[:, channels:])
    a_value = channels * documented(kernel="align_staged", data="float32")
    a_value += (result.shape[1] - channels) * documented(kernel="draw_channels_last", data="float32")
    return result[:, 0].numel() / 32 * a_value


def _maps(_: tuple[Any, ...], result: Tensor) -> float:
    return result.numel() / 32 * documented(kernel="draw_planes", of="32 values")


def _gradient(kernel: str) -> Callable[[tuple[Any, ...], Any], float]:
    def model(arguments: tuple[Any, ...], _: Any) -> float:
        gradient = arguments[3]
        of = "32 values of the output's gradient"
        return gradient.numel() / 32 * documented(kernel=kernel, case=_layout(gradient), of=of)

    return model


def _fit(_: tuple[Any, ...], result: tuple[Tensor, ...]) -> float:
    return len(result[0]) * documented(kernel="fit_poses", of="a pose and 6 templates")


def _letterbox(_: tuple[Any, ...], result: tuple[Tensor, Tensor]) -> float:
    return result[0].numel() / 32 * documented(kernel="letterbox_images", case=_layout(result[0]))


def _paste(_: tuple[Any, ...], result: list[Tensor]) -> float:
    return sum(masks.numel() for masks in result) / 32 * documented(kernel="paste", of="32 pixels")


def _paste_rle(arguments: tuple[Any, ...], result: list[list[dict[str, Any]]]) -> float:
    case = "upright" if float(arguments[1][0, 0, 1]) == 0 else "turned by 34°"
    kernels = ("count_pasted_boundaries", "store_pasted_boundaries")
    groups = sum(height * width for image in result for height, width in (rle["size"] for rle in image)) / 32
    return groups * sum(documented(kernel=kernel, case=case) for kernel in kernels)


def _encode_rle(arguments: tuple[Any, ...], _: Any) -> float:
    kernels = ("count_mask_boundaries", "store_mask_boundaries")
    return arguments[0].numel() / 32 * sum(documented(kernel=kernel, case="an ellipse") for kernel in kernels)


_MODELS: dict[str, Callable[[tuple[Any, ...], Any], float]] = {
    "affine_align": _windows,
    "affine_align backward to input": _gradient("gather"),
    "affine_align backward to matrices": _gradient("sum_tiles"),
    "align_with_skeleton": _windows_and_maps,
    "encode_rle": _encode_rle,
    "fit_pose_templates": _fit,
    "letterbox": _letterbox,
    "paste_masks": _paste,
    "paste_rle": _paste_rle,
    "skeleton_maps": _maps,
}
