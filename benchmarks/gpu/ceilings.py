"""Describes the machine, and measures the highest rates of memory and of matrix products on it."""

import platform
import subprocess
from collections.abc import Iterator

import torch

import pose2seg_ops
from benchmarks.gpu.command import Run
from benchmarks.gpu.tf32 import tf32
from benchmarks.results import machine
from benchmarks.timing import alternate, copy_bandwidth
from pose2seg_ops._extension import _C


def facts(run: Run) -> None:
    """Records the versions of everything that a result depends on."""
    for name, value in _facts(run.device):
        run.record.add("facts", f"{name} {value}", name=name, value=value)


def _facts(device: torch.device) -> Iterator[tuple[str, str | None]]:
    yield "machine", machine(device)
    yield "python", platform.python_version()
    yield "torch", torch.__version__
    yield "CUDA of torch", torch.version.cuda
    yield "pose2seg_ops", pose2seg_ops.__version__
    yield "CUDA of the kernels", _C.cuda_version
    yield "architectures of the kernels", _C.cuda_architectures
    if device.type == "cuda":
        yield "properties", str(torch.cuda.get_device_properties(device))
        asked = "driver_version,clocks.sm,clocks.mem,temperature.gpu,power.draw,memory.total"
        yield (
            "nvidia-smi",
            subprocess.check_output(["nvidia-smi", f"--query-gpu={asked}", "--format=csv"], text=True),
        )


def copy(run: Run) -> None:
    """Measures the bytes per second that a large copy reads and writes."""
    copied = copy_bandwidth(run.device)
    run.record.add("copy", f"{copied / 1e9:.0f} GB/s", bytes_per_second=copied)


def matrix_products(run: Run) -> None:
    """Measures the operations per second of a large matrix product of random values."""
    side = 512 if run.rehearsal else 8192
    for name, dtype in (("float32", torch.float32), ("tf32", torch.float32), ("bfloat16", torch.bfloat16)):
        factors = tuple(torch.randn(side, side, device=run.device).to(dtype) for _ in range(2))
        with tf32(name == "tf32"):
            seconds = alternate({name: torch.mm}, factors, run.device, seconds=run.seconds(0.5))[name]
        rate = 2 * side**3 / seconds
        run.record.add("matrix_products", f"{name} {rate / 1e12:.1f} TFLOP/s", name=name, per_second=rate)
