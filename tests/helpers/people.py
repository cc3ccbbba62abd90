"""A dataset of drawn people, which is made quickly and whose masks can be learnt."""

import json
from pathlib import Path

import cv2
import numpy as np
from pose2seg.data.dataset import PersonImage, PersonMask
from pycocotools import mask as coco_mask


def draw_dataset(
    folder: Path, counts: tuple[int, ...] = (1, 2, 3), size: tuple[int, int] = (96, 128)
) -> list[PersonImage]:
    """Draws images with `counts` people: bright ellipses on dark noise, with joints inside."""
    return [_draw_image(folder / f"{i}.png", i, count, size) for i, count in enumerate(counts)]


def _draw_image(path: Path, number: int, count: int, size: tuple[int, int]) -> PersonImage:
    rng = np.random.default_rng(number)
    image = rng.integers(0, 60, (*size, 3), np.uint8)
    people = []
    for i in range(count):
        mask = np.zeros(size, np.uint8)
        centre = rng.uniform(0.3, 0.7, 2) * size[::-1]
        axes = rng.uniform(0.1, 0.25, 2) * size[::-1]
        cv2.ellipse(mask, centre.astype(int).tolist(), axes.astype(int).tolist(), 0, 0, 360, 1, -1)
        image[mask > 0] += 150
        positions = centre + axes * rng.uniform(-0.6, 0.6, (17, 2))
        keypoints = np.column_stack([positions, rng.integers(0, 3, 17)]).astype(np.float32)
        keypoints[0, 2] = 2
        keypoints[keypoints[:, 2] == 0] = 0
        rle = coco_mask.encode(np.asfortranarray(mask))
        box = coco_mask.toBbox(rle)
        people.append(PersonMask(100 * number + i, keypoints, rle, float(mask.sum()), tuple(box.tolist())))
    cv2.imwrite(str(path), image)
    return PersonImage(number, path, size, people)


def write_annotations(images: list[PersonImage], path: Path) -> None:
    """Writes the people as COCO annotations."""
    content = {
        "images": [
            {"id": i.image_id, "file_name": i.path.name, "height": i.size[0], "width": i.size[1]}
            for i in images
        ],
        "annotations": [
            {
                "id": person.annotation_id,
                "image_id": image.image_id,
                "keypoints": person.keypoints.ravel().tolist(),
                "segmentation": {"size": list(image.size), "counts": person.segmentation["counts"].decode()},
            }
            for image in images
            for person in image.people
        ],
    }
    path.write_text(json.dumps(content))
