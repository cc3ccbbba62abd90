"""Tests of files that no estimator can use, of the parts of the estimators, and of their downloads."""

import http.server
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from pose2seg import InputError
from pose2seg.data.poses.estimators import open_estimator
from pose2seg.data.poses.estimators.download import announce_download
from pose2seg.data.poses.estimators.letterbox import letterbox
from pose2seg.data.poses.estimators.onnx_models import providers_for
from pose2seg.data.poses.estimators.suppression import suppress

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

CPU = torch.device("cpu")


# Unusable files


def write(
    path: Path, outputs: dict[str, list[Any]], shape: list[Any], facts: dict[str, str] | None = None
) -> Path:
    """A network that returns zeros for every image."""
    helper, kinds = onnx.helper, onnx.TensorProto
    values = [
        helper.make_tensor(f"{n}_", kinds.FLOAT, s, [0.0] * int(np.prod(s))) for n, s in outputs.items()
    ]
    nodes = [helper.make_node("Identity", [f"{name}_"], [name]) for name in outputs]
    given = [helper.make_tensor_value_info("images", kinds.FLOAT, shape)]
    made = [helper.make_tensor_value_info(name, kinds.FLOAT, s) for name, s in outputs.items()]
    graph = helper.make_graph(nodes, "zeros", given, made, values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, facts or {})
    onnx.save(model, path)
    return path


POSE = {"kpt_shape": "[17, 3]", "names": "{0: 'person'}"}
SHAPE: list[Any] = [1, 3, 64, 64]


@pytest.mark.parametrize(
    ("outputs", "shape", "facts", "message"),
    [
        ({"a": [1], "b": [1]}, SHAPE, {}, "must have one output, as YOLO-pose, or RTMO's .*, got a, b"),
        (
            {"a": [1]},
            [1, 64, 64],
            POSE,
            r"the input must be one image, \(1, 3, height, width\), got \[\[1, 64, 64",
        ),
        ({"a": [1]}, [2, 3, 64, 64], POSE, r"the input must be one image, .*, got \[\[2, 3, 64, 64\]\]"),
        ({"a": [1]}, SHAPE, {}, r'must be a YOLO-pose model with "kpt_shape" \[17, 3\] .*, got nothing'),
        ({"a": [1]}, SHAPE, {"kpt_shape": "[5, 3]"}, r'.* with "kpt_shape" .*, got \[5, 3\]'),
        ({"a": [1]}, SHAPE, {"kpt_shape": "17["}, '"kpt_shape" cannot be read: \'17\\['),
        (
            {"a": [1]},
            SHAPE,
            {**POSE, "names": "{0: 'a', 1: 'b'}"},
            "must detect only people, got 2 classes",
        ),
        (
            {"a": [1]},
            [1, 3, "h", "w"],
            POSE,
            '"imgsz" must be the size of the input, because that is dynamic',
        ),
    ],
)
def test_networks_of_another_form_are_rejected(
    tmp_path: Path, outputs: dict[str, list[Any]], shape: list[Any], facts: dict[str, str], message: str
) -> None:
    path = write(tmp_path / "network.onnx", outputs, shape, facts)
    with pytest.raises(InputError, match=f"network.onnx: {message}"):
        open_estimator(str(path), CPU)


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (
            {"a": [1, 84, 100]},
            r"for 17 joints with 51 numbers, the output must be \(56, n\) or .*, got \(84, 100\)",
        ),
        (
            {"dets": [1, 4, 6], "keypoints": [1, 4, 17, 3]},
            r"outputs must be dets \(n, 5\) and .*, got \(4, 6\)",
        ),
        (
            {"dets": [1, 4, 5], "keypoints": [1, 4, 13, 3]},
            r"outputs must be dets .*, got .* and \(4, 13, 3\)",
        ),
    ],
)
def test_outputs_of_another_form_are_rejected(
    tmp_path: Path, outputs: dict[str, list[int]], message: str
) -> None:
    source = open_estimator(str(write(tmp_path / "network.onnx", outputs, SHAPE, POSE)), CPU)
    with pytest.raises(InputError, match=f"network.onnx: {message}"):
        source.find(Path("1.png"), (9, 9), np.zeros((9, 9, 3), np.uint8))


def test_files_that_onnxruntime_cannot_load_are_reported(tmp_path: Path) -> None:
    (tmp_path / "damaged.onnx").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"damaged.onnx: onnxruntime cannot load it: "):
        open_estimator(str(tmp_path / "damaged.onnx"), CPU)
    with pytest.raises(InputError, match=r"gone.onnx: no such file"):
        open_estimator(str(tmp_path / "gone.onnx"), CPU)


def test_unknown_estimators_are_rejected() -> None:
    with pytest.raises(
        InputError, match=r"must be keypoint-rcnn, .* or a file ending in \.pt or \.onnx, got openpose"
    ):
        open_estimator("openpose", CPU)


def test_the_gpu_is_used_if_onnxruntime_supports_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    on_gpu = ("CUDAExecutionProvider", {"device_id": 1})
    assert providers_for(torch.device("cuda", 1)) == [on_gpu, "CPUExecutionProvider"]
    assert providers_for(CPU) == ["CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [])
    assert providers_for(torch.device("cuda", 1)) == ["CPUExecutionProvider"]


# Parts of the estimators


@pytest.mark.parametrize("seed", range(20))
def test_suppression_equals_that_of_opencv(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 60, (80, 2))
    sizes = rng.uniform(5, 60, (80, 2))
    boxes = np.hstack([corners, corners + sizes]).astype(np.float32)
    scores = rng.permutation(np.linspace(0.1, 0.9, 80)).astype(np.float32)
    kept = cv2.dnn.NMSBoxes(np.hstack([corners, sizes]).tolist(), scores.tolist(), 0.0, 0.45)
    assert 1 < len(kept) < 80
    np.testing.assert_array_equal(suppress(boxes, scores, 0.45), np.ravel(kept))


def test_suppression_of_nothing_keeps_nothing() -> None:
    assert suppress(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), 0.5).shape == (0,)


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("size", [(97, 203), (1, 3000), (640, 640), (480, 641)])
def test_positions_in_a_letterbox_are_converted_back(size: tuple[int, int], centred: bool) -> None:
    """Finds the corners of a white image in its letterbox."""
    framed = letterbox(np.full((*size, 3), 255, np.uint8), (160, 224), centred=centred)
    assert framed.image.shape == (160, 224, 3)
    rows, columns = np.nonzero((framed.image == 255).all(axis=2))
    corners = np.array([[columns.min(), rows.min()], [columns.max() + 1, rows.max() + 1]], np.float32)
    np.testing.assert_allclose(framed.to_original(corners), [[0, 0], size[::-1]], atol=1e-3)


# Downloads


def test_a_download_is_reported_with_its_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Server(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "90500000")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.handle_request).start()
        url = f"http://127.0.0.1:{server.server_port}/weights.pth"
        announce_download(url, tmp_path / "weights.pth")
    assert capsys.readouterr().err == f"pose2seg: downloading {url} (90.5 MB) into {tmp_path}\n"
    (tmp_path / "weights.pth").touch()
    announce_download(url, tmp_path / "weights.pth")
    assert capsys.readouterr().err == ""
