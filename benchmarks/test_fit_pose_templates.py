import numpy as np
import torch

import pose2seg_ops
from benchmarks import original
from benchmarks.case import OURS, REFERENCE, Case
from benchmarks.inputs import FEATURES, ROI, people, templates
from pose2seg_ops import reference

_TARGETS = {1: {"original": 10}, 128: {"vectorised numpy": 10}}


def _vectorised(keypoints, templates, source_size, output_size):
    """Fits all templates to all poses at once; the templates must have all joints."""
    poses, targets = (t.double().cpu().numpy() for t in (keypoints[:, None], templates[None]))
    seen, known = poses[..., 2] > 0, targets[..., 2] > 0
    common = (seen & known)[..., None]
    count = common.sum(-2)
    centre = (poses[..., :2] * common).sum(-2) / count
    target_centre = (targets[..., :2] * common).sum(-2) / count
    x, y = np.moveaxis((poses[..., :2] - centre[..., None, :]) * common, -1, 0)
    u, v = np.moveaxis((targets[..., :2] - target_centre[..., None, :]) * common, -1, 0)
    spread = (x * x + y * y).sum(-1)
    a, b = (x * u + y * v).sum(-1) / spread, (y * u - x * v).sum(-1) / spread
    errors = (a[..., None] * x + b[..., None] * y - u) ** 2 + (a[..., None] * y - b[..., None] * x - v) ** 2
    scores = (np.exp(-errors / 2) * common[..., 0]).sum(-1) / (seen | known).sum(-1)
    height, width = output_size
    resize = min(height / source_size[0], width / source_size[1])
    scores = np.where(np.hypot(a, b) * height > resize, scores, 0)
    index = scores.argmax(1)
    which = np.arange(len(poses)), index
    a, b, score = a[which], b[which], scores[which]
    (mx, my), (mu, mv) = centre[which].T, target_centre[which].T
    tx, ty = mu - a * mx - b * my, mv + b * mx - a * my
    matrices = np.stack(
        (a * width, b * width, tx * width, -b * height, a * height, ty * height), -1, dtype=np.float32
    )
    return (
        torch.from_numpy(matrices.reshape(-1, 2, 3)),
        torch.from_numpy(index),
        torch.from_numpy(score).float(),
    )


def _case(instances):
    def inputs(device):
        return people(instances).to(device), templates().to(device), FEATURES, ROI

    implementations = {
        OURS: pose2seg_ops.fit_pose_templates,
        REFERENCE: reference.fit_pose_templates,
        "vectorised numpy": _vectorised,
        "original": original.fit_pose_templates,
    }
    return Case(
        "fit_pose_templates", f"N={instances}", inputs, implementations, _TARGETS.get(instances, {}), 1e-3
    )


CASES = [_case(instances) for instances in (1, 8, 32, 128)]


def test_fit_pose_templates(check_and_time, case, implementation):
    check_and_time(case, implementation)
