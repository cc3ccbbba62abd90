"""A prediction that was stopped."""

import json
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from pose2seg import Pose2Seg
from pose2seg.data.posed_images import find_images
from pose2seg.data.poses import open_poses
from pose2seg.prediction.journal import journal_folder
from pose2seg.prediction.predict import Prediction, predict_to_file


class Stopped:
    """A prediction of images 10, 11 and 12, stopped after the first one."""

    def __init__(self, model: Pose2Seg, folder: Path, **options: Any) -> None:
        self.model, self.folder, self.output, self.options = model, folder, folder / "masks.json", options
        predict_probabilities = Pose2Seg.predict_probabilities

        def stop_after_one(*arguments: Any, **options: Any) -> Any:
            if list(journal_folder(self.output).glob("*.jsonl")):
                raise KeyboardInterrupt
            return predict_probabilities(*arguments, **options)

        with (
            mock.patch.object(Pose2Seg, "predict_probabilities", stop_after_one),
            pytest.raises(KeyboardInterrupt),
        ):
            self.predict(resume=False)

    def predict(self, resume: bool = True) -> Prediction:
        poses = self.options.get("inputs", {}).get("poses", self.folder / "poses.json")
        found, _ = find_images([self.folder / "images"], open_poses(poses))
        return predict_to_file(self.model, found, self.output, batch_size=1, resume=resume, **self.options)

    def sizes(self) -> list[list[int]]:
        return [result["segmentation"]["size"] for result in json.loads(self.output.read_text())]
