"""Masks as polygons, in a file of COCO annotations."""

import itertools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pycocotools import mask as coco_mask

from pose2seg.common.files import atomic_writer
from pose2seg.data.annotated_masks import DecodedMasks
from pose2seg.data.posed_images import PosedImage
from pose2seg.prediction.loop import Masks
from pose2seg.prediction.outputs.collected import CollectedFile
from pose2seg.prediction.outputs.outline import outline_polygons
from pose2seg.prediction.results import to_coco_results


class Polygons(CollectedFile):
    """COCO annotations whose "segmentation" are polygons, which annotation tools can read.

    pycocotools decodes them to exactly the masks, because they follow the edges of pixels. COCO's polygons
    cannot have holes, so a hole is joined to the outline around it by a cut of zero width. A person without a
    pixel is left out. "file_name" is the name of the image without its folder.
    """

    option = "polygons"
    content = "the polygons"

    def part(self, predicted: Masks[PosedImage]) -> Any:
        """See `CollectedFile`."""
        image, poses = predicted.content
        height, width = image.shape[:2]
        results = to_coco_results(poses, predicted.masks, predicted.qualities)
        annotations = []
        for result, rle, mask in zip(results, predicted.masks, DecodedMasks(predicted.masks), strict=True):
            polygons = [polygon.flatten().tolist() for polygon in outline_polygons(mask)]
            shape = {"bbox": coco_mask.toBbox(rle).tolist(), "area": int(coco_mask.area(rle)), "iscrowd": 0}
            if polygons:
                annotations.append({**result, "segmentation": polygons, **shape})
        entry = {"id": poses.image_id, "file_name": predicted.item.path.name}
        return [{**entry, "height": height, "width": width}, annotations]

    def is_part(self, value: Any) -> bool:
        """See `CollectedFile`."""
        return isinstance(value, list) and [type(part) for part in value] == [dict, list]

    def write(self, parts: Iterable[Any], facts: Sequence[str], unfinished_in: Path | None) -> None:
        """See `CollectedFile`."""
        images, ids = [], itertools.count(1)
        head = {"description": f"masks of pose2seg; {', '.join(facts)}"}
        with atomic_writer(self.path, unfinished_in) as file:
            file.write(f'{{"info": {json.dumps(head)},\n"annotations": ['.encode())
            for image, annotations in parts:
                images.append(image)
                for annotation in annotations:
                    number = next(ids)
                    text = json.dumps({"id": number, **annotation})
                    file.write(f"{',' if number > 1 else ''}\n{text}".encode())
            categories = [{"id": 1, "name": "person"}]
            rest = f'\n],\n"images": {json.dumps(images)},\n"categories": {json.dumps(categories)}}}\n'
            file.write(rest.encode())
