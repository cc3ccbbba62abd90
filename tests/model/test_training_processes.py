"""Tests that a training shared by processes gives the result of one process."""

import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from people import draw_dataset
from tiny_training import TINY, rows, train_tiny

# Arguments: a folder with the pickled arguments of train_tiny, and the paths of modules.
SCRIPT = """
import pickle, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
import torch
from pose2seg.common import distributed
from tiny_training import train_tiny

torch.set_num_threads(1)
folder = Path(sys.argv[1])
images, recipe = pickle.loads((folder / "arguments").read_bytes())
with distributed.joined(torch.device("cpu")) as device:
    train_tiny(images, folder / "shared", recipe, validation=images[:2], device=device)
"""


def run_with_two_processes(folder: Path) -> "subprocess.CompletedProcess[str]":
    (folder / "script.py").write_text(SCRIPT)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*torchrun, str(folder / "script.py"), str(folder), *sys.path]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(("batch_size", "people"), [(2, 4), (3, 5)], ids=["equal shares", "unequal shares"])
def test_two_processes_train_as_one(tmp_path: Path, batch_size: int, people: int) -> None:
    images = draw_dataset(tmp_path, (1, 2, 3, 1, 2))
    # Batch norms would learn other statistics from the batch of each process.
    recipe = replace(TINY, batch_size=batch_size, people=people, batch_norm="frozen", gradient_clip=1.0)
    (tmp_path / "arguments").write_bytes(pickle.dumps((images, recipe)))
    done = run_with_two_processes(tmp_path)
    assert done.returncode == 0, done.stderr
    train_tiny(images, tmp_path / "alone", recipe, validation=images[:2])

    for name, tolerance in (("losses.csv", 1e-4), ("metrics.csv", 1e-2)):
        shared, alone = rows(tmp_path / "shared" / name), rows(tmp_path / "alone" / name)
        assert len(shared) == len(alone) > 0
        for first, second in zip(shared, alone, strict=True):
            scores = {key: float(value) for key, value in first.items()}
            others = {key: float(value) for key, value in second.items()}
            assert scores == pytest.approx(others, rel=tolerance, nan_ok=True)
    for part in (weights_of, gradients_of):
        found, expected = part(tmp_path / "shared/state.pt"), part(tmp_path / "alone/state.pt")
        assert (found - expected).norm() < 1e-3 * expected.norm()


def weights_of(path: Path) -> torch.Tensor:
    state = torch.load(path, weights_only=True)["state"]
    return torch.cat([tensor.double().flatten() for tensor in state["model"].values()])


def gradients_of(path: Path) -> torch.Tensor:
    """Returns the running mean of the gradients, in the optimizer."""
    moments = torch.load(path, weights_only=True)["state"]["optimizer"]["state"].values()
    return torch.cat([of_parameter["exp_avg"].double().flatten() for of_parameter in moments])


def test_more_processes_than_images_in_a_batch_are_rejected(tmp_path: Path) -> None:
    images = draw_dataset(tmp_path)
    (tmp_path / "arguments").write_bytes(pickle.dumps((images, replace(TINY, batch_size=1))))
    done = run_with_two_processes(tmp_path)
    assert done.returncode != 0
    assert "the batch size must be at least the number of processes, 2, got 1" in done.stderr
