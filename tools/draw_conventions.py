"""Draws docs/conventions.svg: the sampling points of `affine_align` for each convention, computed by the
op."""

import math
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from pose2seg_ops import affine_align

OUTPUT = Path(__file__).resolve().parents[1] / "docs" / "conventions.svg"

CONVENTIONS = {
    "integer": ("M⁻¹ (i, j)", "cv2.warpAffine"),
    "half_pixel": ("M⁻¹ (i + ½, j + ½) - (½, ½)", "grid_sample(align_corners=False)"),
    "pose2seg": ("D⁻¹ M⁻¹ D (i, j)", "the official Pose2Seg weights"),
}
MAP, WINDOW = 7, 4  # side of the features and of the window, in pixels
CELL, GAP, MARGIN = 40, 30, 16  # lengths in the drawing
TOP, TEXT = 44, 62
STYLE = """
text { font-family: system-ui, sans-serif; font-size: 14px; fill: #333; text-anchor: middle }
.name { font-family: monospace; font-size: 18px; font-weight: bold; fill: #000 }
.formula { font-family: monospace }
.pixel { fill: #f3f5f8; stroke: #c8ced8 }
.centre { fill: #aab2c0 }
.integer { fill: none; stroke: #aab2c0; stroke-width: 1.2 }
.sample { fill: #d9480f }
.first { fill: none; stroke: #d9480f; stroke-width: 2 }
"""


def samples(convention: str) -> list[tuple[float, float]]:
    """Returns where the pixels of a rotated window sample the features, row by row; the features hold their x
    and y."""
    angle, scale = math.radians(20), 1.5
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    matrix = torch.tensor([[[cos, sin, -6.8], [-sin, cos, -1.6]]], dtype=torch.float64)
    y, x = torch.meshgrid(*[torch.arange(MAP, dtype=torch.float64)] * 2, indexing="ij")
    features = torch.stack((x, y))[None]
    sampled: Tensor = affine_align(
        features, matrix, torch.zeros(1, dtype=torch.int64), (WINDOW, WINDOW), convention=convention
    )
    return [(float(x), float(y)) for x, y in sampled[0].flatten(1).T]


def draw() -> str:
    panel = MAP * CELL
    width = len(CONVENTIONS) * panel + (len(CONVENTIONS) - 1) * GAP + 2 * MARGIN
    height = TOP + panel + TEXT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">',
        f"<style>{STYLE}</style>",
        f'<rect width="{width}" height="{height}" rx="8" fill="#fff"/>',
    ]
    for i, convention in enumerate(CONVENTIONS):
        parts += [f'<g transform="translate({MARGIN + i * (panel + GAP)}, 0)">', *_panel(convention), "</g>"]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(convention: str) -> Iterator[str]:
    formula, user = CONVENTIONS[convention]
    middle, below = MAP * CELL / 2, TOP + MAP * CELL
    yield f'<text class="name" x="{middle}" y="28">{convention}</text>'
    for row in range(MAP):
        for column in range(MAP):
            corner = f'x="{column * CELL}" y="{TOP + row * CELL}"'
            yield f'<rect class="pixel" {corner} width="{CELL}" height="{CELL}"/>'
            yield _circle("centre", (column, row), 2)
    if convention != "integer":
        yield from (_circle("integer", sample, 4) for sample in samples("integer"))
    first, *others = samples(convention)
    yield from (_circle("sample", sample, 4) for sample in (first, *others))
    yield _circle("first", first, 8)
    yield f'<text class="formula" x="{middle}" y="{below + 26}">{formula}</text>'
    yield f'<text x="{middle}" y="{below + 48}">{user}</text>'


def _circle(kind: str, pixel: tuple[float, float], radius: int) -> str:
    """Draws a circle at a point of the features; the centre of pixel (0, 0) is half a cell from the
    corner."""
    x, y = (CELL * (coordinate + 0.5) for coordinate in pixel)
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{TOP + y:.1f}" r="{radius}"/>'


if __name__ == "__main__":
    OUTPUT.write_text(draw())
