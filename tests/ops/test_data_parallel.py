"""Gradients of the ops in models that DistributedDataParallel and FSDP2 share between two processes."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pose2seg_ops import align_with_skeleton

# Arguments: a folder, how to share the model, and the paths of modules.
SCRIPT = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from test_data_parallel import Head, loss, samples, steps

torch.set_num_threads(1)
folder, kind = Path(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo")
rank = dist.get_rank()
model = Head()
if kind == "ddp":
    shared = torch.nn.parallel.DistributedDataParallel(model)
else:
    shared = fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
steps(shared, [samples(rank)])
parameters = [parameter.full_tensor() if kind == "fsdp" else parameter for parameter in model.parameters()]
if rank == 0:
    torch.save([parameter.detach() for parameter in parameters], folder / "parameters.pt")
dist.destroy_process_group()
"""


class Head(nn.Module):
    """Predicts where to look: every argument of the op gets a gradient, on the way to a parameter."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.features = nn.Conv2d(2, 4, 3, padding=1)
            self.pose = nn.Linear(12, 12)
            self.window = nn.Linear(12, 6)
            self.mask = nn.Conv2d(4 + 4 + 4, 1, 1)

    def forward(self, images: Tensor, poses: Tensor) -> Tensor:
        moves = self.pose(poses.flatten(1)).unflatten(1, (4, 3)) * torch.tensor([1.0, 1.0, 0.0])
        matrices = torch.eye(2, 3) + 0.1 * self.window(poses.flatten(1)).unflatten(1, (2, 3))
        windows = align_with_skeleton(
            self.features(images),
            poses + moves,
            matrices,
            torch.arange(len(poses)),
            (8, 8),
            limbs=((0, 1), (2, 3)),
        )
        return self.mask(windows)


def samples(rank: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(rank)
    poses = 8 * torch.rand(3, 4, 3, generator=generator)
    return torch.rand(3, 2, 10, 10, generator=generator), poses


def loss(masks: Tensor) -> Tensor:
    return (masks - 1).square().mean()


def steps(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> None:
    """Takes three steps of gradient descent; each is the mean over batches of the same size."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        for batch in batches:
            (loss(model(*batch)) / len(batches)).backward()
        optimizer.step()


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_two_processes_train_as_one(tmp_path: Path, kind: str) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*torchrun, str(tmp_path / "script.py"), str(tmp_path), kind, *sys.path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    alone = Head()
    before = [parameter.detach().clone() for parameter in alone.parameters()]
    steps(alone, [samples(0), samples(1)])
    shared = torch.load(tmp_path / "parameters.pt", weights_only=True)
    for found, expected, start in zip(shared, alone.parameters(), before, strict=True):
        change = expected.detach() - start
        assert change.norm() > 0
        torch.testing.assert_close(found - start, change, rtol=1e-3, atol=1e-3 * change.abs().max().item())
