"""Pose2Seg: from images and the poses of the people in them to a mask per person."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor, nn

from pose2seg.backbone import Backbone
from pose2seg.geometry import compose
from pose2seg.seg_module import SegModule
from pose2seg.transfer import to_device
from pose2seg_ops import (
    COCO_KEYPOINTS,
    COCO_LIMBS,
    RLE,
    align_with_skeleton,
    fit_pose_templates,
    letterbox,
    paste_masks,
    paste_rle,
)
from pose2seg_ops.keypoints import transform_keypoints

Convention = Literal["integer", "half_pixel", "pose2seg"]

INPUT_SIZE = 512
ALIGN_SIZE = (64, 64)
KEYPOINTS = len(COCO_KEYPOINTS)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Architecture:
    """The sizes of the network; those of the original by default. See `Backbone` and `SegModule`."""

    backbone_blocks: tuple[int, ...] = (3, 4, 6, 3)
    backbone_width: int = 64
    channels: int = 256
    head_width: int = 256
    head_blocks: int = 10


class Segmentation(NamedTuple):
    """What the network says about N people.

    logits: (N, 2, 64, 64) background and person, in each person's align frame.
    matrices: (N, 2, 3) network input -> align frame.
    """

    logits: Tensor
    matrices: Tensor


class _Pasting(NamedTuple):
    """Arguments of `paste_masks` and `paste_rle`; batch_index is on the CPU, so that nothing is read back."""

    probabilities: Tensor
    matrices: Tensor
    batch_index: Tensor
    image_sizes: list[tuple[int, int]]


class Pose2Seg(nn.Module):
    """Pose2Seg (Zhang et al., "Pose2Seg: Detection Free Human Instance Segmentation", CVPR 2019).

    Each person is moved into an upright frame of 64 x 64 pixels by the template that the pose fits best;
    there the features of the image and maps of the skeleton give the mask.

    templates: (T, 17, 3) x, y in the unit square and mean visibility, 0 for a joint that the template lacks
        (`pose2seg.load_templates`). They are not part of the state dict, and keep their dtype when the model
        is cast to another.
    architecture: the sizes of the network; those of the original by default.
    convention: how features are sampled, as in `pose2seg_ops.affine_align`. It belongs to the weights and
        `pose2seg.load_checkpoint` sets it: "pose2seg" is what the official ones were trained with; "integer",
        where features, skeleton and mask agree to the pixel, is right for new training.

    Raises ValueError for templates of another shape and for any other convention.
    """

    #: People that pass through the head at once in `predict`. It bounds its memory, about 60 MB a person.
    people_per_pass = 16

    def __init__(
        self,
        templates: Tensor,
        architecture: Architecture = Architecture(),
        *,
        convention: Convention = "integer",
    ) -> None:
        super().__init__()
        if templates.ndim != 3 or templates.shape[1:] != (KEYPOINTS, 3) or len(templates) == 0:
            raise ValueError(f"templates must be (T, {KEYPOINTS}, 3), T > 0, got {tuple(templates.shape)}")
        if convention not in get_args(Convention):
            expected = ", ".join(get_args(Convention))
            raise ValueError(f"convention must be one of {expected}, got {convention!r}")
        self.convention = convention
        self.architecture = architecture
        channels = architecture.channels
        self.backbone = Backbone(architecture.backbone_blocks, architecture.backbone_width, channels)
        self.segnet = SegModule(
            channels + KEYPOINTS + 2 * len(COCO_LIMBS), architecture.head_width, architecture.head_blocks
        )
        self.templates: Tensor
        self.register_buffer("templates", templates, persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Pose2Seg":
        """The move to another device or dtype, where a half-precision model keeps precise templates."""
        templates = self.templates
        super()._apply(fn, recurse)
        self.templates = templates.to(self.templates.device)
        return self

    def forward(
        self, images: Tensor, keypoints: Tensor, batch_index: Tensor, augmentation: Tensor | None = None
    ) -> Segmentation:
        """The mask logits of N people in a batch of B images.

        images: (B, 3, S, S) RGB, normalised, as `pose2seg_ops.letterbox` makes them; S is a multiple of 32.
        keypoints: (N, 17, 3) x, y in pixels of `images`, COCO visibility (0 missing, 1 occluded, 2 visible);
            float64 in a float64 model, else float32.
        batch_index: (N,) int64, the image that each person is in.
        augmentation: (N, 2, 3), moves each person within the align frame after the fit, for training.
        """
        return self.segment(self.backbone(images), keypoints, batch_index, augmentation)

    def segment(
        self, features: Tensor, keypoints: Tensor, batch_index: Tensor, augmentation: Tensor | None = None
    ) -> Segmentation:
        """`forward` from the features (B, C, S/4, S/4) on; keypoints are in pixels of the network input."""
        to_features = keypoints.new_tensor([1 / Backbone.stride, 1 / Backbone.stride, 1])
        keypoints = keypoints * to_features
        templates = self.templates.to(keypoints.dtype)
        matrices, _, _ = fit_pose_templates(keypoints, templates, features.shape[-2:], ALIGN_SIZE)
        if augmentation is not None:
            matrices = compose(augmentation, matrices)
        rois = align_with_skeleton(
            features,
            keypoints,
            matrices,
            batch_index,
            ALIGN_SIZE,
            convention=self.convention,
            signed_visibility=True,
        )
        return Segmentation(self.segnet(rois), matrices * to_features)

    def predict(
        self, images: Sequence[Any], keypoints: Sequence[Any], *, threshold: float = 0.5
    ) -> list[Tensor]:
        """Masks of the people in photographs of any size.

        images: uint8 (H, W, 3) tensors or arrays in BGR order, as OpenCV reads them.
        keypoints: for each image, (n, 17, 3) x, y in its pixels and COCO visibility; n may be 0, also as [].
        threshold: the probability above which a pixel belongs to the person.

        Returns, for each image, bool (n, H, W) on the model's device.
        Raises RuntimeError in training mode, where a prediction would change the batch norms, and
        ValueError for arguments of other shapes.
        """
        return paste_masks(*self._probabilities(images, keypoints), threshold=threshold)

    def predict_rle(
        self, images: Sequence[Any], keypoints: Sequence[Any], *, threshold: float = 0.5
    ) -> list[list[RLE]]:
        """The masks of `predict`, from the same arguments, as COCO run lengths: no mask is ever stored.

        Returns, for each image, n dicts as `pycocotools.mask.encode` gives them.
        """
        return paste_rle(*self._probabilities(images, keypoints), threshold=threshold)

    @torch.inference_mode()
    def _probabilities(self, images: Sequence[Any], keypoints: Sequence[Any]) -> _Pasting:
        if self.training:
            raise RuntimeError("predict needs the model in evaluation mode: call model.eval() first")
        weight = self.backbone.conv1.weight
        # As the ops want it: coordinates and matrices of half-precision features are float32.
        geometry = torch.float64 if weight.dtype == torch.float64 else torch.float32
        on_host = [_as_tensor(image) for image in images]
        poses, image_of_each = _gather_people(keypoints, len(on_host), geometry)
        people, batch_index, *photographs = to_device([poses, image_of_each, *on_host], weight.device)

        inputs, letterboxes = letterbox(photographs, INPUT_SIZE, IMAGENET_MEAN, IMAGENET_STD)
        to_input = letterboxes[batch_index].to(geometry)
        people = transform_keypoints(people, to_input)
        features = self.backbone(inputs.to(weight.dtype))
        passes = zip(people.split(self.people_per_pass), batch_index.split(self.people_per_pass), strict=True)
        probabilities, matrices = [], []  # not the logits, which take four times the memory
        for some in passes:
            logits, to_align = self.segment(features, *some)
            probabilities.append(logits.softmax(dim=1, dtype=geometry)[:, 1].clone())
            matrices.append(to_align)

        to_align = compose(torch.cat(matrices), to_input)
        sizes = [(photograph.shape[0], photograph.shape[1]) for photograph in photographs]
        return _Pasting(torch.cat(probabilities), to_align, image_of_each, sizes)


def _gather_people(keypoints: Sequence[Any], images: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """All poses in one tensor (N, 17, 3), and the image of each, (N,) on the CPU."""
    if images == 0:
        raise ValueError("images must hold at least one image, got none")
    if len(keypoints) != images:
        raise ValueError(f"keypoints must be one array per image, got {len(keypoints)} for {images} images")
    poses = [_as_tensor(pose, dtype) for pose in keypoints]
    poses = [pose.reshape(0, KEYPOINTS, 3) if pose.shape == (0,) else pose for pose in poses]  # from []
    for i, pose in enumerate(poses):
        if pose.ndim != 3 or pose.shape[1:] != (KEYPOINTS, 3):
            raise ValueError(f"keypoints[{i}] must be (n, {KEYPOINTS}, 3), got {tuple(pose.shape)}")
    counts = torch.tensor([len(pose) for pose in poses])
    return torch.cat(poses), torch.repeat_interleave(counts)


def _as_tensor(data: Any, dtype: torch.dtype | None = None) -> Tensor:
    """Anything that holds numbers as a tensor; without a copy where torch can use its memory."""
    if isinstance(data, np.ndarray):  # torch takes no negative strides, and warns of memory that is read-only
        data = np.require(data, requirements=("C_CONTIGUOUS", "WRITEABLE"))
    return torch.as_tensor(data, dtype=dtype)
