"""Tests that implementations run with `--device cuda`, on a fake GPU that refuses what a real one would."""

import numpy as np
import pytest
import torch
from fake_gpu import GPU, FakeGpu, OnGpu

from benchmarks.case import FLOOR, find_cases

SMALL = [
    c
    for c in find_cases()
    if c.op == "call overhead" or (c.scale is not None and c.scale.size == 1 and "predict" not in c.op)
]


def test_the_fake_refuses_what_a_gpu_would():
    with FakeGpu():
        here, there = torch.ones(3), torch.ones(3).to("cuda")
        assert isinstance(there, OnGpu)
        assert (
            there.device.type
            == (there + there).device.type
            == torch.zeros(3, device=GPU).device.type
            == "cuda"
        )
        assert type(there.cpu()) is torch.Tensor
        with pytest.raises(TypeError, match="cannot be converted"):
            there.numpy()
        with pytest.raises(TypeError, match="cannot be converted"):
            np.asarray(there)
        with pytest.raises(RuntimeError, match="same device"):
            there + here
        with pytest.raises(RuntimeError, match="same device"):
            torch.stack([there, here])


@pytest.mark.parametrize("case", SMALL, ids=str)
def test_implementations_accept_tensors_on_a_gpu(case):
    with FakeGpu():
        arguments = case.inputs(GPU)
        assert any(isinstance(part, OnGpu) for part in flat(arguments))
        case.check(arguments)
        if FLOOR in case.implementations:
            assert isinstance(case.implementations[FLOOR](*arguments), OnGpu)


def flat(value):
    if isinstance(value, (list, tuple)):
        return [part for each in value for part in flat(each)]
    return flat(list(value.values())) if isinstance(value, dict) else [value]
