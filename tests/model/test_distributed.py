"""Tests of joining the processes of torchrun; what they do together is tested elsewhere."""

from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
from pose2seg import InputError
from pose2seg.commands import cli
from pose2seg.common import distributed


def test_a_world_size_without_torchrun_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")  # some clusters set it
    with distributed.joined(torch.device("cpu")) as device:
        assert (device, distributed.rank(), distributed.count()) == (torch.device("cpu"), 0, 1)


def test_every_process_needs_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("TORCHELASTIC_RUN_ID", "run"), ("LOCAL_RANK", "2"), ("LOCAL_WORLD_SIZE", "3")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    message = "torchrun started 3 processes on this machine, on which torch sees 2 CUDA devices"
    with pytest.raises(InputError, match=message), distributed.joined(torch.device("cuda")):
        pass


def test_the_same_message_of_all_processes_is_reported_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, timeout=timedelta(seconds=60))  # like torchrun's
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "run")
    for name, value in (("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", str(store.port))):
        monkeypatch.setenv(name, value)
    for batch_size in ("0", "-1", "0", "0"):
        assert cli.main(["predict", "--batch-size", batch_size]) == 2
    told = [line.split(", got ")[1][:3] for line in capsys.readouterr().err.splitlines()]
    assert told == ["'0'", "'-1"]
    assert [distributed.is_first_to_say("\udcff.json") for _ in range(2)] == [True, False]
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert distributed.is_first_to_say("\udcff.json")
    monkeypatch.setenv("MASTER_PORT", "")
    assert [distributed.is_first_to_say("\udcff.json") for _ in range(2)] == [True, True]
