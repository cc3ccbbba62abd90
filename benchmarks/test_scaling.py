"""Growth of time with channels, people per image, and images; the other files measure growth with N."""

import torch
from pose2seg.network.inference import for_inference

import pose2seg_ops
from benchmarks.case import OURS, REFERENCE, Case, overlap_at_least
from benchmarks.inputs import ROI, features, images_with_people, matrices, model, people
from pose2seg_ops import reference


def _channels(count):
    def inputs(device):
        values = features(count, torch.channels_last, torch.float32)
        batch_index = torch.zeros(8, dtype=torch.long)
        return values.to(device), matrices(8).to(device), batch_index.to(device), ROI

    implementations = {OURS: pose2seg_ops.affine_align, REFERENCE: reference.affine_align}
    return Case("growth of affine_align", f"C={count}, N=8, channels_last, float32", inputs, implementations)


def _images(count):
    def inputs(device):
        values = features(256, torch.channels_last, torch.float32).repeat(count, 1, 1, 1)
        values = values.contiguous(memory_format=torch.channels_last)
        batch_index = torch.arange(count).repeat_interleave(2)
        return values.to(device), matrices(2 * count).to(device), batch_index.to(device), ROI

    implementations = {OURS: pose2seg_ops.affine_align, REFERENCE: reference.affine_align}
    return Case(
        "growth of affine_align", f"B={count}, 2 people each, channels_last, float32", inputs, implementations
    )


def _people_in_a_map(count):
    def inputs(device):
        keypoints = people(8 * count).reshape(8, count, 17, 3) * torch.tensor([0.5, 0.5, 1])
        return keypoints.to(device), ROI

    implementations = {OURS: pose2seg_ops.skeleton_maps, REFERENCE: reference.skeleton_maps}
    return Case("growth of skeleton_maps", f"P={count}, people in each of 8 maps", inputs, implementations)


def _prediction(image_count, people_each, label):
    def inputs(device):
        images, keypoints = images_with_people(image_count, people_each)
        return (
            for_inference(model(), torch.bfloat16).to(device),
            [image.to(device) for image in images],
            [of_image.to(device) for of_image in keypoints],
        )

    def at_once(model, images, keypoints):
        return model.predict(images, keypoints)

    def one_at_a_time(model, images, keypoints):
        """Predicts every person separately."""
        return [
            torch.cat([model.predict([image], [person[None]])[0] for person in of_image])
            for image, of_image in zip(images, keypoints, strict=True)
        ]

    implementations = {OURS: at_once, REFERENCE: one_at_a_time}
    return Case("growth of Pose2Seg.predict", label, inputs, implementations, agree=overlap_at_least(0.98))


CASES = [
    *(_channels(count) for count in (32, 64, 128, 256, 512)),
    *(_images(count) for count in (1, 2, 4, 8)),
    *(_people_in_a_map(count) for count in (1, 2, 4, 8)),
    *(_prediction(1, count, f"N={count}, in one image, bfloat16") for count in (1, 2, 4, 8)),
    *(_prediction(count, 2, f"B={count}, 2 people each, bfloat16") for count in (1, 2, 4)),
]


def test_scaling(check_and_time, case, implementation):
    check_and_time(case, implementation)
