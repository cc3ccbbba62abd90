"""Serves masks over HTTP: a request is an image and the poses in it, and the response is COCO results.

python examples/mask_server.py --port 8000
curl -F image=@a.jpg -F poses='[{"keypoints": [x, y, visibility, ...], "score": 0.9}]' localhost:8000/masks
"""

import argparse
import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from pose2seg import BUNDLED_WEIGHTS, InputError, Pose2Seg, load_model
from pose2seg.common.allocator import keep_freed_memory
from pose2seg.common.choices import MASK_THRESHOLD
from pose2seg.common.image_size import declared_pixels
from pose2seg.common.images import decode_image
from pose2seg.common.text import shown
from pose2seg.data.posed_images import Content
from pose2seg.data.poses import ImagePoses, Person, unit_problem
from pose2seg.data.poses.people import image_id_of
from pose2seg.network.inference import fastest_precision, for_inference
from pose2seg.prediction.results import to_coco_results
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect

from pose2seg_ops import paste_rle

POSES = '[{"keypoints": [x, y, visibility 0, 1 or 2, for each of 17 joints], "score": a number or absent}]'
LARGEST = 1e9  # of the numbers of a pose, below which neither NaN nor infinity is
Results = list[dict[str, Any]]


class Limits(NamedTuple):
    """The limits of a server; at most `requests` bodies and 2 `batch` decoded images are in memory."""

    batch: int = 4  # images for which the network runs at once
    wait: float = 0.005  # seconds for which an incomplete batch waits for more images
    requests: int = 32  # requests that are accepted at a time
    body: int = 16 * 2**20  # bytes of a request
    pixels: int = 2**24  # of an image
    people: int = 100  # in an image
    upload: float = 30.0  # seconds that an upload may take


def parse_poses(text: object, limits: Limits) -> list[Person]:
    """Returns the people of a request. Raises HTTPException if `text` does not have the form of `POSES`."""
    try:
        numbers = [[person.get("score", 1), *person["keypoints"]] for person in json.loads(str(text))]
        if not all(len(row) == 52 and {*map(type, row)} <= {int, float} for row in numbers):
            raise ValueError
        rows = np.array(numbers, np.float64).reshape(-1, 52)
        if not ((np.abs(rows) < LARGEST).all() and np.isin(rows[:, 3::3], (0, 1, 2)).all()):
            raise ValueError
    except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise HTTPException(422, f"poses must be JSON of the form {POSES}, got {shown(text)}") from error
    if len(rows) > limits.people:
        raise HTTPException(422, f"poses must be of at most {limits.people} people, got {len(rows)}")
    return [
        Person(row[1:].reshape(17, 3).astype(np.float32), each[0])
        for row, each in zip(rows, numbers, strict=True)
    ]


def decode(encoded: bytes, name: str, poses: object, limits: Limits) -> Content:
    """Returns the image and the poses of a request. Raises HTTPException if they cannot be used."""
    if not encoded.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")):
        raise HTTPException(422, f"image must be a JPEG or PNG file, got {shown(encoded[:16])}")
    if (pixels := declared_pixels(encoded)) > limits.pixels:
        raise HTTPException(413, f"image must have at most {limits.pixels:,} pixels, got {pixels:,}")
    try:
        image = decode_image(encoded, "image")
    except InputError as error:
        raise HTTPException(422, f"image must be an undamaged JPEG or PNG file, got {error}") from error
    size = image.shape[0], image.shape[1]
    content = Content(image, ImagePoses(image_id_of(Path(name)), size, parse_poses(poses, limits)))
    if problem := unit_problem(content.poses.keypoints, size):
        raise HTTPException(422, f"poses: {problem}")
    return content


def predict(model: Pose2Seg, contents: Sequence[Content]) -> list[Results]:
    """Returns the COCO results of each image; the network runs once."""
    images, poses = zip(*contents, strict=True)
    probabilities = model.predict_probabilities(images, [each.keypoints for each in poses])
    masks = paste_rle(*probabilities, threshold=MASK_THRESHOLD)
    qualities = iter(probabilities.quality().tolist())
    of_each = zip(poses, masks, strict=True)
    return [list(to_coco_results(of, rles, [*islice(qualities, len(rles))])) for of, rles in of_each]


