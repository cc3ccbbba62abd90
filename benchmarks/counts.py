"""The counts of our CUDA kernels for a benchmark case, from the table of docs/kernels.md."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.inputs import WHOLE_IMAGE, name_of

_DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "kernels.md"


@dataclass(frozen=True)
class Counts:
    """Warp instructions, and the sectors of 32 bytes that L1 caches serve and that the L2 cache serves.

    L1 serves every request of a warp. L2 serves every store, and each sector once per block that loads it.
    """

    instructions: float = 0
    l1_sectors: float = 0
    l2_sectors: float = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.instructions + other.instructions,
            self.l1_sectors + other.l1_sectors,
            self.l2_sectors + other.l2_sectors,
        )

    def __mul__(self, times: float) -> Counts:
        return Counts(self.instructions * times, self.l1_sectors * times, self.l2_sectors * times)

    def __sub__(self, other: Counts) -> Counts:
        return self + other * -1


#: The counts of each kernel that an op launches, by its name. Short kernels without counts hold zeros.
Kernels = dict[str, Counts]

_COLUMNS = "instructions", "L1 sectors", "L2 sectors"


def documented(**cells: str) -> Counts:
    """Returns the counts in the only row of docs/kernels.md with these cells, given by column."""
    rows = [row for row in _rows() if all(row.get(column) == cell for column, cell in cells.items())]
    counted = [row for row in rows if all(column in row for column in _COLUMNS)]
    if len(counted) != 1:
        raise LookupError(f"docs/kernels.md must have one row with counts of {cells}, got {len(counted)}")
    return Counts(*(float(counted[0][column]) for column in _COLUMNS))


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


def _windows(_: tuple[Any, ...], result: Tensor) -> Kernels:
    kernel = "align_planes" if _layout(result) == "contiguous" else "align_channels_last"
    return _of_values(kernel, result)


def _windows_and_maps(arguments: tuple[Any, ...], result: Tensor) -> Kernels:
    features, maps = result.tensor_split([arguments[0].shape[1]], 1)
    if _layout(result) == "channels_last":
        return _of_values("align_staged", features) | _of_values("draw_channels_last", maps)
    drawn = _maps((), maps)
    return _windows((), features) | drawn if drawn else {}


def _maps(_: tuple[Any, ...], result: Tensor) -> Kernels:
    return _of_values("draw_planes", result) if result.dtype == torch.float32 else {}


def _of_values(kernel: str, result: Tensor) -> Kernels:
    return {kernel: documented(kernel=kernel, case=_data(result), of="32 values") * (result.numel() / 32)}


def _gradient_of_input(arguments: tuple[Any, ...], result: tuple[Tensor, ...]) -> Kernels:
    name = "gather_planes" if _layout(result[0]) == "contiguous" else "gather_channels_last"
    counts = _of_gradients("gather", output=arguments[3], input=result[0])
    return {"find_footprints": Counts(), name: counts} if counts else {}


def _gradient_of_matrices(arguments: tuple[Any, ...], _: tuple[Tensor, ...]) -> Kernels:
    counts = _of_gradients("sum_tiles", output=arguments[3])
    return {"sum_tiles": counts, "sum_instances": Counts()} if counts else {}


def _of_gradients(kernel: str, **gradients: Tensor) -> Counts | None:
    if any(gradient.dtype != torch.float32 for gradient in gradients.values()):
        return None
    total = Counts()
    for name, gradient in gradients.items():
        counts = documented(kernel=kernel, case=_layout(gradient), of=f"32 values of the {name}'s gradient")
        total += counts * (gradient.numel() / 32)
    return total


def _fit(_: tuple[Any, ...], result: tuple[Tensor, ...]) -> Kernels:
    return {"fit_poses": documented(kernel="fit_poses", of="a pose and 6 templates") * len(result[0])}


def _letterbox(_: tuple[Any, ...], result: tuple[Tensor, Tensor]) -> Kernels:
    kernel, batch = "letterbox_images", result[0]
    return {kernel: documented(kernel=kernel, case=_layout(batch), of="32 values") * (batch.numel() / 32)}


def _paste(arguments: tuple[Any, ...], result: list[Tensor]) -> Kernels:
    return _by_pixels(sum(masks.numel() for masks in result), _pose_of(arguments[1]), "paste")


def _paste_rle(arguments: tuple[Any, ...], result: list[list[dict[str, Any]]]) -> Kernels:
    pixels = sum(height * width for image in result for height, width in (rle["size"] for rle in image))
    kernels = "count_pasted_boundaries", "store_pasted_boundaries"
    return _by_pixels(pixels, _pose_of(arguments[1]), *kernels) | _CHARACTERS


def _pose_of(matrices: Tensor) -> str:
    """Returns the name in docs/kernels.md of the people that these matrices paste."""
    cosine, sine = matrices[0, 0, :2].tolist()
    if math.isclose(math.hypot(cosine, sine), WHOLE_IMAGE["scale"], rel_tol=1e-6):
        return "as wide as the image"
    degrees = round(math.degrees(math.atan2(sine, cosine)))
    return f"turned by {degrees}°" if degrees else "upright"


def _encode_rle(arguments: tuple[Any, ...], _: Any) -> Kernels:
    pixels = arguments[0].numel()
    return _by_pixels(pixels, "an ellipse", "count_mask_boundaries", "store_mask_boundaries") | _CHARACTERS


def _by_pixels(pixels: int, case: str, *kernels: str) -> Kernels:
    return {
        kernel: documented(kernel=kernel, case=case, of="32 pixels") * (pixels / 32) for kernel in kernels
    }


_CHARACTERS = {name: Counts() for name in ("count_characters", "store_characters")}

#: Maps the op of a `Case` to a function from arguments and result to the counts of its kernels; the result is
#: empty for a dtype that was not counted.
MODELS: dict[str, Callable[[tuple[Any, ...], Any], Kernels]] = {
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
