"""Prediction, evaluation, training and export on a GPU, with and without TF32."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from backends import GPU_MARKS, on_gpu_only
from exported import arguments, decided_model, intersection_over_union, require_same
from golden import load_golden
from golden_model import golden_model
from people import draw_dataset
from pose2seg import Pose2Seg
from pose2seg.data.dataset import PersonImage
from pose2seg.evaluation.evaluate import evaluate
from pose2seg.network.export import Core, as_aoti, export_core, in_standard_operators
from pose2seg.network.inference import for_inference
from thread_count import thread_count
from tiny_training import rows, train_tiny

from benchmarks.gpu.tf32 import tf32

with_precisions = pytest.mark.parametrize(
    ("backend", "precision"),
    [
        ("emulated", "float32"),
        *(pytest.param("cuda", name, marks=GPU_MARKS) for name in ("float32", "tf32")),
    ],
    indirect=True,
)


@pytest.fixture
def precision(request: pytest.FixtureRequest) -> Iterator[str]:
    """Allows or forbids TF32, which rounds the factors of each product to 11 bits."""
    with tf32(request.param == "tf32"):
        yield request.param


# Each fixture of a module is made before the fixture `backend`, and thus with the CPU kernels.


@pytest.fixture(scope="module")
def model() -> Pose2Seg:
    return decided_model("pose2seg")


@pytest.fixture(scope="module")
def images_and_poses() -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    images, keypoints, image_of_each = arguments(2, 6)
    return [images[0], images[1, :300]], [keypoints[image_of_each == i] for i in range(2)]


@pytest.fixture(scope="module")
def masks(model: Pose2Seg, images_and_poses: Any) -> list[torch.Tensor]:
    return model.predict(*images_and_poses)


@with_precisions
@pytest.mark.parametrize("prepare", [copy.deepcopy, for_inference])
def test_predicts_the_masks_of_the_cpu(
    backend: Any,
    precision: str,
    model: Pose2Seg,
    images_and_poses: Any,
    masks: list[torch.Tensor],
    prepare: Any,
) -> None:
    ready = prepare(copy.deepcopy(model).to(backend.device))
    for images in (images_and_poses[0], [image.to(backend.device) for image in images_and_poses[0]]):
        for found, expected in zip(ready.predict(images, images_and_poses[1]), masks, strict=True):
            assert found.device.type == backend.device.type
            assert intersection_over_union(found.cpu(), expected) >= (
                0.999 if precision == "float32" else 0.98
            )


@with_precisions
def test_run_lengths_are_those_of_the_masks(
    backend: Any, precision: str, model: Pose2Seg, images_and_poses: Any
) -> None:
    there = copy.deepcopy(model).to(backend.device)
    for encoded, of_image in zip(
        there.predict_rle(*images_and_poses), there.predict(*images_and_poses), strict=True
    ):
        assert encoded == backend.encode_rle(of_image)


@on_gpu_only
@pytest.mark.parametrize("precision", ["float32", "tf32"], indirect=True)
def test_the_official_weights_give_the_original_masks(backend: Any, precision: str, tmp_path: Path) -> None:
    inputs, golden = load_golden("e2e_inputs.npz"), load_golden("e2e.npz")
    there = golden_model(tmp_path).to(backend.device)
    numbers = range(3)
    found = there.predict([inputs[f"img{i}"] for i in numbers], [inputs[f"kpts{i}"] for i in numbers])
    for i, of_image in zip(numbers, found, strict=True):
        for ours, theirs in zip(of_image.cpu().numpy(), golden[f"masks{i}"] > 0, strict=True):
            assert intersection_over_union(ours, theirs) >= 0.985


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[PersonImage]:
    return draw_dataset(tmp_path_factory.mktemp("drawn"), (1, 2, 3, 2))


@pytest.fixture(scope="module")
def ious(model: Pose2Seg, drawn: list[PersonImage]) -> list[list[float]]:
    return [row.ious for row in evaluate(model, drawn).images]


@with_precisions
def test_evaluates_like_the_cpu(
    backend: Any, precision: str, model: Pose2Seg, drawn: list[PersonImage], ious: list[list[float]]
) -> None:
    found = evaluate(copy.deepcopy(model).to(backend.device), drawn)
    tolerance = 1e-3 if precision == "float32" else 2e-2
    for row, expected in zip(found.images, ious, strict=True):
        assert row.ious == pytest.approx(expected, abs=tolerance)


@pytest.fixture(scope="module")
def losses(drawn: list[PersonImage], tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    return trained(drawn, tmp_path_factory.mktemp("cpu"), torch.device("cpu"))


def trained(images: list[PersonImage], output: Path, device: torch.device) -> list[float]:
    """Trains for two epochs. Returns the losses of the steps."""
    torch.manual_seed(0)
    with thread_count(1):  # the work is so small that several threads would mostly wait for each other
        train_tiny(images, output, validation=images, device=device)
    return [float(row["loss"]) for row in rows(output / "losses.csv")]


@with_precisions
def test_trains_like_the_cpu(
    backend: Any, precision: str, drawn: list[PersonImage], losses: list[float], tmp_path: Path
) -> None:
    assert len(set(losses)) == len(losses) == 4
    tolerance = 1e-3 if precision == "float32" else 2e-2
    assert trained(drawn, tmp_path, backend.device) == pytest.approx(losses, rel=tolerance)


@pytest.fixture(scope="module")
def exported(model: Pose2Seg) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns what exported programs must compute from `arguments(3, 5)`."""
    with torch.no_grad():
        return Core(model)(*arguments(3, 5))


@with_precisions
def test_an_exported_program_computes_like_the_cpu(
    backend: Any, precision: str, model: Pose2Seg, exported: tuple[torch.Tensor, torch.Tensor]
) -> None:
    program = export_core(copy.deepcopy(model).to(backend.device))
    require_like_the_cpu(program.module(), backend, precision, exported)


@on_gpu_only
@pytest.mark.parametrize("precision", ["float32", "tf32"], indirect=True)
def test_standard_operators_compute_like_the_cpu(
    backend: Any, precision: str, model: Pose2Seg, exported: tuple[torch.Tensor, torch.Tensor], tmp_path: Path
) -> None:
    program = export_core(copy.deepcopy(model).to(backend.device))
    require_like_the_cpu(in_standard_operators(program).module(), backend, precision, exported)
    (tmp_path / "core.pt2").write_bytes(as_aoti(program))
    package = torch._inductor.aoti_load_package(str(tmp_path / "core.pt2"))
    require_like_the_cpu(package, backend, precision, exported)


def require_like_the_cpu(
    run: Any, backend: Any, precision: str, expected: tuple[torch.Tensor, torch.Tensor]
) -> None:
    with torch.no_grad():
        found = run(*(tensor.to(backend.device) for tensor in arguments(3, 5)))
    probabilities, matrices = (tensor.cpu() for tensor in found)
    if precision == "float32":
        require_same((probabilities, matrices), expected)
    else:
        torch.testing.assert_close(matrices, expected[1], rtol=1e-5, atol=1e-4)  # no products of matrices
        assert intersection_over_union(probabilities > 0.5, expected[0] > 0.5) >= 0.98
