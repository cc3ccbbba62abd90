"""Compiles kernels to PTX and runs it, if nvcc is installed."""

import os
from functools import lru_cache

import numpy as np
import ptxrun
import pytest
import torch
from paths import ROOT

import build_config

# The struct of csrc/core/affine_windows.h, and those that start with it.
AFFINE_WINDOWS = [
    *((name, np.uint64) for name in ("matrices", "batch_index")),
    *((name, np.int64) for name in ("batch", "channels", "height", "width")),
    *((name, np.int64) for name in ("instances", "out_height", "out_width")),
    *((name, np.int64, 4) for name in ("input_strides", "output_strides")),
    *((name, np.int32) for name in ("convention", "dtype")),
]


def affine_windows_struct(*pointers: str) -> np.dtype:
    return np.dtype([*AFFINE_WINDOWS, *((name, np.uint64) for name in pointers)], align=True)


AFFINE_ALIGN_PARAMS = affine_windows_struct("input", "output")
CONVENTIONS = ("integer", "half_pixel", "pose2seg")
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
MANGLED = {
    torch.float32: "f",
    torch.float64: "d",
    torch.float16: "6__half",
    torch.bfloat16: "13__nv_bfloat16",
}


@lru_cache
def compile_ptx(kernel: str) -> ptxrun.Module:
    toolkit = build_config.find_cuda_toolkit(os.environ)
    if toolkit is None:
        pytest.skip("no nvcc")
    options = [*build_config.NVCC_FLAGS, f"-I{ROOT}/csrc"]
    source = ROOT / "csrc" / "cuda" / f"{kernel}.cu"
    return ptxrun.Module(ptxrun.compile_ptx(source, "compute_80", options, toolkit.nvcc))


def raw(tensor: torch.Tensor) -> np.ndarray:
    """Returns the storage of a tensor as a flat array, bit for bit."""
    flat = torch.as_strided(tensor, (tensor.untyped_storage().nbytes() // tensor.element_size(),), (1,), 0)
    return (flat.view(torch.int16) if tensor.dtype == torch.bfloat16 else flat).numpy()


def run(module, kernel, grid, block, arguments, device, halves_in_warps=False) -> ptxrun.Report:
    """Launches a kernel. Fails on a race, also between blocks, and on a bank conflict factor above 2.

    `halves_in_warps`: lanes share words of shared memory. The interpreter then knows that several lanes have
    read a word, but not that a warp barrier followed, so such reports are ignored.
    """
    report = ptxrun.run(module, kernel, grid, block, arguments, device)
    assert not [race for race in report.races if not (halves_in_warps and race.first == "several threads")], (
        report
    )
    assert max((access.conflict for access in report.accesses), default=1) <= 2, report
    return report


def accesses(report: ptxrun.Report, kind: str) -> list[ptxrun.Access]:
    """Returns the loads ("ld") or stores ("st") of global memory by more than one thread per warp."""
    of_kind = [access for access in report.accesses if (access.kind, access.space) == (kind, "global")]
    return [access for access in of_kind if access.lanes > access.requests]


def efficiency(accesses: list[ptxrun.Access]) -> float:
    """Returns the bytes of the lanes divided by the bytes of the requested sectors."""
    useful = sum(access.lanes * access.bytes for access in accesses)
    return useful / (32 * sum(access.sectors for access in accesses))


def _geometry(input, channels_last, staged, vector, index):
    """Returns the kernel for an input, the pixels and threads of a block, and the blocks for all channels."""
    element, channels = MANGLED[input.dtype] + index, input.shape[1]
    if channels_last:
        lanes = 32 if staged else min(32, 1 << int(channels // vector - 1).bit_length())
        kernel = f"align_{'staged' if staged else 'channels_last'}I{element}Li{vector}E"
        groups = -(-channels // vector // (32 * {1: 4, 8: 1}.get(vector, 2)))
        return kernel, (8, 8), (lanes, min(256 // lanes, 64)), groups
    kernel = f"align_planesI{element}Lb{int(input.stride(3) == 1)}E"
    return kernel, (16, 8), (128, min(2, -(-channels // 64))), -(-channels // 128)


def affine_align(module, input, matrices, batch_index, size, convention="integer", index="i", extra=0):
    """Launches the kernel as csrc/cuda/affine_align.cu does; returns the output and the report.

    `extra`: the number of further output channels, which the kernel does not write.
    """
    count, channels = len(matrices), input.shape[1]
    channels_last = input.stride(1) == 1 and input.stride(3) != 1
    output = torch.full((count, channels + extra, *size), torch.nan, dtype=input.dtype)
    output = output.contiguous(memory_format=torch.channels_last) if channels_last else output
    whole = 16 // input.element_size()
    staged = channels_last and channels % whole == 0 and (channels + extra) % whole != 0
    vector = whole if channels_last and channels % whole == 0 else 1
    counted = 1 if staged else vector  # channels per unit of sizes and strides
    device = ptxrun.Device()
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
    tiling = np.array([across, down, 0], np.uint32).tobytes()
    report = run(
        module,
        kernel,
        (count * across * down, groups),
        block,
        [p, tiling],
        device=device,
        halves_in_warps=staged and input.element_size() == 2,
    )
    return output, report
