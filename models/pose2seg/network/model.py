"""Pose2Seg: computes a mask per person from images and the poses of the people in them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from pose2seg.common.choices import MASK_THRESHOLD
from pose2seg.network.backbone import IMAGENET_MEAN, IMAGENET_STD, Backbone
from pose2seg.network.encoders import make_backbone
from pose2seg.network.geometry import compose, mirror
from pose2seg.network.inputs import as_batch, as_tensor, gather_people
from pose2seg.network.seg_module import SegModule
from pose2seg.network.templates import MIRRORED
from pose2seg.network.transfer import to_device
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


@dataclass(frozen=True)
class Architecture:
    """The sizes of the network; by default those of the original.

    encoder: "resnet", "efficientnet-lite0" to "efficientnet-lite2", or "timm:NAME" for one of timm.
    backbone_blocks, backbone_width: the sizes of the encoder "resnet", see `ResNet`; the others ignore them.
    channels: the channels of the features.
    head_width, head_blocks: the sizes of the head, see `SegModule`.
    """

    backbone_blocks: tuple[int, ...] = (3, 4, 6, 3)
    backbone_width: int = 64
    channels: int = 256
    head_width: int = 256
    head_blocks: int = 10
    encoder: str = "resnet"


class Segmentation(NamedTuple):
    """The output of the network for N people.

    logits: (N, 2, 64, 64) background and person, in each person's crop.
    matrices: (N, 2, 3) network input -> crop.
    """

    logits: Tensor
    matrices: Tensor


class Probabilities(NamedTuple):
    """The masks of N people in several images, as arguments of `paste_masks` and `paste_rle`.

    probabilities: (N, 64, 64), in each person's crop.
    matrices: (N, 2, 3) image -> crop.
    batch_index: (N,) the image of each person, on the CPU, so that the GPU need not be read.
    image_sizes: (H, W) of every image.
    """

    probabilities: Tensor
    matrices: Tensor
    batch_index: Tensor
    image_sizes: list[tuple[int, int]]

    def quality(self, threshold: float = MASK_THRESHOLD) -> Tensor:
        """Returns an estimate of the IoU of each mask with the person, (N,) from 0 to 1; 0 for an empty mask.

        It is the expected intersection divided by the expected union, if each pixel belongs to the person
        with its probability. It is only as good as the probabilities: those of the small model rank masks
        well, but are overconfident (docs/model_card.md).

        threshold: the probability above which a pixel belongs to the mask.
        """
        is_mask = self.probabilities > threshold
        in_both = (self.probabilities * is_mask).sum((1, 2))
        in_either = is_mask.sum((1, 2)) + (self.probabilities * ~is_mask).sum((1, 2))
        return in_both / in_either.clamp(min=1e-6)


class Pose2Seg(nn.Module):
    """Pose2Seg (Zhang et al., "Pose2Seg: Detection Free Human Instance Segmentation", CVPR 2019).

    For each person, the features of the image are sampled in an upright crop of 64 x 64 pixels, whose
    position follows from the pose template that fits the pose best. The head computes the mask in this crop,
    from the features and from maps of the skeleton.

    templates: (T, 17, 3) x, y in the unit square and mean visibility, 0 for a joint that the template lacks
        (`pose2seg.load_templates`). They are not part of the state dict, and keep their dtype when the model
        is cast to another.
    architecture: the sizes of the network, by default those of the original.
    convention: how features are sampled, as in `pose2seg_ops.affine_align`. It belongs to the weights, and
        `pose2seg.load_checkpoint` sets it. The official weights were trained with "pose2seg"; "integer", for
        which features, skeleton and mask agree to the pixel, is right for new training.

    Raises ValueError if the templates have another shape or if the convention or the encoder is unknown, and
    InputError if timm cannot make its encoder.
    """

    #: The most people for whom `predict` runs the head at once, which takes about 60 MB of memory per person.
    people_per_pass = 16

    #: Whether `predict` averages the probabilities with those of the mirrored image, in twice the time.
    flip = False

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
        self.backbone = make_backbone(
            architecture.encoder, architecture.backbone_blocks, architecture.backbone_width, channels
        )
        self.segnet = SegModule(
            channels + KEYPOINTS + 2 * len(COCO_LIMBS), architecture.head_width, architecture.head_blocks
        )
        self.templates: Tensor
        self.register_buffer("templates", templates, persistent=False)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights, in which the network computes."""
        return self.segnet.conv1.weight.dtype

    @property
    def precision(self) -> str:
        """The name of `dtype`, such as "float32"."""
        return str(self.dtype).removeprefix("torch.")

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Pose2Seg":
        """Moves the model to another device or dtype.

        The templates keep their dtype, in which they are precise.
        """
        templates = self.templates
        super()._apply(fn, recurse)
        self.templates = templates.to(self.templates.device)
        return self

    def forward(
        self, images: Tensor, keypoints: Tensor, batch_index: Tensor, augmentation: Tensor | None = None
    ) -> Segmentation:
        """Computes the mask logits of N people in a batch of B images.

        images: (B, 3, S, S) RGB, normalised, as `pose2seg_ops.letterbox` makes them; S is a multiple of 32.
        keypoints: (N, 17, 3) x, y in pixels of `images`, COCO visibility (0 missing, 1 occluded, 2 visible);
            float64 for a float64 model, otherwise float32.
        batch_index: (N,) int64, the image that each person is in.
        augmentation: (N, 2, 3), moves each person within the crop after the fit, for training.
        """
        return self.segment(self.backbone(images), keypoints, batch_index, augmentation)

    def segment(
        self, features: Tensor, keypoints: Tensor, batch_index: Tensor, augmentation: Tensor | None = None
    ) -> Segmentation:
        """Computes `forward` from features (B, C, S/4, S/4); keypoints are in pixels of the network input."""
        to_features = keypoints.new_tensor([1 / Backbone.stride, 1 / Backbone.stride, 1])
        keypoints = keypoints * to_features
        templates = self.templates.to(keypoints.dtype)
        matrices, _, _ = fit_pose_templates(keypoints, templates, features.shape[-2:], ALIGN_SIZE)
        if augmentation is not None:
            matrices = compose(augmentation, matrices)
        logits = self._segment_crops(features, keypoints, matrices, batch_index)
        return Segmentation(logits, matrices * to_features)

    def _segment_mirrored(
        self, features: Tensor, keypoints: Tensor, batch_index: Tensor, matrices: Tensor
    ) -> Tensor:
        """Returns the logits in the same crops as `segment`, from features of the mirrored network input.

        keypoints, matrices: in the network input that is not mirrored.
        """
        of_input, of_crop = mirror(INPUT_SIZE, keypoints), mirror(ALIGN_SIZE[1], keypoints)
        keypoints = transform_keypoints(keypoints, of_input)[:, MIRRORED]
        matrices = compose(of_crop, compose(matrices, of_input))
        to_features = keypoints.new_tensor([1 / Backbone.stride, 1 / Backbone.stride, 1])
        logits = self._segment_crops(features, keypoints * to_features, matrices / to_features, batch_index)
        return logits.flip(3)

    def _segment_crops(
        self, features: Tensor, keypoints: Tensor, matrices: Tensor, batch_index: Tensor
    ) -> Tensor:
        """Returns the logits; keypoints are in pixels of the features, and matrices map features -> crop."""
        rois = align_with_skeleton(
            features,
            keypoints,
            matrices,
            batch_index,
            ALIGN_SIZE,
            convention=self.convention,
            signed_visibility=True,
        )
        return self.segnet(rois)

    def predict(
        self, images: Any, keypoints: Any, *, threshold: float | None = MASK_THRESHOLD
    ) -> list[Tensor]:
        """Predicts the masks of the people in images of any size.

        images: a sequence of paths, PIL images (whose EXIF orientation is not applied), or uint8 arrays or
            tensors, as OpenCV reads them: (H, W, 3) in BGR order, (H, W, 4) in BGRA order, of which the
            opacity is ignored, or grey (H, W) or (H, W, 1). One image alone counts as a sequence of one.
        keypoints: for each image, (n, 17, 3) x, y in its pixels and COCO visibility (0 missing, 1 occluded,
            2 visible); n may be 0, also as []. For one image alone, its poses (n, 17, 3).
        threshold: the probability above which a pixel belongs to the person; None for soft edges.

        Returns, for each image, bool (n, H, W) on the model's device or, if `threshold` is None, uint8: 255
        times the probability of each pixel, which can be used as the opacity of a cut-out.
        Raises RuntimeError in training mode, in which a prediction would change the batch norms; ValueError
        for arguments of other shapes, and for a visibility other than 0, 1 and 2, such as a confidence;
        TypeError for pixels that are not uint8; InputError and OSError for a file that is not an image.
        """
        probabilities = self.predict_probabilities(*as_batch(images, keypoints))
        return paste_masks(*probabilities, threshold=threshold)

    def predict_rle(
        self, images: Any, keypoints: Any, *, threshold: float = MASK_THRESHOLD
    ) -> list[list[RLE]]:
        """Predicts the masks of `predict`, from the same arguments, as COCO run-length encodings.

        No decoded mask is stored. Returns, for each image, n dicts as `pycocotools.mask.encode` does.
        """
        return paste_rle(*self.predict_probabilities(*as_batch(images, keypoints)), threshold=threshold)

    @torch.inference_mode()
    def predict_probabilities(self, images: Sequence[Any], keypoints: Sequence[Any]) -> Probabilities:
        """Predicts the probabilities that `predict` pastes, as one graph that reads and checks no values.

        images: uint8 (H, W, 3) arrays or tensors in BGR order.
        keypoints: for each image, (n, 17, 3) x, y and COCO visibility.
        """
        if self.training:
            raise RuntimeError("predict needs the model in evaluation mode: call model.eval() first")
        device = self.templates.device
        # The ops expect float32 coordinates and matrices with half-precision features.
        geometry = torch.float64 if self.dtype == torch.float64 else torch.float32
        on_host = [as_tensor(image) for image in images]
        poses, image_of_each = gather_people(keypoints, len(on_host), geometry)
        people, batch_index, *on_device = to_device([poses, image_of_each, *on_host], device)

        inputs, letterboxes = letterbox(on_device, INPUT_SIZE, IMAGENET_MEAN, IMAGENET_STD)
        to_input = letterboxes[batch_index].to(geometry)
        people = transform_keypoints(people, to_input)
        features = self.backbone(inputs.to(self.dtype))
        mirrored = self.backbone(inputs.flip(3).to(self.dtype)) if self.flip else None
        passes = zip(people.split(self.people_per_pass), batch_index.split(self.people_per_pass), strict=True)
        probabilities, matrices = [], []  # not the logits, which take four times the memory
        for some in passes:
            logits, to_align = self.segment(features, *some)
            of_people = logits.softmax(dim=1, dtype=geometry)[:, 1].clone()
            if mirrored is not None:
                logits = self._segment_mirrored(mirrored, *some, to_align)
                of_people = (of_people + logits.softmax(dim=1, dtype=geometry)[:, 1]) / 2
            probabilities.append(of_people)
            matrices.append(to_align)

        to_align = compose(torch.cat(matrices), to_input)
        sizes = [(image.shape[0], image.shape[1]) for image in on_device]
        return Probabilities(torch.cat(probabilities), to_align, image_of_each, sizes)
