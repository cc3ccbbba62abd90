"""Cuts the people out of the images in a folder, and writes PNGs with a transparent background.

python examples/cut_out_people.py IMAGES POSES OUTPUT
"""

import argparse
from pathlib import Path

import numpy as np
from pose2seg import BUNDLED_WEIGHTS, Pose2Seg, load_model
from pose2seg.common.images import read_image, write_png
from pose2seg.data.poses import open_poses


def cut_out_people(model: Pose2Seg, images: Path, poses: Path, output: Path) -> int:
    """Writes NAME.png to `output` for each image that `poses` lists. Returns the number of images."""
    if output.resolve() == images.resolve():
        raise ValueError(f"output must not be the folder of the images, got {output}")
    output.mkdir(parents=True, exist_ok=True)
    source = open_poses(poses)
    written = 0
    for path in sorted(images.iterdir()):
        if source.image_id(path) is None:
            continue
        image = read_image(path)
        people = source.find(path, image.shape[:2])
        assert people is not None
        (masks,) = model.predict([image], [people.keypoints])
        opacity = 255 * masks.any(0).cpu().numpy().astype(np.uint8)
        write_png(output / f"{path.stem}.png", np.dstack((image, opacity)))
        written += 1
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description="Cut the people out of the images in a folder.")
    parser.add_argument("images", type=Path)
    parser.add_argument("poses", type=Path, help="as in `pose2seg predict --poses`")
    parser.add_argument("output", type=Path)
    parser.add_argument("--weights", type=Path, default=BUNDLED_WEIGHTS, help="as in `pose2seg predict`")
    options = parser.parse_args()
    model = load_model(options.weights)
    written = cut_out_people(model, options.images, options.poses, options.output)
    print(f"{options.output}: {written} images")


if __name__ == "__main__":
    main()
