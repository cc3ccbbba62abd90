"""What the ops on the CPU take of memory: their output, and that in huge pages."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from every_op import good_arguments

import pose2seg_ops

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

LARGE: dict[str, dict[str, Any]] = {
    "affine_align": {"output_size": (512, 512)},
    "skeleton_maps": {"output_size": (512, 512)},
    "align_with_skeleton": {"output_size": (512, 512)},
    "paste_masks": {"image_sizes": [(2048, 2048)] * 2},
    "letterbox": {"size": (1024, 1024)},
}


def flags_of_mapping(address: int) -> str:
    """VmFlags of the mapping that holds an address; see proc(5)."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first, _, rest = line.partition(" ")
        if first == "VmFlags:" and inside:
            return rest
        if not first.endswith(":"):
            begin, end = (int(bound, 16) for bound in first.split("-"))
            inside = begin <= address < end
    raise AssertionError("no such mapping")


@pytest.mark.parametrize("op", LARGE)
def test_a_large_output_asks_for_huge_pages(op):
    if not Path("/sys/kernel/mm/transparent_hugepage").exists():
        pytest.skip("this kernel has no transparent huge pages")
    result = getattr(pose2seg_ops, op)(**(good_arguments(op) | LARGE[op]))
    output = result if isinstance(result, torch.Tensor) else result[op == "paste_masks"]
    assert output.nbytes > 4 << 20
    assert "hg" in flags_of_mapping(output.data_ptr() + output.nbytes // 2).split()


def kibibytes(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_affine_align_takes_no_more_than_its_output(memory_format):
    """From a map for 128 instances, of which copies would take four times as much as the output."""
    input = torch.ones(1, 256, 128, 128).contiguous(memory_format=memory_format)
    matrices = torch.tensor([[0.6, 0.3, 1], [-0.3, 0.6, 20]]).repeat(128, 1, 1)
    batch_index = torch.zeros(128, dtype=torch.long)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = kibibytes("VmRSS")
    output = pose2seg_ops.affine_align(input, matrices, batch_index, (64, 64))
    taken = (kibibytes("VmHWM") - before) * 1024
    assert 0.95 * output.nbytes < taken < 1.05 * output.nbytes
