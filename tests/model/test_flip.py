"""Tests of predictions that are averaged with those of the mirrored image."""

from pathlib import Path

import numpy as np
import pytest
import torch
from image_folder import make_images
from known_masks import intricate_model
from pose2seg import InputError, Pose2Seg, load_model, save_checkpoint
from pose2seg.commands import cli
from pose2seg.data.posed_images import read_posed_image
from pose2seg.network.backbone import Backbone
from pose2seg.network.model import ALIGN_SIZE, INPUT_SIZE
from pose2seg.prediction.demo import demo_image
from predict_command import arguments, write_files
from small_model import small_model
from stopped_prediction import Stopped
from torch import Tensor, nn

from pose2seg_ops import COCO_KEYPOINTS


class Columns(nn.Module):
    """Stands in for the backbone: the feature is the red value of the pixel that it lies on."""

    def forward(self, images: Tensor) -> Tensor:
        return images[:, :1, :: Backbone.stride, :: Backbone.stride].expand(-1, 64, -1, -1)


class OneChannel(nn.Module):
    """Stands in for the head: the logit of the person is one channel of its input."""

    def __init__(self, channel: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 1, 1)
        self.channel = channel

    def forward(self, rois: Tensor) -> Tensor:
        person = rois[:, self.channel]
        return torch.stack([torch.zeros_like(person), person], 1)


def showing(channel: int) -> Pose2Seg:
    """Returns a model whose logits are one channel: of 64 features, then of 17 confidence maps."""
    model = small_model(torch.ones(1, 17, 3))
    model.backbone, model.segnet = Columns(), OneChannel(channel)  # type: ignore[assignment]
    return model.eval()


def probabilities(model: Pose2Seg, image: np.ndarray, pose: np.ndarray, *, flip: bool) -> Tensor:
    model.flip = flip
    return model.predict_probabilities([image], [pose]).probabilities[0]


@pytest.fixture
def pose() -> np.ndarray:
    """A pose in the middle of the image, all of whose joints are visible."""
    rng = np.random.default_rng(0)
    return np.concatenate([rng.uniform(180, 330, (1, 17, 2)), np.full((1, 17, 1), 2.0)], 2).astype(np.float32)


def test_mirrored_features_are_sampled_at_the_same_points(pose: np.ndarray) -> None:
    """The image is a ramp, whose values tell the column that was sampled to a hundredth of a pixel."""
    ramp = np.linspace(0, 255, INPUT_SIZE).round().astype(np.uint8)
    image = np.broadcast_to(ramp[None, :, None], (INPUT_SIZE, INPUT_SIZE, 3)).copy()
    plain, flipped = (probabilities(showing(0), image, pose, flip=flip) for flip in (False, True))
    inside = slice(8, -8)  # where all taps are inside of the features
    assert plain[inside, inside].std() > 0.01
    # A value of the ramp is rounded to 1 / 255, and the features are normalised by 0.229.
    torch.testing.assert_close(
        flipped[inside, inside], plain[inside, inside], atol=0.25 / 255 / 0.229, rtol=0
    )


def test_left_and_right_joints_are_swapped(pose: np.ndarray) -> None:
    """The map of the left wrist, averaged with the mirrored one, is that of both wrists."""
    black = np.zeros((INPUT_SIZE, INPUT_SIZE, 3), np.uint8)
    left, right = (64 + COCO_KEYPOINTS.index(f"{side}_wrist") for side in ("left", "right"))
    both = [probabilities(showing(channel), black, pose, flip=False) for channel in (left, right)]
    flipped = probabilities(showing(left), black, pose, flip=True)
    assert flipped.shape == ALIGN_SIZE
    assert (both[0] - both[1]).abs().max() > 0.1
    torch.testing.assert_close(flipped, sum(both) / 2, atol=1e-4, rtol=0)


def test_masks_of_the_bundled_model_stay_alike() -> None:
    image, poses = read_posed_image(demo_image())
    model = load_model()
    masks = []
    for flip in (False, True):
        model.flip = flip
        masks.append(model.predict([image], [poses.keypoints])[0])
    iou = (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum()
    assert 0.9 < iou < 1


def test_a_stopped_prediction_only_resumes_with_the_same_flip(tmp_path: Path) -> None:
    make_images(tmp_path)
    stopped = Stopped(small_model(torch.ones(1, 17, 3)).eval(), tmp_path)
    stopped.model.flip = True
    with pytest.raises(InputError, match=r"--flip has changed from False to True since this run began$"):
        stopped.predict()
    stopped.model.flip = False
    assert stopped.predict().done_before == 1


def test_predict_flips(tmp_path: Path) -> None:
    files = write_files(tmp_path)
    save_checkpoint(intricate_model(), files / "model.safetensors")
    written = []
    for flip in ([], ["--flip"]):
        assert cli.main([*arguments(files, "1.png"), *flip]) == 0
        written.append((files / "masks.json").read_text())
    assert written[0] != written[1]
