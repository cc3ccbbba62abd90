"""Tests of exported ONNX models in runtimes other than onnxruntime for Python, and in lower precision."""

import re
import shutil
import subprocess
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from exported import COUNTS, DOCUMENT, arguments, code, decided_model, intersection_over_union, require_same
from pose2seg import Pose2Seg, load_model
from pose2seg.network.export import FORMATS, INPUTS, Core, export_core
from pose2seg.network.inference import for_inference
from pose2seg.network.model import INPUT_SIZE
from shared_data import real_images
from torch import Tensor

from pose2seg_ops import letterbox, paste_masks

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxscript", reason="onnxscript is not installed")
Inputs = dict[str, npt.NDArray[Any]]
#: A function from inputs to probabilities and matrices.
Run = Callable[[Inputs], tuple[npt.NDArray[Any], npt.NDArray[Any]]]


def written(model: Pose2Seg, folder: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own warnings
        (folder / "pose2seg.onnx").write_bytes(FORMATS["onnx"](export_core(model)))
    return folder


@pytest.fixture(scope="module")
def model() -> Pose2Seg:
    return decided_model("pose2seg")


@pytest.fixture(scope="module")
def folder(model: Pose2Seg, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder with a small random model in ONNX."""
    return written(model, tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder with the model of the package in ONNX."""
    return written(load_model(), tmp_path_factory.mktemp("bundled"))


def named(images: Any, keypoints: Any, batch_index: Any) -> Inputs:
    return dict(zip(INPUTS, (np.asarray(each) for each in (images, keypoints, batch_index)), strict=True))


# Real images


def images_with_poses() -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    """Yields the first 20 real images with several people, and the poses of all people in each."""
    for image in islice(real_images(), 20):
        pixels = cv2.imread(str(image.path))
        assert pixels is not None
        yield pixels, np.stack([person.keypoints for person in image.people])


@dataclass
class Scene:
    """The inputs of the exported model for a real image, and the masks of the bundled model in float32."""

    inputs: Inputs
    to_input: Tensor  # (3, 3) image -> input
    size: tuple[int, int]
    masks: Tensor

    def masks_of(self, probabilities: Any, matrices: Any) -> Tensor:
        in_image = torch.as_tensor(matrices).float() @ self.to_input
        batch_index = torch.from_numpy(self.inputs["batch_index"])
        return paste_masks(torch.as_tensor(probabilities), in_image, batch_index, [self.size])[0]


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    core, found = Core(load_model()), []
    for pixels, keypoints in images_with_poses():
        matrix = letterbox([torch.from_numpy(pixels)], INPUT_SIZE, (0, 0, 0), (1, 1, 1))[1][0].numpy()
        poses = keypoints.astype(np.float32)
        poses[..., :2] = poses[..., :2] @ matrix[:, :2].T + matrix[:, 2]
        image = cv2.warpAffine(pixels, matrix, (INPUT_SIZE, INPUT_SIZE))
        inputs = named(image[None], poses, np.zeros(len(poses), np.int64))
        to_input = torch.from_numpy(np.vstack((matrix, [0, 0, 1])).astype(np.float32))
        scene = Scene(inputs, to_input, pixels.shape[:2], torch.empty(0))
        with torch.inference_mode():
            scene.masks = scene.masks_of(*core(*map(torch.from_numpy, inputs.values())))
        found.append(scene)
    return found


def agreement(run: Run, scenes: list[Scene]) -> npt.NDArray[np.float64]:
    """Returns the IoU of each person's mask with that of the bundled model in float32."""
    ious = []
    for scene in scenes:
        masks = scene.masks_of(*run(scene.inputs))
        ious += [
            intersection_over_union(mask, same)
            for mask, same in zip(masks, scene.masks, strict=True)
            if same.any()
        ]
    return np.array(ious)


# OpenVINO


def openvino_in(precision: str, folder: Path) -> Run:
    openvino = pytest.importorskip("openvino", reason="openvino is not installed")
    core = openvino.compile_model(folder / "pose2seg.onnx", "CPU", {"INFERENCE_PRECISION_HINT": precision})
    if core.get_property("INFERENCE_PRECISION_HINT").to_string() != precision:
        pytest.skip(f"OpenVINO does not compute in {precision} on this processor")
    return lambda inputs: (core(inputs)["probabilities"], core(inputs)["matrices"])


def test_openvino_gives_the_same_masks(model: Pose2Seg, folder: Path) -> None:
    run = openvino_in("f32", folder)
    for counts in COUNTS:
        require_same(run(named(*arguments(*counts))), Core(model)(*arguments(*counts)))


def test_the_code_for_openvino_runs(model: Pose2Seg, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs the code of the page in float32, with the option that the page has."""
    pytest.importorskip("openvino", reason="openvino is not installed")
    monkeypatch.chdir(folder)
    found: dict[str, Any] = {"inputs": named(*arguments(3, 5))}
    (hint,) = re.findall(r"`({\"INFERENCE_PRECISION_HINT\": \"f32\"})`", DOCUMENT)
    exec(code("python", "openvino").replace('"CPU"', f'"CPU", {hint}'), found)
    require_same((found["probabilities"], found["matrices"]), Core(model)(*arguments(3, 5)))


def test_openvino_keeps_positions_in_bfloat16(bundled: Path, scenes: list[Scene]) -> None:
    of_openvino = agreement(openvino_in("bf16", bundled), scenes)
    of_torch = agreement(bfloat16_in_torch(), scenes)
    assert np.quantile(of_openvino, 0.05) >= 0.985
    assert of_openvino.mean() >= 0.995
    assert of_openvino.mean() >= of_torch.mean() - 0.001


def bfloat16_in_torch() -> Run:
    """Returns the masks of the network in bfloat16, in torch."""
    model, core = for_inference(load_model(), torch.bfloat16), Core(load_model())

    @torch.inference_mode()
    def run(inputs: Inputs) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        rgb = torch.from_numpy(inputs["images"]).flip(-1).permute(0, 3, 1, 2)
        poses, batch_index = (torch.from_numpy(inputs[name]) for name in ("keypoints", "batch_index"))
        logits, matrices = model(((rgb - core.mean) / core.std).bfloat16(), poses, batch_index)
        return logits.float().softmax(1)[:, 1].numpy(), matrices.numpy()

    return run


# float16


def test_positions_are_float64(folder: Path) -> None:
    """Everything that the matrices depend on, with the grid and the skeleton maps, must be float64."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(onnx.load(folder / "pose2seg.onnx")).graph
    types = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    makers = {output: node for node in graph.node for output in node.output}
    upstream, todo = set(), ["matrices"]
    while todo:
        name = todo.pop()
        if name in makers and name not in upstream:
            upstream.add(name)
            todo.extend(makers[name].input)
    (sampled,) = (node for node in graph.node if node.op_type == "GridSample")
    (grid,) = makers[sampled.input[1]].input
    assert makers[sampled.input[1]].op_type == "Cast"
    assert grid in upstream
    assert any(makers[name].op_type == "Exp" and types[name] == onnx.TensorProto.DOUBLE for name in upstream)
    assert not any(makers[name].op_type == "Conv" for name in upstream)
    assert not {name for name in upstream if types.get(name) == onnx.TensorProto.FLOAT}


def onnxruntime_session(content: Any) -> Any:
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    return onnxruntime.InferenceSession(content)


def test_a_conversion_to_float16_keeps_positions(
    bundled: Path, scenes: list[Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    monkeypatch.chdir(bundled)
    exec(code("python", "convert_float_to_float16(model"), {})
    session = onnxruntime_session("pose2seg_float16.onnx")

    def run(inputs: Inputs) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        probabilities, matrices = session.run(None, inputs | {"keypoints": inputs["keypoints"].astype(float)})
        assert matrices.dtype == np.float64
        return probabilities, matrices

    found = agreement(run, scenes)
    assert found.min() >= 0.985
    assert found.mean() >= 0.999
    sizes = [(bundled / name).stat().st_size for name in ("pose2seg_float16.onnx", "pose2seg.onnx")]
    assert sizes[0] < 0.55 * sizes[1]


def test_a_plain_conversion_loses_what_the_page_says(bundled: Path, scenes: list[Scene]) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    converted = convert_float_to_float16(onnx.load(bundled / "pose2seg.onnx"), keep_io_types=True)
    session = onnxruntime_session(converted.SerializeToString())
    assert agreement(lambda inputs: session.run(None, inputs), scenes).mean() >= 0.99


# JavaScript


@pytest.mark.parametrize("package", ["onnxruntime-node", "onnxruntime-web"])
def test_the_javascript_gives_the_same_masks(
    package: str, model: Pose2Seg, folder: Path, tmp_path: Path
) -> None:
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node.js is not installed")
    installed = subprocess.run(["npm", "root", "--global"], capture_output=True, text=True, check=True)
    modules = Path(installed.stdout.strip())
    if not (modules / package).is_dir():
        pytest.skip(f"{package} is not installed: npm install --global {package}")
    (tmp_path / "node_modules").symlink_to(modules)
    (tmp_path / "pose2seg.onnx").symlink_to(folder / "pose2seg.onnx")
    (tmp_path / "core.mjs").write_text(code("js", "ort").replace("onnxruntime-node", package))
    for counts in COUNTS[:2]:  # all with people
        for name, tensor in zip(INPUTS, arguments(*counts), strict=True):
            tensor.numpy().tofile(tmp_path / f"{name}.bin")
        subprocess.run(["node", "core.mjs"], cwd=tmp_path, check=True, timeout=60)
        probabilities = np.fromfile(tmp_path / "probabilities.bin", np.float32).reshape(-1, 64, 64)
        matrices = np.fromfile(tmp_path / "matrices.bin", np.float32).reshape(-1, 2, 3)
        require_same((probabilities, matrices), Core(model)(*arguments(*counts)))
