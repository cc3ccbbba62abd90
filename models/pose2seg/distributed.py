"""Several processes that work on one thing, as torchrun starts them; or one, without it."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from pose2seg.errors import InputError

T = TypeVar("T")


@contextmanager
def joined(device: torch.device) -> Iterator[torch.device]:
    """Join the processes that torchrun started, until the block is left; without torchrun, do nothing.

    Yields the device of this process: of several GPUs, each process of a machine has its own. Raises
    InputError where there are more processes than GPUs.
    """
    if not dist.is_torchelastic_launched() or dist.is_initialized():
        yield device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        if device.index >= torch.cuda.device_count():
            raise InputError(
                f"torchrun started {os.environ['LOCAL_WORLD_SIZE']} processes on this machine, "
                f"where torch sees {torch.cuda.device_count()} CUDA devices"
            )
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def count() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def total(tensor: Tensor) -> Tensor:
    """The sum over all processes, in place."""
    if dist.is_initialized():
        dist.all_reduce(tensor)
    return tensor


def copy_from_first(tensors: Iterable[Tensor]) -> None:
    """Give every process the values of the first one, in place."""
    if dist.is_initialized():
        for tensor in tensors:
            dist.broadcast(tensor, 0)


def wait_for_all() -> None:
    """Go on when every process has come here."""
    if dist.is_initialized():
        dist.barrier()


def gather(value: T) -> list[T]:
    """What each process gives, in their order; anything that can be pickled."""
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * count()
    dist.all_gather_object(values, value)
    return values


def is_first_to_say(message: str) -> bool:
    """Whether no other process has said the same; also where that cannot be known.

    torchrun keeps what this is noted in, whichever of its processes have ended.
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
