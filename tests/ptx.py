"""Runs the PTX that nvcc makes of a kernel, where nvcc and a PTX interpreter are at hand."""

import os
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import build_config

ROOT = Path(__file__).parents[1]

# csrc/core/affine_align.h
AFFINE_ALIGN_PARAMS = np.dtype(
    [(name, np.uint64) for name in ("input", "matrices", "batch_index", "output")]
    + [(name, np.int64) for name in ("batch", "channels", "height", "width")]
    + [(name, np.int64) for name in ("instances", "out_height", "out_width")]
    + [(name, np.int64, 4) for name in ("input_strides", "output_strides")]
    + [(name, np.int32) for name in ("convention", "dtype")],
    align=True,
)
CONVENTIONS = ("integer", "half_pixel", "pose2seg")
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
MANGLED = {
    torch.float32: "f",
    torch.float64: "d",
    torch.float16: "6__half",
    torch.bfloat16: "13__nv_bfloat16",
}


@lru_cache
def compile_ptx(interpreter: ModuleType, kernel: str):
    toolkit = build_config.find_cuda_toolkit(os.environ)
    if toolkit is None:
        pytest.skip("no nvcc")
    options = [*build_config.NVCC_FLAGS, f"-I{ROOT}/csrc"]
    source = str(ROOT / "csrc" / "cuda" / f"{kernel}.cu")
    return interpreter.Module(interpreter.nvcc_ptx(source, "compute_80", options, str(toolkit.nvcc)))


def raw(tensor: torch.Tensor) -> np.ndarray:
    """The storage of a tensor as a flat array, bit for bit."""
    flat = torch.as_strided(tensor, (tensor.untyped_storage().nbytes() // tensor.element_size(),), (1,), 0)
    return (flat.view(torch.int16) if tensor.dtype == torch.bfloat16 else flat).numpy()


def run(interpreter, module, kernel, grid, block, arguments, device, halves_in_warps=False):
    """Launches a kernel; fails on a race, also between blocks, and on a bank conflict factor above 2.

    `halves_in_warps`: lanes share words of shared memory, of which the interpreter then remembers that
    several have read them, but not that a warp barrier followed. Such reports are left out.
    """
    report = interpreter.run(
        module,
        kernel,
        grid,
        block,
        arguments,
        device=device,
        stats=True,
        race=True,
        race_global=True,
        sample=1,
    )
    races = [r for r in report.races if not (halves_in_warps and r["first"] == "several threads")]
    assert not races, report.report()
    assert not report.warnings, report.report()
    shared = [access["conflict"] for access in report.stats["mem"] if access["space"] == "shared"]
    assert max(shared, default=1) <= 2, report.report()
    return report


def accesses(report, kind):
    """What loads ("ld") or stores ("st") global memory with more than a thread of each warp."""
    return [
        access
        for access in report.stats["mem"]
        if f"{kind}.global" in access["text"] and access["lanes"] > access["requests"]
    ]


def efficiency(accesses):
    """Bytes of the lanes by bytes of the sectors that they ask for."""
    useful = sum(access["lanes"] * access["bytes"] for access in accesses)
    return useful / (32 * sum(access["sectors"] for access in accesses))


def _geometry(input, channels_last, staged, vector, index):
    """The kernel for an input, the pixels and the threads of a block, and the blocks for all channels."""
    element, channels = MANGLED[input.dtype] + index, input.shape[1]
    if channels_last:
        lanes = 32 if staged else min(32, 1 << int(channels // vector - 1).bit_length())
        kernel = f"align_{'staged' if staged else 'channels_last'}I{element}Li{vector}E"
        groups = -(-channels // vector // (32 * {1: 4, 8: 1}.get(vector, 2)))
        return kernel, (8, 8), (lanes, min(256 // lanes, 64)), groups
    kernel = f"align_planesI{element}Lb{int(input.stride(3) == 1)}E"
    return kernel, (16, 8), (128, min(2, -(-channels // 64))), -(-channels // 128)


def affine_align(
    module, interpreter, input, matrices, batch_index, size, convention="integer", index="i", beside=0
):
    """Launches the kernel as csrc/cuda/affine_align.cu does; returns the output and what was counted.

    `beside`: further channels of the output that are not the kernel's.
    """
    count, channels = len(matrices), input.shape[1]
    channels_last = input.stride(1) == 1 and input.stride(3) != 1
    output = torch.full((count, channels + beside, *size), torch.nan, dtype=input.dtype)
    output = output.contiguous(memory_format=torch.channels_last) if channels_last else output
    whole = 16 // input.element_size()
    staged = channels_last and channels % whole == 0 and (channels + beside) % whole != 0
    vector = whole if channels_last and channels % whole == 0 else 1
    counted = 1 if staged else vector  # channels that sizes and strides count
    device = interpreter.Device()
    p = np.zeros((), AFFINE_ALIGN_PARAMS)
    for name, tensor in (
        ("input", input),
        ("matrices", matrices),
        ("batch_index", batch_index),
        ("output", output),
    ):
        p[name] = device.bind(raw(tensor), name)
    p["batch"], p["channels"], p["height"], p["width"] = input.shape
    p["channels"] //= counted
    p["instances"], p["out_height"], p["out_width"] = count, size[0], size[1]
    p["input_strides"] = [s if i == 1 else s // counted for i, s in enumerate(input.stride())]
    p["output_strides"] = [s if i == 1 else s // counted for i, s in enumerate(output.stride())]
    p["convention"], p["dtype"] = CONVENTIONS.index(convention), DTYPES.index(input.dtype)

    kernel, tile, block, groups = _geometry(input, channels_last, staged, vector, index)
    across, down = -(-size[1] // tile[0]), -(-size[0] // tile[1])
    tiling = np.array([across, down], np.uint32).tobytes()
    report = run(
        interpreter,
        module,
        kernel,
        (count * across * down, groups),
        block,
        [p, tiling],
        device=device,
        halves_in_warps=staged and input.element_size() == 2,
    )
    return output, report
