"""A folder of small images with poses."""

import json
from pathlib import Path

import cv2
import numpy as np


def pose(x: float, y: float) -> list[float]:
    return [number for j in range(17) for number in (x + j % 4, y + j // 4, 2)]


def make_images(folder: Path) -> None:
    """Writes four images, and poses.json with images 10, 11 and 12, which have 1, 2 and 0 people."""
    (folder / "images").mkdir()
    for i, size in enumerate(((40, 60), (50, 30), (20, 20), (30, 30))):
        image = np.random.default_rng(i).integers(0, 256, (*size, 3), np.uint8)
        cv2.imwrite(str(folder / "images" / f"{i}.png"), image)
    (folder / "images" / "notes.txt").write_text("not an image")
    images = [
        {"id": 10 + i, "file_name": f"{i}.png", "height": height, "width": width}
        for i, (height, width) in enumerate(((40, 60), (50, 30), (20, 20)))
    ]
    annotations = [
        {"id": 100, "image_id": 11, "category_id": 1, "keypoints": pose(5, 5)},
        {"id": 101, "image_id": 10, "category_id": 1, "keypoints": pose(30, 10)},
        {"id": 102, "image_id": 11, "category_id": 1, "keypoints": pose(9, 20)},
    ]
    poses = {"info": {}, "images": images, "annotations": annotations, "categories": [{"id": 1}]}
    (folder / "poses.json").write_text(json.dumps(poses))
