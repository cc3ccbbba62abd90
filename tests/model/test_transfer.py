import pytest
import torch
from pose2seg.network.transfer import _move_together, to_device
from torch.utils._python_dispatch import TorchDispatchMode

CPU, META = torch.device("cpu"), torch.device("meta")  # meta is used as a device with separate memory

TENSORS = [
    torch.arange(7, dtype=torch.uint8),
    torch.rand(3, 17, 3),
    torch.rand(4, 5, dtype=torch.float64).T,
    torch.tensor([2, 0, 1]),
    torch.zeros(0, 17, 3),
    torch.arange(24, dtype=torch.uint8).view(4, 2, 3).flip(2)[::2],
    torch.zeros((), dtype=torch.bool),
]


class Copies(TorchDispatchMode):
    """Counts the copies from one device to another."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **kwargs or {})
        if function.name().startswith(("aten::_to_copy", "aten::copy_")):
            self.count += args[0].device != result.device or args[-1].device != result.device
        return result


def test_all_tensors_are_moved_in_one_copy():
    with Copies() as copies:
        moved = to_device(TENSORS, META)
    assert copies.count == 1
    for before, after in zip(TENSORS, moved, strict=True):
        assert (after.shape, after.dtype, after.device) == (before.shape, before.dtype, META)


def test_tensors_are_unchanged_by_the_move():
    for before, after in zip(TENSORS, _move_together(TENSORS, CPU), strict=True):
        assert torch.equal(before, after)
        assert after.dtype == before.dtype
        assert before.numel() == 0 or after.data_ptr() != before.data_ptr()


@pytest.mark.parametrize("there", [CPU, META])
def test_tensors_on_the_device_are_not_copied(there):
    tensors = [tensor.to(there) for tensor in TENSORS]
    with Copies() as copies:
        assert all(a is b for a, b in zip(tensors, to_device(tensors, there), strict=True))
    assert copies.count == 0
    assert to_device([], there) == []


def test_only_tensors_on_other_devices_are_copied():
    first, *others = TENSORS
    moved, *stayed = to_device([first, *(tensor.to(META) for tensor in others)], META)
    assert moved.device == META
    assert [tensor.shape for tensor in stayed] == [tensor.shape for tensor in others]