class Batcher:
    """Collects images into batches, for which one thread runs the model."""

    def __init__(self, model: Pose2Seg, limits: Limits) -> None:
        self.model, self.limits = model, limits
        self.waiting: dict[asyncio.Future[Results], Content] = {}
        self.arrived = asyncio.Event()
        self.slots = asyncio.Semaphore(2 * limits.batch)  # one batch is decoded while another is predicted

    async def results(self, encoded: bytes, name: str, poses: object) -> Results:
        """Returns the results of an image, which leaves the queue if the task is cancelled."""
        async with self.slots:
            content = await asyncio.to_thread(decode, encoded, name, poses, self.limits)
            answer: asyncio.Future[Results] = asyncio.get_running_loop().create_future()
            self.waiting[answer] = content
            self.arrived.set()
            try:
                return await answer
            finally:
                self.waiting.pop(answer, None)

    async def run(self) -> None:
        """Processes batch after batch, until the task is cancelled."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as thread:
            while True:
                await self.arrived.wait()
                if len(self.waiting) < self.limits.batch:
                    await asyncio.sleep(self.limits.wait)
                answers = [*islice(self.waiting, self.limits.batch)]
                contents = [self.waiting.pop(answer) for answer in answers]
                if not self.waiting:
                    self.arrived.clear()
                if contents:
                    work = loop.run_in_executor(thread, predict, self.model, contents)
                    await asyncio.wait([work])
                    for i, answer in enumerate(answers):
                        if answer.done():  # the client is gone
                            continue
                        if error := work.exception():  # it becomes status 500
                            answer.set_exception(error)
                        else:
                            answer.set_result(work.result()[i])


async def read_upload(request: Request, limits: Limits) -> tuple[bytes, str, object]:
    """Returns the encoded image, its name and the text of the poses. Raises HTTPException for other forms."""
    received = 0

    async def receive() -> Any:  # a chunked body does not declare its length
        nonlocal received
        message = await request.receive()
        received += len(message.get("body", b""))
        require_size(received, limits)
        return message

    async with Request(request.scope, receive).form() as form:
        image = form.get("image")
        if not isinstance(image, UploadFile):
            raise HTTPException(422, f"image must be a file in a multipart form, got {shown(image)}")
        return await image.read(), (image.filename or "image")[-255:], form.get("poses")


def require_size(size: int, limits: Limits) -> None:
    if size > limits.body:
        raise HTTPException(413, f"the body must have at most {limits.body:,} bytes, got {size:,} or more")


def make_app(model: Pose2Seg, limits: Limits) -> FastAPI:
    """Returns the application, whose path /masks accepts forms with "image" and "poses"."""
    batcher = Batcher(model, limits)
    room = asyncio.Semaphore(limits.requests)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        running = asyncio.create_task(batcher.run())
        yield
        running.cancel()

    app = FastAPI(lifespan=lifespan)

    @app.post("/masks")
    async def masks(request: Request) -> Response:
        require_size(int(request.headers.get("content-length", 0)), limits)
        if room.locked():
            raise HTTPException(503, f"{limits.requests} requests are waiting", {"Retry-After": "1"})
        async with room:
            try:
                upload = await asyncio.wait_for(read_upload(request, limits), limits.upload)
            except asyncio.TimeoutError as error:
                raise HTTPException(408, f"the upload must take at most {limits.upload} seconds") from error
            except ClientDisconnect:
                return Response(status_code=499)  # which nobody receives
            work = asyncio.ensure_future(batcher.results(*upload))
            gone = asyncio.ensure_future(request.receive())  # only a disconnect can follow the body
            try:
                await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
                return JSONResponse(work.result()) if work.done() else Response(status_code=499)
            finally:
                work.cancel()
                gone.cancel()

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve masks over HTTP.")
    parser.add_argument("--weights", type=Path, default=BUNDLED_WEIGHTS, help="as in `pose2seg predict`")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    for name, default in Limits()._asdict().items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    options = vars(parser.parse_args())
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    keep_freed_memory()
    model = for_inference(load_model(options["weights"]).to(device), fastest_precision(device))
    app = make_app(model, Limits(**{name: options[name] for name in Limits._fields}))
    uvicorn.run(app, host=options["host"], port=options["port"], access_log=False)


if __name__ == "__main__":
    main()
