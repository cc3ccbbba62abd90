"""Tests that the model is one graph, from images to probabilities, for any number of people."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pose2seg.network.inputs
import pose2seg.network.model
import pytest
import torch
from small_model import small_model
from torch._dynamo.testing import CompileCounterWithBackend

from pose2seg_ops import fit_pose_templates, paste_rle

TEMPLATES = torch.rand(2, 17, 3, generator=torch.Generator().manual_seed(0)) + torch.tensor([0, 0, 1])


class Probabilities(torch.nn.Module):
    """The model from image tensors and poses to a probability map and a matrix for each person."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.model = small_model(TEMPLATES).eval()

    def forward(
        self, images: torch.Tensor, keypoints: torch.Tensor, batch_index: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        logits, matrices = self.model(images, keypoints, batch_index)
        return logits.softmax(1)[:, 1], matrices


def poses(count: int, extent: float = 64.0) -> torch.Tensor:
    """Returns poses (count, 17, 3) like the templates, in an image of this size."""
    random = torch.Generator().manual_seed(count)
    position = TEMPLATES[torch.arange(count) % 2, :, :2] + 0.05 * torch.randn(count, 17, 2, generator=random)
    return torch.cat((extent * position, torch.full((count, 17, 1), 2.0)), -1)


def arguments(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    return images, poses(count), torch.arange(count) % 2


def test_the_poses_are_fitted():
    _, index, _ = fit_pose_templates(poses(6), TEMPLATES, (64, 64), (64, 64))
    assert (index >= 0).any()


@torch.no_grad()
def test_one_graph_serves_any_number_of_people() -> None:
    model = Probabilities()
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(model, fullgraph=True, backend=counter)
    for count in (3, 2, 7):
        images, keypoints, batch_index = arguments(count)
        for of_people in (keypoints, batch_index):
            torch._dynamo.mark_dynamic(of_people, 0)  # otherwise the first graph is only for three people
        expected = model(images, keypoints, batch_index)
        torch.testing.assert_close(compiled(images, keypoints, batch_index), expected)
    assert counter.frame_count == 1


def test_gradients_pass_through_the_graph() -> None:
    model = Probabilities()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    gradients = [
        torch.autograd.grad(run(*arguments(3))[0].sum(), list(model.parameters()))
        for run in (compiled, model)
    ]
    assert all(torch.count_nonzero(gradient) for gradient in gradients[0])
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("strict", [False, True])
def test_exports_for_any_number_of_people(strict: bool) -> None:
    model = Probabilities()
    people = torch.export.Dim("people", max=1000)
    shapes: tuple[dict[int, Any], ...] = ({}, {0: people}, {0: people})
    with torch.no_grad():
        program = torch.export.export(model, arguments(3), dynamic_shapes=shapes, strict=strict)
        for count in (2, 7):
            actual, expected = program.module()(*arguments(count)), model(*arguments(count))
            torch.testing.assert_close(actual, expected)


def images_and_poses() -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    random = torch.Generator().manual_seed(2)
    sizes = ((48, 64, 3), (90, 30, 3), (33, 57, 3))
    images = [torch.randint(0, 256, size, generator=random, dtype=torch.uint8) for size in sizes]
    return images, [poses(2, 48.0), torch.zeros(0, 17, 3), poses(3, 33.0)]


def test_images_to_probabilities_is_one_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiles everything that `predict` does before it pastes: letterbox, backbone, fit, head."""
    monkeypatch.setattr(pose2seg.network.model, "INPUT_SIZE", 64)
    model = small_model(TEMPLATES).eval()
    compiled = torch.compile(model.predict_probabilities, fullgraph=True, backend="aot_eager")
    actual, expected = compiled(*images_and_poses()), model.predict_probabilities(*images_and_poses())
    torch.testing.assert_close(actual.probabilities, expected.probabilities)
    torch.testing.assert_close(actual.matrices, expected.matrices)
    assert actual.image_sizes == expected.image_sizes


def test_nothing_is_read_before_the_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    """No value of a tensor is read by Python, and NumPy computes nothing, from images to probabilities."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a tensor was read")

    model = small_model(TEMPLATES).eval()
    expected = model.predict_rle(*images_and_poses())
    for name in (
        "item",
        "tolist",
        "numpy",
        "cpu",
        "nonzero",
        "__bool__",
        "__int__",
        "__float__",
        "__index__",
    ):
        monkeypatch.setattr(torch.Tensor, name, refuse)
    monkeypatch.setattr(torch.Tensor, "__array__", refuse)
    monkeypatch.setattr(pose2seg.network.inputs, "np", SimpleNamespace(ndarray=np.ndarray))
    pasting = model.predict_probabilities(*images_and_poses())
    monkeypatch.undo()
    assert paste_rle(*pasting) == expected
