"""Joining the processes that torchrun started; what they do together is tested where it is done."""

import pytest
import torch
from pose2seg import InputError, distributed


def test_a_world_size_without_torchrun_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")  # as some clusters set it
    with distributed.joined(torch.device("cpu")) as device:
        assert (device, distributed.rank(), distributed.count()) == (torch.device("cpu"), 0, 1)


def test_every_process_needs_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("TORCHELASTIC_RUN_ID", "run"), ("LOCAL_RANK", "2"), ("LOCAL_WORLD_SIZE", "3")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    message = "torchrun started 3 processes on this machine, where torch sees 2 CUDA devices"
    with pytest.raises(InputError, match=message), distributed.joined(torch.device("cuda")):
        pass
