"""Runs the PTX of CUDA kernels on the CPU with numpy, checks their memory accesses and counts them.

    module = ptxrun.Module(ptxrun.compile_ptx(Path("kernel.cu"), "compute_80", nvcc=Path("nvcc")))
    device = ptxrun.Device()
    report = ptxrun.run(module, "saxpy", grid, block, [device.bind(x), device.bind(y), np.float32(2)], device)

It supports what the kernels of this repository need; other instructions raise a PtxError that names them.
Counts are of PTX instructions, which do not map one to one to machine instructions. Functions that a GPU
approximates (ex2, rsqrt) return the correctly rounded value.
"""

from ptxrun.compile import compile_ptx
from ptxrun.launch import run
from ptxrun.memory import Device
from ptxrun.parse import Module, PtxError
from ptxrun.report import Access, Race, Report

__all__ = ["Access", "Device", "Module", "PtxError", "Race", "Report", "compile_ptx", "run"]
