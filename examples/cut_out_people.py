"""Cut the people out of a folder of photographs: each becomes a PNG with a transparent background.

python examples/cut_out_people.py PHOTOGRAPHS POSES OUTPUT
"""

import argparse
from pathlib import Path

import numpy as np
from pose2seg import BUNDLED_WEIGHTS, Pose2Seg, load_model
from pose2seg.files import read_image, write_png
from pose2seg.poses import open_poses


def cut_out_people(model: Pose2Seg, photographs: Path, poses: Path, output: Path) -> int:
    """Writes NAME.png into `output` for each photograph that `poses` lists. Returns how many these are."""
    if output.resolve() == photographs.resolve():
        raise ValueError("output must be another folder than that of the photographs, which it would replace")
    output.mkdir(parents=True, exist_ok=True)
    source = open_poses(poses)
    written = 0
    for path in sorted(photographs.iterdir()):
        people = source.find(path)
        if people is None:
            continue
        image = read_image(path)
        (masks,) = model.predict([image], [people.keypoints])
        opacity = 255 * masks.any(0).cpu().numpy().astype(np.uint8)
        write_png(output / f"{path.stem}.png", np.dstack((image, opacity)))
        written += 1
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description="Cut the people out of a folder of photographs.")
    parser.add_argument("photographs", type=Path)
    parser.add_argument("poses", type=Path, help="as in `pose2seg predict --poses`")
    parser.add_argument("output", type=Path)
    parser.add_argument("--weights", type=Path, default=BUNDLED_WEIGHTS, help="as in `pose2seg predict`")
    options = parser.parse_args()
    model = load_model(options.weights)
    written = cut_out_people(model, options.photographs, options.poses, options.output)
    print(f"{options.output}: {written} photographs")


if __name__ == "__main__":
    main()
