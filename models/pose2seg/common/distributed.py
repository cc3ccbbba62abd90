"""Communication between the processes that torchrun starts. Without torchrun there is one process."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from pose2seg.common.errors import InputError

T = TypeVar("T")


@contextmanager
def joined(device: torch.device) -> Iterator[torch.device]:
    """Joins the process group of torchrun for the duration of the block; does nothing without torchrun.

    Yields the device of this process: each process on a machine gets a GPU of its own. Raises InputError if
    there are more processes than GPUs.
    """
    if not dist.is_torchelastic_launched() or dist.is_initialized():
        yield device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        if device.index >= torch.cuda.device_count():
            raise InputError(
                f"torchrun started {os.environ['LOCAL_WORLD_SIZE']} processes on this machine, "
                f"on which torch sees {torch.cuda.device_count()} CUDA devices"
            )
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


def rank() -> int:
    """Returns the rank of this process, counted from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def count() -> int:
    """Returns the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def total(tensor: Tensor) -> Tensor:
    """Sums a tensor over all processes, in place, and returns it."""
    if dist.is_initialized():
        dist.all_reduce(tensor)
    return tensor


def copy_from_first(tensors: Iterable[Tensor]) -> None:
    """Copies the values of the first process's tensors to every process, in place."""
    if dist.is_initialized():
        for tensor in tensors:
            dist.broadcast(tensor, 0)


def wait_for_all() -> None:
    """Blocks until every process has called this function."""
    if dist.is_initialized():
        dist.barrier()


def gather(value: T) -> list[T]:
    """Returns the values of all processes, in the order of their ranks. A value must be picklable."""
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * count()
    dist.all_gather_object(values, value)
    return values


def is_first_to_say(message: str) -> bool:
    """Returns whether this process is the first to report a message. If that is unknown, returns True.

    The reports are counted in torchrun's store, which stays available when some processes have ended.
    """
    if not dist.is_torchelastic_launched():
        return True
    start = os.environ.get("TORCHELASTIC_RESTART_COUNT")
    try:
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = dist.TCPStore(address, port, is_master=False, timeout=timedelta(seconds=5))
        return store.add(f"start {start}: {message!a}", 1) == 1
    except (KeyError, ValueError, RuntimeError):
        return True
