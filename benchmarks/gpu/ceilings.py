"""Describes the machine, and measures the highest rates of memory and of matrix products on it."""

import platform
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import torch

import pose2seg_ops
from benchmarks.gpu.command import Run
from benchmarks.gpu.replay import seconds_of_replay
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


def memory(run: Run) -> None:
    """Measures the bytes per second that a large copy reads and writes."""
    copied = copy_bandwidth(run.device)
    run.record.add("memory", f"a copy moves {copied / 1e9:.0f} GB/s", value=copied)


def l2(run: Run) -> None:
    """Measures the same within the L2 cache, by copying 4 MB again and again."""
    source = torch.ones(1 << 22, dtype=torch.uint8, device=run.device)
    target = torch.empty_like(source)
    copied = 2 * source.nbytes / _seconds_of_each(lambda: target.copy_(source), run)
    run.record.add("l2", f"a copy in the L2 cache moves {copied / 1e9:.0f} GB/s", value=copied)


def launch(run: Run) -> None:
    """Measures the seconds that a kernel with next to nothing to do takes in a CUDA graph."""
    number = torch.zeros(1, device=run.device)
    seconds = _seconds_of_each(lambda: number.add_(1), run)
    run.record.add("launch", f"a kernel takes {seconds * 1e6:.2f} us", value=seconds)


def _seconds_of_each(kernel: Callable[[], Any], run: Run) -> float:
    """Returns the median time of a kernel that follows another one."""
    if run.device.type != "cuda":
        return alternate({"kernel": kernel}, (), run.device, seconds=0)["kernel"]
    with torch.cuda.stream(torch.cuda.Stream(run.device)):
        return seconds_of_replay(kernel, [()] * 100, run.device, run.seconds(0.3))


def matrix_products(run: Run) -> None:
    """Measures the operations per second of a large matrix product of random values."""
    side = 512 if run.rehearsal else 8192
    for name, dtype in (("float32", torch.float32), ("tf32", torch.float32), ("bfloat16", torch.bfloat16)):
        factors = tuple(torch.randn(side, side, device=run.device).to(dtype) for _ in range(2))
        with tf32(name == "tf32"):
            seconds = alternate({name: torch.mm}, factors, run.device, seconds=run.seconds(0.5))[name]
        rate = 2 * side**3 / seconds
        run.record.add("matrix_products", f"{name} {rate / 1e12:.1f} TFLOP/s", name=name, per_second=rate)
