"""Requests to the example `mask_server`, over real connections."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from paths import ROOT
from people import draw_dataset
from pose2seg import Pose2Seg, load_templates, save_checkpoint
from small_model import small_model

httpx = pytest.importorskip("httpx", reason="httpx is not installed")
uvicorn = pytest.importorskip("uvicorn", reason="uvicorn is not installed")
pytest.importorskip("fastapi", reason="fastapi is not installed")
pytest.importorskip("python_multipart", reason="python-multipart is not installed")
mask_server = pytest.importorskip("mask_server")

pytestmark = pytest.mark.usefixtures("one_thread")


@contextmanager
def serving(model: Pose2Seg, **limits: Any) -> Iterator[str]:
    """Runs the server in a thread, and yields its address."""
    app = mask_server.make_app(model, mask_server.Limits(**limits))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/masks"
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


def wait_until(is_so: Any, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


class Gate:
    """Lets the test hold the model back, and counts the images of each of its batches."""

    def __init__(self, model: Pose2Seg, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = threading.Event()
        self.batches: list[int] = []
        predict = model.predict_probabilities

        def predict_when_open(images: Any, keypoints: Any) -> Any:
            self.batches.append(len(images))
            assert self.open.wait(30)
            return predict(images, keypoints)

        monkeypatch.setattr(model, "predict_probabilities", predict_when_open)


@pytest.fixture
def model() -> Pose2Seg:
    torch.manual_seed(0)
    return small_model(load_templates()).eval()


@pytest.fixture
def gate(model: Pose2Seg, monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(model, monkeypatch)


@pytest.fixture
def forms(tmp_path: Path) -> list[dict[str, Any]]:
    """Returns the arguments of requests for six images, which have 1, 2, 0, 3, 1 and 1 people."""
    drawn = draw_dataset(tmp_path, counts=(1, 2, 0, 3, 1, 1))
    return [
        {
            "files": {"image": (image.path.name, image.path.read_bytes())},
            "data": {"poses": json.dumps([poses_of(p.keypoints) for p in image.people])},
        }
        for image in drawn
    ]


def poses_of(keypoints: np.ndarray, score: float = 0.5) -> dict[str, Any]:
    return {"keypoints": keypoints.ravel().tolist(), "score": score}


def answers(model: Pose2Seg, form: dict[str, Any], image_id: int) -> list[dict[str, Any]]:
    """Returns the expected masks of a request, without their quality."""
    image = cv2.imdecode(np.frombuffer(form["files"]["image"][1], np.uint8), cv2.IMREAD_COLOR)
    poses = [np.reshape(p["keypoints"], (17, 3)) for p in json.loads(form["data"]["poses"])]
    (masks,) = model.predict_rle(image, np.reshape(poses, (-1, 17, 3)).astype(np.float32))
    return [
        {
            "image_id": image_id,
            "category_id": 1,
            "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
            "score": 0.5,
        }
        for rle in masks
    ]


def test_the_answers_are_the_masks_of_the_model(model: Pose2Seg, forms: list[dict[str, Any]]) -> None:
    with serving(model) as url, httpx.Client() as client:
        for i, form in enumerate(forms):
            response = client.post(url, **form)
            assert response.status_code == 200
            results = response.json()
            assert all(0 <= result.pop("quality") <= 1 for result in results)
            assert results == answers(model, form, i)
    assert sum(len(answers(model, form, 0)) for form in forms) == 8


def test_requests_at_the_same_time_share_a_batch(
    model: Pose2Seg, gate: Gate, forms: list[dict[str, Any]]
) -> None:
    gate.open.set()
    with serving(model, batch=6, wait=1.0) as url:
        alone = [httpx.post(url, **form).json() for form in forms]
        assert gate.batches == [1] * 6
        with ThreadPoolExecutor(6) as threads:
            together = list(threads.map(lambda form: httpx.post(url, **form).json(), forms))
    assert gate.batches[6:] == [6]
    assert together == alone


def test_a_batch_has_at_most_its_size(model: Pose2Seg, gate: Gate, forms: list[dict[str, Any]]) -> None:
    with serving(model, batch=2) as url, ThreadPoolExecutor(6) as threads:
        responses = threads.map(lambda form: httpx.post(url, **form, timeout=30).status_code, forms)
        wait_until(lambda: gate.batches)
        gate.open.set()
        assert list(responses) == [200] * 6
    assert sum(gate.batches) == 6
    assert max(gate.batches) == 2


# What cannot be used

POSE = {"keypoints": [5.0, 6, 2] * 17}


@pytest.mark.parametrize(
    ("poses", "got"),
    [
        (None, "got nothing"),
        ("[", "got '['"),
        ("[" * 100_000, "got '["),
        ("3", "got '3'"),
        ("{}x", "got '{}x'"),
        ('["x"]', "got '[\"x\"]'"),
        ([{}], "got '[{}]'"),
        ([{"keypoints": 3}], "got"),
        ([{"keypoints": [5, 6, 2] * 16}], "got"),
        ([{"keypoints": ["5", 6, 2] * 17}], "got"),
        ([{"keypoints": [True, 6, 2] * 17}], "got"),
        ([{"keypoints": [5, 6, 0.9] * 17}], "got"),
        ([{"keypoints": [5, float("nan"), 2] * 17}], "got"),
        ([{"keypoints": [5, 10**400, 2] * 17}], "got"),
        ([{"keypoints": [5, 1e300, 2] * 17}], "got"),
        ([{**POSE, "score": "high"}], "got"),
        ([{**POSE, "score": float("inf")}], "got"),
        ([POSE] * 101, "at most 100 people, got 101"),
        ([{"keypoints": [0.5, 0.5, 2] * 17}], "poses: positions must be in pixels"),
        ([{"keypoints": [500, 6, 2] * 17}], "poses: positions must be in pixels of the image, 128 x 96"),
    ],
)
def test_other_poses_are_refused_in_one_line(
    model: Pose2Seg, forms: list[dict[str, Any]], poses: Any, got: str
) -> None:
    text = poses if poses is None or isinstance(poses, str) else json.dumps(poses)
    with serving(model) as url:
        response = httpx.post(url, files=forms[0]["files"], data={} if text is None else {"poses": text})
    assert response.status_code == 422
    detail = response.json()["detail"]
    assert re.match("poses( must be|: )", detail)
    assert got in detail
    assert "\n" not in detail
    assert len(detail) < 250


def png_header(width: int, height: int) -> bytes:
    return (
        b"\x89PNG\r\n\x1a\n"
        + b"\0\0\0\rIHDR"
        + width.to_bytes(4, "big")
        + height.to_bytes(4, "big")
        + bytes(50)
    )


@pytest.mark.parametrize(
    ("image", "status", "detail"),
    [
        (b"", 422, "image must be a JPEG or PNG file, got b''"),
        (b"GIF89a", 422, "image must be a JPEG or PNG file, got b'GIF89a'"),
        (png_header(8, 8), 422, "image must be an undamaged JPEG or PNG file, got image: not an image"),
        (b"\xff\xd8\xff\xe0", 422, "image must be an undamaged JPEG or PNG file, got"),
        (png_header(50_000, 50_000), 413, "image must have at most 16,777,216 pixels, got 2,500,000,000"),
    ],
)
def test_other_images_are_refused_in_one_line(
    model: Pose2Seg, image: bytes, status: int, detail: str
) -> None:
    with serving(model) as url:
        response = httpx.post(url, files={"image": ("a.png", image)}, data={"poses": "[]"})
    assert response.status_code == status
    assert response.json()["detail"].startswith(detail)
    assert "\n" not in response.json()["detail"]


def test_a_request_without_a_form_is_refused(model: Pose2Seg) -> None:
    with serving(model) as url:
        responses = [
            httpx.post(url, content=b"\xff\xd8\xff"),
            httpx.post(url, data={"image": "a", "poses": "[]"}),
            httpx.post(url, content=b"x", headers={"content-type": "multipart/form-data; boundary=b"}),
        ]
    assert [response.status_code for response in responses] == [422, 422, 400]
    assert responses[0].json()["detail"] == "image must be a file in a multipart form, got nothing"
    assert responses[1].json()["detail"] == "image must be a file in a multipart form, got 'a'"


def connect(url: str) -> socket.socket:
    parts = httpx.URL(url)
    return socket.create_connection((parts.host, parts.port), timeout=30)


def head(*fields: str) -> bytes:
    lines = ("POST /masks HTTP/1.1", "host: x", "content-type: multipart/form-data; boundary=b", *fields)
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


PART = b'--b\r\ncontent-disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'


def test_a_declared_body_that_is_too_large_is_refused_before_it_is_sent(model: Pose2Seg) -> None:
    with serving(model, body=10_000) as url, connect(url) as client:
        client.sendall(head("content-length: 10001"))
        assert client.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_chunked_body_is_refused_when_it_becomes_too_large(model: Pose2Seg) -> None:
    with serving(model, body=10_000) as url, connect(url) as client:
        chunk = bytes(5_000)
        client.sendall(head("transfer-encoding: chunked") + b"%x\r\n%b\r\n" % (len(PART), PART))
        for _ in range(2):
            client.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        response = client.recv(1000)  # though the body has no end yet
        while not response.endswith(b"}"):
            response += client.recv(1000)
        assert response.startswith(b"HTTP/1.1 413 ")
        assert b"must have at most 10,000 bytes" in response


def test_a_slow_upload_is_ended(model: Pose2Seg, forms: list[dict[str, Any]]) -> None:
    with serving(model, requests=1, upload=0.2) as url:
        with connect(url) as client:
            client.sendall(head("content-length: 5000") + PART)
            assert client.recv(100).startswith(b"HTTP/1.1 408 ")
        assert httpx.post(url, **forms[0]).status_code == 200


# The queue


def test_more_requests_than_the_queue_holds_are_refused(
    model: Pose2Seg, gate: Gate, forms: list[dict[str, Any]]
) -> None:
    with serving(model, requests=6, batch=2) as url, ThreadPoolExecutor(10) as threads:
        futures = [threads.submit(httpx.post, url, **forms[0], timeout=30) for _ in range(10)]
        wait_until(lambda: sum(future.done() for future in futures) == 4)
        refused = [future.result() for future in futures if future.done()]
        assert [(each.status_code, each.headers["retry-after"]) for each in refused] == [(503, "1")] * 4
        assert refused[0].json()["detail"] == "6 requests are waiting"
        gate.open.set()
        assert sorted(future.result().status_code for future in futures) == [200] * 6 + [503] * 4
        assert httpx.post(url, **forms[0]).status_code == 200


def encoded_request(url: str, form: dict[str, Any]) -> bytes:
    request = httpx.Request("POST", url, **form)
    fields = [f"{name}: {value}" for name, value in request.headers.items()]
    return "\r\n".join(["POST /masks HTTP/1.1", *fields, "\r\n"]).encode() + request.read()


def is_full(url: str, form: dict[str, Any]) -> bool:
    """Returns whether the queue of a server is full. If not, the client leaves again."""
    try:
        return httpx.post(url, **form, timeout=0.5).status_code == 503
    except httpx.ReadTimeout:
        return False


def test_clients_that_leave_make_room_and_are_not_processed(
    model: Pose2Seg, gate: Gate, forms: list[dict[str, Any]]
) -> None:
    with serving(model, requests=4, batch=1) as url:
        for _ in range(3):  # each time, the queue is filled
            clients = [connect(url) for _ in range(4)]
            for client in clients:
                client.sendall(encoded_request(url, forms[0]))
            wait_until(lambda: is_full(url, forms[0]))
            for client in clients:
                client.close()
            wait_until(lambda: not is_full(url, forms[0]))
        # The first is in the model, where it cannot be stopped.
        with ThreadPoolExecutor(1) as thread:
            last = thread.submit(httpx.post, url, **forms[1], timeout=30)
            time.sleep(0.2)
            gate.open.set()
            assert last.result().status_code == 200
    assert gate.batches == [1, 1]


def test_a_client_that_leaves_while_it_sends_makes_room(model: Pose2Seg, forms: list[dict[str, Any]]) -> None:
    with serving(model, requests=1) as url:
        request = encoded_request(url, forms[0])
        for _ in range(3):
            with connect(url) as client:
                client.sendall(request[:-100])
                wait_until(lambda: is_full(url, forms[0]))
            wait_until(lambda: not is_full(url, forms[0]))


def test_an_error_of_the_model_is_of_its_batch_only(
    model: Pose2Seg, forms: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    with serving(model) as url:
        with monkeypatch.context() as patch:
            patch.setattr(model, "predict_probabilities", fail)
            assert httpx.post(url, **forms[0]).status_code == 500
        assert httpx.post(url, **forms[0]).status_code == 200


# The program


def resident(process: int) -> int:
    """Returns the resident memory of a process, in bytes."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_the_memory_of_the_program_does_not_grow(tmp_path: Path, model: Pose2Seg) -> None:
    save_checkpoint(model, tmp_path / "model.safetensors")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    _, encoded = cv2.imencode(".jpg", np.zeros((1500, 2000, 3), np.uint8))  # 9 MB decoded
    form: dict[str, Any] = {
        "files": {"image": ("a.jpg", encoded.tobytes())},
        "data": {"poses": json.dumps([POSE])},
    }
    options = ["--weights", tmp_path / "model.safetensors", "--port", port, "--batch", 2]
    program = [sys.executable, ROOT / "examples/mask_server.py", *options]
    server = subprocess.Popen([*map(str, program)], stderr=subprocess.PIPE, text=True)
    url = f"http://127.0.0.1:{port}/masks"
    try:
        assert server.stderr is not None
        assert any("running on" in line for line in server.stderr)

        def ask(count: int) -> int:
            with httpx.Client(timeout=60) as client, ThreadPoolExecutor(8) as threads:
                statuses = threads.map(lambda _: client.post(url, **form).status_code, range(count))
                assert set(statuses) == {200}
            return resident(server.pid)

        first, last = ask(60), ask(120)
        assert last - first < 40e6  # a leak of every tenth image would be 108 MB
    finally:
        server.send_signal(signal.SIGTERM)
        _, errors = server.communicate(timeout=30)
    assert "Traceback" not in errors
