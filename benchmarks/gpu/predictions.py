"""Times `Pose2Seg.predict` of a model of the original size, from an image in host memory to its masks."""

import torch
from pose2seg.network.inference import for_inference

from benchmarks.gpu.command import Run
from benchmarks.gpu.tf32 import tf32
from benchmarks.inputs import images_with_people, model
from benchmarks.timing import alternate

_DTYPES = {"float32": torch.float32, "tf32": torch.float32, "bfloat16": torch.bfloat16}
_PEOPLE = (1, 8, 32)


def predict(run: Run) -> None:
    """Records the images per second, one at a time."""
    trained = model().to(run.device)
    for name in run.cases(tuple(_DTYPES)):
        ready = for_inference(trained, _DTYPES[name])
        for people in run.cases(_PEOPLE):
            run.require_time()
            arguments = images_with_people(1, people)
            with tf32(name == "tf32"):
                times = alternate({"predict": ready.predict}, arguments, run.device, seconds=run.seconds(2))
            rate = 1 / times["predict"]
            text = f"{name}, {people} people, {rate:.1f} images/s"
            run.record.add("predict", text, precision=name, people=people, images_per_second=rate)
