"""Predicts masks on a Ray cluster, and writes the same COCO results as `pose2seg predict`.

python examples/predict_on_ray.py images --poses poses.json --output masks.json --workers 8

The input is a folder of images, of WebDataset tars, or of Parquet files with the columns "path" and "image".
"""

import argparse
from pathlib import Path

import ray
from pose2seg import BUNDLED_WEIGHTS, InputError
from pose2seg.data.posed_images import find_images
from pose2seg.data.poses import PoseSource, open_poses
from pose2seg.prediction.ray import PredictMasks, image_rows, merge_results, sample_rows


def main() -> None:
    parser = argparse.ArgumentParser(description="Predict masks on a Ray cluster.")
    parser.add_argument("input", type=Path)
    parser.add_argument("--poses", type=Path, required=True, help="as in `pose2seg predict`")
    parser.add_argument("--weights", type=Path, default=BUNDLED_WEIGHTS, help="as in `pose2seg predict`")
    parser.add_argument("--output", type=Path, required=True, help="the COCO results to write")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cpus-per-worker", type=float, default=0.5)
    parser.add_argument("--gpus-per-worker", type=float, default=0)
    options = parser.parse_args()

    shards = options.output.absolute().with_suffix(".shards")
    if shards.exists():
        raise InputError(f"{shards}: must not exist, because it is for the results of this run: remove it")
    ray.init()
    cpus, needed = ray.cluster_resources()["CPU"], 1 + options.workers * options.cpus_per_worker
    if cpus < needed:  # otherwise the workers wait forever for somebody to read the images
        raise InputError(f"the workers and the reading need {needed:g} CPUs, but the cluster has {cpus:g}")
    poses: PoseSource = open_poses(options.poses)
    folder, count = options.input.absolute(), None
    if any(folder.glob("*.tar")):
        rows = sample_rows([str(path) for path in sorted(folder.glob("*.tar"))])
    elif any(folder.glob("*.parquet")):
        rows = ray.data.read_parquet(str(folder), columns=["path", "image"])
        count = rows.count()
    else:
        images, _ = find_images([folder], poses)
        rows, count, poses = image_rows(images), len(images), images[0].source
    rows.map_batches(
        PredictMasks,
        fn_constructor_args=(poses, options.weights.absolute()),
        batch_format="pyarrow",
        batch_size=16,
        compute=ray.data.ActorPoolStrategy(size=options.workers),
        num_cpus=options.cpus_per_worker,
        num_gpus=options.gpus_per_worker,
    ).write_parquet(str(shards))
    prediction = merge_results(shards, options.output, images=count)
    print(f"{options.output}: {prediction.masks} masks of {prediction.images} images")


if __name__ == "__main__":
    main()
