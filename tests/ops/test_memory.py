"""Memory use of the CPU ops: peak memory, and huge pages for large tensors."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from every_op import valid_arguments
from pycocotools import mask as coco_mask

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
    """Returns the VmFlags of the mapping that contains an address; see proc(5)."""
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
    result = getattr(pose2seg_ops, op)(**(valid_arguments(op) | LARGE[op]))
    output = result if isinstance(result, torch.Tensor) else result[op == "paste_masks"]
    assert output.nbytes > 4 << 20
    assert "hg" in flags_of_mapping(output.data_ptr() + output.nbytes // 2).split()


def kibibytes(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


def peak(work: Callable[[], Any]) -> int:
    """Returns the peak memory of `work` in bytes, beyond the memory in use before."""
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = kibibytes("VmRSS")
    work()
    return (kibibytes("VmHWM") - before) * 1024


@pytest.mark.parametrize("one_image", [False, True])
def test_memory_of_paste_rle_grows_with_the_outline(one_image):
    """Pastes a thousand masks of 56 x 56 pixels, where the widest image has 2^20 columns."""
    sizes = [(64, 1 << 20), *[(64, 64)] * 999]
    batch_index = torch.zeros(1000, dtype=torch.long) if one_image else torch.arange(1000)
    matrices = torch.eye(2, 3).repeat(1000, 1, 1)
    encoded: list[Any] = []

    def work() -> None:
        encoded.extend(pose2seg_ops.paste_rle(torch.ones(1000, 56, 56), matrices, batch_index, sizes))

    # 112 boundaries of 4 bytes per mask, before and after joining, and 12.5 MB for the maps.
    assert peak(work) < 64 << 20
    masks = [mask for of_image in encoded for mask in of_image]
    assert [int(coco_mask.area(mask)) for mask in masks] == [56 * 56] * 1000


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_affine_align_takes_no_more_than_its_output(memory_format):
    """Samples a map for 128 instances; copies of it would take four times the memory of the output."""
    input = torch.ones(1, 256, 128, 128).contiguous(memory_format=memory_format)
    matrices = torch.tensor([[0.6, 0.3, 1], [-0.3, 0.6, 20]]).repeat(128, 1, 1)
    batch_index = torch.zeros(128, dtype=torch.long)
    outputs: list[torch.Tensor] = []
    taken = peak(lambda: outputs.append(pose2seg_ops.affine_align(input, matrices, batch_index, (64, 64))))
    assert 0.95 * outputs[0].nbytes < taken < 1.05 * outputs[0].nbytes
