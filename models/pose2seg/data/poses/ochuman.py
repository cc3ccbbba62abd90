"""Conversion of OCHuman's own annotation format (Zhang et al., "Pose2Seg", CVPR 2019) to COCO's.

The meaning of the codes and the masks follows OCHuman's API,
https://github.com/liruilong940607/OCHumanApi, which has a conversion too.
"""

from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from pose2seg.common.errors import InputError
from pose2seg.common.records import Record
from pose2seg.common.remarks import Remarks
from pose2seg.data.annotated_masks import decode, is_possible, read_segmentation

#: COCO's visibility for the names of OCHuman's codes. A joint hidden by the person's own body is visible.
_VISIBILITY = {"missing": 0, "vis": 2, "self_occluded": 2, "others_occluded": 1}


def is_ochuman(content: dict[str, Any]) -> bool:
    """Returns whether an annotation file is in OCHuman's own format."""
    return {"images", "keypoint_names", "keypoint_visible"} <= content.keys() and "annotations" not in content


def as_coco(path: Path, content: dict[str, Any]) -> dict[str, Any]:
    """Converts annotations to COCO's format: the people who have joints, with their masks if they have any.

    The id of a person is "IMAGE/N" for person N, counted from 0, of the image with the id IMAGE. The area,
    which separates large people from small ones, is that of the box.

    A mask that cannot be used is left out with a DatasetWarning. Raises InputError, which names the record,
    if the file is malformed.
    """
    file = Record(content, str(path))
    visibility = _codes(file)
    images, annotations = [], []
    with Remarks() as remarks:
        for image in file.list_of_records("images"):
            image_id = image.get("image_id", int, str)
            size = image.get("height", int), image.get("width", int)
            images.append(
                {
                    "id": image_id,
                    "file_name": image.get("file_name", str),
                    "height": size[0],
                    "width": size[1],
                }
            )
            for i, person in enumerate(image.list_of_records("annotations")):
                if person.get("keypoints", list, NoneType):
                    annotations.append(
                        {
                            "id": f"{image_id}/{i}",
                            "image_id": image_id,
                            "category_id": 1,
                            "iscrowd": 0,
                            "keypoints": _keypoints(person, visibility),
                            "segmentation": _segmentation(person, size, remarks),
                            **_box(person),
                        }
                    )
    category = {"id": 1, "name": "person", "keypoints": file.get("keypoint_names", list)}
    return {"images": images, "annotations": annotations, "categories": [category]}


def _codes(file: Record) -> dict[float, int]:
    """Returns COCO's visibility by OCHuman's code."""
    codes = file.get("keypoint_visible", dict)
    unknown = codes.keys() - _VISIBILITY.keys()
    if unknown or not all(type(code) is int for code in codes.values()):
        raise InputError(
            f'{file.where}: "keypoint_visible" must give codes to {", ".join(_VISIBILITY)}, got {codes}'
        )
    return {code: _VISIBILITY[name] for name, code in codes.items()}


def _keypoints(person: Record, visibility: dict[float, int]) -> list[Any]:
    keypoints = list(person.content["keypoints"])
    # An unknown code becomes -1, which is rejected later with the name of the person.
    keypoints[2::3] = [_visibility(code, visibility) for code in keypoints[2::3]]
    return keypoints


def _visibility(code: Any, visibility: dict[float, int]) -> Any:
    return visibility.get(code, -1) if isinstance(code, (int, float)) else code


def _segmentation(person: Record, size: tuple[int, int], remarks: Remarks) -> Any:
    """Returns the outer polygons or, if there are inner ones, the run lengths of the difference."""
    given = person.get("segms", dict, NoneType)
    if not given:
        return None
    polygons = Record(given, f"{person.where}: segms")
    outer, inner = polygons.get("outer", list), polygons.get("inner", list, NoneType)
    if not inner or not is_possible(size):  # an impossible size is reported when the image is used
        return outer
    try:
        mask, holes = decode([read_segmentation(outer, size), read_segmentation(inner, size)], size)
    except InputError as error:
        remarks.replaced(person, error, "the mask is left out")
        return None
    rle = coco_mask.encode(np.asfortranarray(mask & ~holes))
    return {"size": list(size), "counts": rle["counts"].decode()}


def _box(person: Record) -> dict[str, Any]:
    left, top, right, bottom = map(float, person.numbers("bbox", 4))
    width, height = right - left, bottom - top
    return {"bbox": [left, top, width, height], "area": width * height}
